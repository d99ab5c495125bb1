from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.api.starting import assignments_of
from engine.config.described import ELSEWHERE, config_keys, differences, format_value, value_of
from engine.config.files import config_from_json, load_config, to_toml
from engine.config.keys import ConfigError, parse_assignments, validate, with_values
from engine.config.old_keys import RENAMED, REPLACED, OldKey
from engine.config.recipes import RECIPES, UnknownRecipe, get_recipe
from engine.config.run_config import RunConfig
from engine.config.sections import STUDY_SEED
from engine.models.builtin import ModernUNetConfig, ResNet38Config, UNetConfig
from engine.store.variant import variant_of


def change(*assignments: str) -> RunConfig:
    return with_values(get_recipe("paper-unet"), parse_assignments(assignments))


def problem(*assignments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        change(*assignments)
    return str(caught.value)


def test_the_paper_recipe_is_the_study_baseline() -> None:
    config = get_recipe("paper-unet")
    assert config.data.size == (128, 128)
    assert (config.data.split, config.data.val_fraction, config.data.split_seed) == (
        "random",
        0.2,
        2147483647,
    )
    assert (config.optimizer.name, config.optimizer.lr, config.batch_size, config.epochs) == (
        "sgd",
        0.001,
        64,
        60,
    )
    assert config.loss.weights() == {"cross_entropy": 1}
    assert config.model.width == 64
    assert STUDY_SEED == 2147483647


def test_text_is_converted_to_the_type_of_the_key() -> None:
    config = change("optimizer.lr=0.01", "seed=7", "data.skip_bad=true", "data.size=256x512", "device=cuda:1")
    assert (config.optimizer.lr, config.seed, config.data.skip_bad) == (0.01, 7, True)
    assert config.data.size == (256, 512)
    assert change("data.size=[64, 96]").data.size == (64, 96)
    assert config.device == "cuda:1"


@pytest.mark.parametrize(
    ("assignment", "key", "value", "allowed"),
    [
        ("optimizer.lr=fast", "optimizer.lr", "'fast'", "> 0, <= 100"),
        ("optimizer.lr=-1", "optimizer.lr", "'-1'", "> 0, <= 100"),
        ("optimizer.lr=nan", "optimizer.lr", "'nan'", "> 0, <= 100"),
        ("epochs=0", "epochs", "'0'", ">= 1"),
        ("seed=1.5", "seed", "'1.5'", "whole number"),
        ("precision=bf17", "precision", "'bf17'", "did you mean bf16?"),
        ("data.size=12", "data.size", "'12'", "256x512"),
        ("data.size=8x8", "data.size", "", "16 to 8192"),
        ("data.skip_bad=maybe", "data.skip_bad", "'maybe'", "true or false"),
        ("device=gpu", "device", "'gpu'", "cuda:N"),
        ("task=dance", "task", "'dance'", "train"),
    ],
)
def test_a_bad_value_names_key_value_and_what_is_allowed(
    assignment: str, key: str, value: str, allowed: str
) -> None:
    line = problem(assignment)
    assert line.startswith(f"{key}: ")
    assert value in line
    assert allowed in line


@pytest.mark.parametrize(
    ("assignment", "near"),
    [
        ("lr=1", "optimizer.lr"),
        ("optimzer.lr=1", "optimizer.lr"),
        ("batchsize=1", "batch_size"),
        ("data.sizes=1", "data.size"),
        ("model.witdh=1", "model.width"),
        ("optimizer.learning_rate=1", "optimizer.lr"),
        ("img_size=1", "data.size"),
        ("data.crop_size=1", "augment.crop"),
        ("gpus=1", "devices"),
        ("optimizer=adamw", "optimizer.name"),
        ("model=unet", "model.name"),
    ],
)
def test_an_unknown_key_names_the_nearest(assignment: str, near: str) -> None:
    assert f"did you mean {near}?" in problem(assignment)


def test_what_is_no_key_by_itself_is_told_as_what_it_is() -> None:
    assert problem("experiment=x") == "experiment: no such key; the option --experiment says it"
    assert "--name calls a run" in problem("name=x")
    assert problem("loss=dice").endswith("but a group of keys; `seg-engine config loss` lists them")
    assert problem("=2") == "'=2': is not key=value, such as epochs=20, without spaces"


def test_words_of_other_programs_lead_to_keys_that_are_there() -> None:
    assert set(ELSEWHERE.values()) <= config_keys().keys()
    assert not ELSEWHERE.keys() & config_keys().keys()


def test_of_a_key_that_is_given_twice_the_last_value_counts() -> None:
    assert parse_assignments(["epochs=1", "seed=0", " epochs = 2"]) == {"epochs": "2", "seed": "0"}


def test_every_problem_has_a_line_of_its_own() -> None:
    lines = problem("epochs=0", "optimizer.lr=x").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["epochs", "optimizer.lr"]
    assert problem("epochs").startswith("'epochs': is not key=value")


def test_the_input_must_suit_the_network() -> None:
    line = problem("data.size=100x130")
    assert line.startswith("data.size: 100x130 does not suit unet, whose input sides must divide by 16")
    assert line.endswith("the nearest that do are 96x128")


def test_warmup_must_leave_something_of_the_run() -> None:
    assert problem("epochs=5", "schedule.warmup_epochs=5").startswith("schedule.warmup_epochs: 5 ")


def test_a_config_cannot_be_changed() -> None:
    config = get_recipe("quick")
    with pytest.raises(ValidationError, match="frozen"):
        config.epochs = 3  # type: ignore[misc]


def test_another_model_brings_its_own_keys() -> None:
    config = change("model.hidden=8", "model.name=modern_unet", "model.attention=middle + 3")
    assert config.model == ModernUNetConfig(hidden=8, attention="3+middle")
    assert with_values(config, {"model.norm": "false"}).model == ModernUNetConfig(
        hidden=8, attention="3+middle", norm=False
    )
    assert with_values(config, {"model.name": "unet"}).model == UNetConfig()
    assert with_values(config, {"model.name": "modern_unet"}) == config
    narrow = change("model.width=2", "optimizer.lr=0.5")
    assert with_values(narrow, {"model.name": "resnet38"}).model == ResNet38Config(), (
        "a width of another kind"
    )
    assert with_values(narrow, {"model.name": "unet"}) == narrow
    assert with_values(narrow, {"optimizer.name": "adamw"}).optimizer.lr == 0.5


def test_a_key_of_another_model_says_whose_it_is() -> None:
    assert problem("model.hidden=8") == (
        "model.hidden: belongs to model.name=modern_unet; model.name=unet has model.width, "
        "model.deep_supervision"
    )
    assert problem("model.name=modern_unet", "model.width=8").startswith(
        "model.width: belongs to model.name=unet, deeplab_largefov, resnet38 or street_net; "
        "model.name=modern_unet has model.deep_supervision, model.hidden, "
    )
    assert problem("model.name=modern_unett") == (
        "model.name: 'modern_unett' is not allowed; it must be one of unet | deeplab_largefov | "
        "modern_unet | resnet38 | smp | street_net | torchvision | vltseg; did you mean modern_unet?"
    )
    assert problem("model.name=modern_unet", "model.attention=5").startswith("model.attention: '5' is not")
    line = problem("model.name=modern_unet", "data.size=100x130")
    assert line.endswith("must divide by 8; the nearest that do are 96x128")


def test_a_config_file_may_leave_out_the_name_of_the_usual_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[model]\nwidth = 8\n")
    assert load_config(path).model == UNetConfig(width=8)
    path.write_text('[model]\nname = "modern_unet"\nwidth = 8\n')
    with pytest.raises(ConfigError, match=r"mine.toml: model\.width: belongs to model\.name=unet"):
        load_config(path)
    modern = change("model.name=modern_unet", "model.hidden=8")
    path.write_text(to_toml(modern))
    assert "\nwidth = " not in path.read_text()
    assert load_config(path) == modern


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_survives_its_own_toml(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(to_toml(get_recipe(name)))
    assert load_config(path) == get_recipe(name)
    assert get_recipe(name).recipe == name


def test_a_toml_file_with_errors_names_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('epochz = 3\n[optimizer]\nlr = "x"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert sorted(caught.value.problems) == [
        f"{path}: epochz: no such key; did you mean epochs?",
        f"{path}: optimizer.lr: 'x' is not allowed; it must be a number (> 0, <= 100)",
    ]
    path.write_text("epochs = = 3")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_config(path)
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(tmp_path / "absent.toml")


def test_every_key_has_help_and_a_value_that_reads_back() -> None:
    for key, about in config_keys().items():
        section = key.partition(".")[0]
        config = change(f"{section}.name={about.variants[0]}") if about.variants else change()
        assert about.help, key
        if about.kind != "text":
            assert about.allowed or about.kind == "true/false", key
        text = format_value(value_of(config, key))
        if text:
            assert value_of(with_values(config, {key: text}), key) == value_of(config, key), key


def test_differences_are_the_keys_that_differ() -> None:
    assert differences(change(), change("seed=1", "model.width=8")) == {
        "seed": (STUDY_SEED, 1),
        "model.width": (64, 8),
    }
    modern = change("model.name=modern_unet", "model.hidden=8")
    assert differences(change(), modern) == {
        "model.name": ("unet", "modern_unet"),
        "model.width": (64, None),
        "model.hidden": (None, 8),
        "model.norm": (None, True),
        "model.attention": (None, "none"),
        "model.use1x1": (None, False),
    }
    assert format_value(None) == "-"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(0.00123456789, "0.00123456789"), (1234567.0, "1234567"), (1e-05, "1e-05")],
        *[([96, 192], "96x192"), (("person", "rider"), "person,rider"), ([1, 3, 5], "1,3,5")],
        *[([1, 3], "1,3"), ((0, 1), "0,1"), ([[96, 192], [64, 64]], "96x192,64x64")],
    ],
)
def test_a_value_is_written_with_all_its_digits(value: object, text: str) -> None:
    assert format_value(value) == text


