"""The ingredients of a recipe: what can be left out of it to see what it bought.

An ingredient is a change to a config that takes one thing out and leaves all else. A config has it where that
change changes something, so ingredients follow from a config and are a property of no recipe in particular.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from engine.augment import COLOUR, ERASE, MIX
from engine.augment.builtin import AUGMENTATIONS
from engine.config.keys import with_values
from engine.config.run_config import FROZEN_NORMS, RunConfig
from engine.config.sections import DistillConfig
from engine.losses.builtin import LOSSES
from engine.models import ModelSection

Values = dict[str, Any]


@dataclass(frozen=True)
class Ingredient:
    """One thing of a recipe. `about` says what it is and what takes its place where it is left out; `plain`
    gives the values, by dotted key, of a config without it."""

    name: str
    about: str
    plain: Callable[[RunConfig], Values]

    def left_out(self, config: RunConfig) -> RunConfig | None:
        """The config without it; None for one that has not got it. Raises ConfigError where the rest cannot
        do without it."""
        values = self.plain(config)
        changed = with_values(config, values) if values else config
        return None if changed == config else changed


def found_in(config: RunConfig, others: Iterable[Ingredient] = ()) -> list[tuple[Ingredient, RunConfig]]:
    """Which of INGREDIENTS and `others` a config has, each with the config without it. Raises ConfigError."""
    left_out = ((ingredient, ingredient.left_out(config)) for ingredient in (*INGREDIENTS, *others))
    return [(ingredient, without) for ingredient, without in left_out if without is not None]


def network_instead(network: ModelSection) -> Ingredient:
    """The network as an ingredient: what takes its place is another architecture, `network`, from random
    weights, as those of the recipe's network are of no use to it."""

    def plain(config: RunConfig) -> Values:
        if config.model.name == network.name:
            return {}
        values = {f"model.{key}": value for key, value in network.model_dump().items()}
        return values | _random_weights(config)

    return Ingredient("its network", f"the recipe's network; instead: {network.name}", plain)


def _augment(*keys: str) -> Values:
    """Keys of augmentation as they are where nothing is augmented."""
    none = AUGMENTATIONS.new()
    return {f"augment.{key}": getattr(none, key) for key in keys}


def _of_order(first: int, end: int) -> Values:
    """The keys of all augmentations, those of plugins included, with a place in the order from `first` on and
    before `end`."""
    parts = (part for part in AUGMENTATIONS.parts().values() if first <= part.order < end)
    return _augment(*(key for part in parts for key in part.keys.model_fields))


def _scales(config: RunConfig) -> Values:
    values = _augment("scale_min", "scale_max")
    if config.augment.crop_size is None:
        values |= _augment("cat_max_ratio")  # nothing is left to crop
    return values


def _crops(config: RunConfig) -> Values:
    if config.augment.crop_size is None:
        return {}
    values = _augment("crop")
    if getattr(config.augment, "scale_max", 1.0) <= 1:
        values |= _augment("cat_max_ratio")
    return values


def _loss(config: RunConfig) -> Values:
    plain = LOSSES.new(auxiliary=config.loss.auxiliary)
    return {f"loss.{key}": value for key, value in plain.model_dump().items()}


def _existing(config: RunConfig, section: str, keys: Iterable[str], value: Any) -> Values:
    """Those of some keys that a section with variants has here, at a value."""
    fields = type(getattr(config, section)).model_fields
    return {f"{section}.{key}": value for key in keys if key in fields}


def _auxiliary(config: RunConfig) -> Values:
    return _existing(config, "model", ("deep_supervision",), 0) | _existing(config, "model", ("aux",), False)


def _ema(config: RunConfig) -> Values:
    return {f"ema.{key}": info.default for key, info in type(config.ema).model_fields.items()}


def _warmup(config: RunConfig) -> Values:
    return _existing(config, "schedule", ("warmup_epochs", "warmup_iterations"), 0)


def _distillation(config: RunConfig) -> Values:
    if not config.distill.teacher:
        return {}
    plain = DistillConfig().model_dump(by_alias=True)
    return {f"distill.{key}": value for key, value in plain.items()}


def _initial_weights(config: RunConfig) -> Values:
    if not (config.init.weights or config.model.weights_source()):
        return {}
    fields = type(config.model).model_fields
    weights = {"model.weights": fields["weights"].default} if "weights" in fields else {}
    return weights | _random_weights(config)


def _random_weights(config: RunConfig) -> Values:
    """No weights of another run or file, nor a batch norm that keeps the statistics which came with them."""
    return {"init.weights": ""} | ({"batch_norm": "local"} if config.batch_norm in FROZEN_NORMS else {})


INGREDIENTS = (
    Ingredient("random scales", "each image at a random scale; instead: at its own", _scales),
    Ingredient("crops", "training on random crops; instead: on whole images", _crops),
    Ingredient("rotations", "random rotations; instead: none", lambda config: _augment("rotate")),
    Ingredient("flips", "mirror images; instead: none", lambda config: _augment("flip")),
    Ingredient(
        "mixing", "images mixed with each other; instead: none", lambda config: _of_order(MIX, COLOUR)
    ),
    Ingredient(
        "photometric changes",
        "random changes of brightness, colour and sharpness; instead: none",
        lambda config: _of_order(COLOUR, ERASE),
    ),
    Ingredient(
        "erasing", "rectangles that are erased; instead: none", lambda config: _of_order(ERASE, ERASE + 100)
    ),
    Ingredient(
        "mixed styles",
        "features that take each other's mean and deviation; instead: their own",
        lambda config: _augment("mixstyle"),
    ),
    Ingredient(
        "class-uniform sampling",
        "images chosen class by class; instead: each once an epoch",
        lambda config: {"data.class_uniform": 0.0},
    ),
    Ingredient("its loss", "the recipe's sum of losses; instead: plain cross-entropy", _loss),
    Ingredient(
        "auxiliary heads", "losses on maps within the network; instead: on its output alone", _auxiliary
    ),
    Ingredient("distillation", "a teacher beside the labels; instead: the labels alone", _distillation),
    Ingredient("EMA", "the average of the weights; instead: the weights themselves", _ema),
    Ingredient("warm-up", "a learning rate that rises at first; instead: at its peak at once", _warmup),
    Ingredient(
        "its schedule",
        "a learning rate that falls to the end; instead: constant after the warm-up",
        lambda config: {"schedule.name": "constant"},
    ),
    Ingredient("weight decay", "weight decay; instead: none", lambda config: {"optimizer.weight_decay": 0.0}),
    Ingredient(
        "gradient clipping",
        "a bound on the gradient's norm; instead: none",
        lambda config: {"optimizer.clip_norm": 0.0},
    ),
    Ingredient(
        "dropout",
        "dropped features; instead: none",
        lambda config: _existing(config, "model", ("dropout",), 0.0),
    ),
    Ingredient("initial weights", "weights from elsewhere; instead: random ones", _initial_weights),
)
"""In the order in which a report has them: images, loss, weights, learning rate."""
