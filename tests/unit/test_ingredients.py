"""Ingredients of a recipe: what a config has that can be left out, and that nothing else changes with it."""

from __future__ import annotations

from engine.config.described import differences
from engine.config.ingredients import INGREDIENTS, found_in, network_instead
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.models.builtin import UNetConfig

EVERYTHING = {
    "augment.scale_min": 0.5,
    "augment.scale_max": 2.0,
    "augment.crop": "64x96",
    "augment.cat_max_ratio": 0.75,
    "augment.rotate": 10,
    "augment.cutmix": 0.5,
    "augment.brightness": 0.3,
    "augment.blur": 0.2,
    "augment.cutout": 0.3,
    "data.class_uniform": 0.5,
    "loss.ohem": 1.0,
    "loss.dice": 0.5,
    "loss.auxiliary": 0.3,
    "model.deep_supervision": 2,
    "ema.decay": 0.99,
    "optimizer.clip_norm": 1.0,
}


def changes(config: RunConfig) -> dict[str, dict[str, object]]:
    """What each ingredient changes when it is left out: key -> value."""
    return {
        ingredient.name: {key: new for key, (_, new) in differences(config, without).items()}
        for ingredient, without in found_in(config)
    }


def test_a_plain_config_has_no_ingredients() -> None:
    assert found_in(RunConfig()) == []


def test_each_ingredient_takes_its_own_keys_out_and_leaves_the_rest() -> None:
    config = with_values(get_recipe("quick"), EVERYTHING)
    assert changes(config) == {
        "random scales": {"augment.scale_min": 1.0, "augment.scale_max": 1.0},
        "crops": {"augment.crop": "none"},
        "rotations": {"augment.rotate": 0.0},
        "flips": {"augment.flip": 0.0},
        "mixing": {"augment.cutmix": 0.0},
        "photometric changes": {"augment.brightness": 0.0, "augment.blur": 0.0},
        "erasing": {"augment.cutout": 0.0},
        "class-uniform sampling": {"data.class_uniform": 0.0},
        "its loss": {"loss.ohem": 0.0, "loss.dice": 0.0},
        "auxiliary heads": {"model.deep_supervision": 0},
        "EMA": {"ema.decay": 0.0},
        "warm-up": {"schedule.warmup_epochs": 0.0},
        "its schedule": {"schedule.name": "constant", "schedule.by": None, "schedule.min_lr": None},
        "weight decay": {"optimizer.weight_decay": 0.0},
        "gradient clipping": {"optimizer.clip_norm": 0.0},
    }


def test_what_needs_crops_goes_with_the_last_thing_that_makes_some() -> None:
    scaled = with_values(get_recipe("quick"), {"augment.scale_max": 2.0, "augment.cat_max_ratio": 0.75})
    assert changes(scaled)["random scales"] == {"augment.scale_max": 1.0, "augment.cat_max_ratio": 1.0}
    cropped = with_values(get_recipe("quick"), {"augment.crop": "64x96", "augment.cat_max_ratio": 0.75})
    assert changes(cropped)["crops"] == {"augment.crop": "none", "augment.cat_max_ratio": 1.0}


def test_dropout_and_weights_are_ingredients_of_the_networks_that_have_them() -> None:
    config = with_values(get_recipe("deeplab"), {"init.weights": "vgg16.pth"})
    left_out = changes(config)
    assert left_out["dropout"] == {"model.dropout": 0.0}
    assert left_out["initial weights"] == {"init.weights": ""}


def test_a_teacher_is_an_ingredient_with_all_that_is_said_of_it() -> None:
    taught = {"distill.from": "big.pt", "distill.temperature": 4.0, "distill.weight": 0.5}
    assert changes(with_values(get_recipe("quick"), taught))["distillation"] == {
        "distill.from": "",
        "distill.temperature": 1.0,
        "distill.weight": 1.0,
    }
    assert "distillation" not in changes(with_values(get_recipe("quick"), {"distill.weight": 0.5}))


def test_the_network_of_the_baseline_takes_the_place_of_the_recipes() -> None:
    config = get_recipe("quick-modern")
    found = network_instead(UNetConfig(width=8)).left_out(config)
    assert found is not None
    assert found.model == UNetConfig(width=8)
    assert found.optimizer == config.optimizer
    assert network_instead(UNetConfig(width=8)).left_out(get_recipe("quick")) is None


def test_no_two_ingredients_share_a_name() -> None:
    names = [ingredient.name for ingredient in INGREDIENTS]
    assert len(set(names)) == len(names)