@pytest.mark.parametrize(("name", "crop"), [("deeplab", "321x321"), ("resnet38", "504x504")])
def test_recipes_take_the_crops_that_their_pages_name(name: str, crop: str) -> None:
    config = with_values(get_recipe(name), {"data.size": "1024x2048", "augment.crop": crop})
    assert format_value(config.train_size) == crop


def test_a_program_gives_lists_for_sizes_and_for_several_words() -> None:
    given = {
        "data.size": (256, 512),
        "validation.window": [64, 64],
        "schedule.name": "step",
        "schedule.milestones": [10, 20],
        "augment.mixstyle_layers": (2, 3),
        "data.hold_out": ["rider", "train"],
    }
    config = with_values(RunConfig(), parse_assignments(assignments_of(given)))
    assert (config.data.size, config.validation.window) == ((256, 512), "64x64")
    assert (value_of(config, "schedule.milestones"), config.augment.mixstyle_layers) == ("10,20", "2,3")
    assert config.data.held_out == ("rider", "train")


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UnknownRecipe, match="did you mean paper-unet"):
        get_recipe("paper_unet")


def test_the_losses_of_an_earlier_version_are_read_as_weights() -> None:
    old = RunConfig.of_stored({"loss": {"name": "cross_entropy_dice", "label_smoothing": 0.1}})
    assert old.loss.weights() == {"cross_entropy": 0.5, "dice": 0.5}
    assert old.loss.label_smoothing == 0.1
    with pytest.warns(OldKey, match=r"is now loss.cross_entropy=0.5 loss.dice=0.5"):
        assert change("loss.name=cross_entropy_dice").loss.weights() == old.loss.weights()


def test_a_sum_of_nothing_is_no_loss() -> None:
    assert problem("loss.cross_entropy=0").startswith("loss: every weight is 0; at least one must be above")


OLD_TOML = """
epochs = 4
[data]
split_rule = "rank"
[evaluation]
every = 3
[init]
from = "net.pt"
strict = false
[loss]
name = "cross_entropy_dice"
"""


def test_old_keys_lead_to_keys_of_the_same_section_that_exist() -> None:
    for old, new in [
        *RENAMED.items(),
        *((old, new) for old, v in REPLACED.items() for m in v.values() for new in m),
    ]:
        assert old.rpartition(".")[0] == new.rpartition(".")[0]
        assert any(key == new or key.startswith(f"{new}.") for key in config_keys())
        assert old not in config_keys()


def test_a_file_of_an_earlier_version_is_read_with_a_note_on_each_old_key(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text(OLD_TOML)
    with pytest.warns(OldKey) as notes:
        old = load_config(path)
    assert (old.validation.every, old.init.weights, old.init.strict) == (3, "net.pt", False)
    assert old.loss.weights() == {"cross_entropy": 0.5, "dice": 0.5}
    assert [str(note.message) for note in notes] == [
        f"{path}: evaluation is now validation",
        f"{path}: init.from is now init.weights",
        f"{path}: loss.name=cross_entropy_dice is now loss.cross_entropy=0.5 loss.dice=0.5",
    ]


def test_a_stored_config_of_an_earlier_version_is_read_in_silence(recwarn: pytest.WarningsRecorder) -> None:
    table = {"evaluation": {"every": 3}, "validation": {"batch_size": 2}, "init": {"from": "net.pt"}}
    for read in (RunConfig.of_stored(table), config_from_json(json.dumps(table).encode())):
        assert (read.validation.every, read.validation.batch_size, read.init.weights) == (3, 2, "net.pt")
    assert variant_of(table) == variant_of(read.model_dump(mode="json"))
    assert not recwarn.list


def test_typed_keys_of_an_earlier_version_are_the_new_ones() -> None:
    with pytest.warns(OldKey, match=r"^evaluation\.every is now validation\.every$"):
        assert change("evaluation.every=2", "evaluation.every=3").validation.every == 3
    with pytest.warns(OldKey):
        assert problem("evaluation.every=0").startswith("validation.every: '0' is not allowed")
    assert problem("data.scale=1024x2048").endswith("such as data.size=1024x2048 augment.crop=512x1024")
    assert problem("evaluation.evry=1") == "evaluation.evry: no such key; did you mean validation.every?"


@pytest.mark.filterwarnings("ignore::engine.config.old_keys.OldKey")
def test_a_key_that_is_given_by_both_names_is_refused(tmp_path: Path) -> None:
    twice = "evaluation.every: is now validation.every, which is given too; give only validation.every"
    assert problem("validation.every=1", "evaluation.every=1") == twice
    assert problem("evaluation.every=1", "validation.every=1") == twice
    assert problem("loss.dice=1", "loss.name=cross_entropy").startswith(
        "loss.name: is now loss.dice, which is"
    )
    table = {"validation": {"every": 1}, "evaluation": {"every": 2}}
    path = tmp_path / "both.toml"
    path.write_text("[evaluation]\nevery = 1\n[validation]\nevery = 1\n")
    with pytest.raises(ConfigError) as of_file:
        load_config(path)
    assert str(of_file.value) == f"{path}: {twice}"
    with pytest.raises(ConfigError) as of_run:
        config_from_json(json.dumps(table).encode())
    assert str(of_run.value) == twice
    with pytest.raises(ConfigError, match=r"^loss.name: is now loss.dice"):
        validate({"loss": {"dice": 1.0, "name": "cross_entropy"}})
    with pytest.raises(ConfigError, match=r"^validation: must be a table of keys, got 3"):
        validate({"evaluation": 3})
