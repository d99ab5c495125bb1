"""Keys that have no effect, as another one switches off what they are of, or as the run ends before."""

from __future__ import annotations

import pytest

from engine.config.described import config_keys
from engine.config.idle import IdleKey, idle_keys
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.requests.configs import changed_config, idle_schedule
from engine.schedules import learning_rate


@pytest.mark.parametrize(
    ("typed", "switch", "told"),
    [
        ("loss.ohem_threshold=0.6", "loss.ohem=1", "loss.ohem is 0"),
        ("augment.cutout_size=0.5", "augment.cutout=0.5", "augment.cutout is 0"),
        ("ema.use=raw", "ema.decay=0.9", "ema.decay is 0"),
        ("slurm.gpus=2", "executor=slurm", "executor is local"),
        ("data.workers=2", "data.cache=false", "data.cache is true"),
        ("distill.temperature=4", "distill.from=aaaa0000", "distill.from is empty"),
        ("optimizer.clip_type=inf", "optimizer.clip_norm=5", "optimizer.clip_norm is 0"),
        ("early_stop.metric=miou", "early_stop.patience=3", "early_stop.patience is 0"),
        ("init.parts=encoder", "init.weights=aaaa0000", "init.weights is empty"),
        ("init.strict=false", "pretrain.epochs=5", "init.weights is empty"),
        ("pretrain.noise=0.5", "pretrain.epochs=5", "pretrain.epochs is 0"),
        ("gallery.images=4", "", ""),
    ],
)
def test_a_key_without_an_effect_is_told(typed: str, switch: str, told: str) -> None:
    base = with_values(RunConfig(), {"data.root": "/data"})
    key = typed.partition("=")[0]
    config = with_values(base, dict([typed.split("=")]))
    assert idle_keys(config, [key, "epochs"]) == ([f"{typed} has no effect where {told}"] if told else [])
    if switch:
        assert idle_keys(with_values(config, dict([switch.split("=")])), [key]) == []


def test_weights_that_are_given_leave_no_pretraining_to_make() -> None:
    config = with_values(RunConfig(), {"pretrain.epochs": 5})
    assert idle_keys(config, ["pretrain.epochs"]) == []
    given = with_values(config, {"init.weights": "aaaa0000"})
    told = ["pretrain.epochs=5 has no effect where init.weights is given"]
    assert [idle_keys(given, [key]) for key in ("pretrain.epochs", "init.weights", "seed")] == [
        told,
        told,
        [],
    ]
    assert idle_keys(with_values(given, {"pretrain.epochs": 0}), ["pretrain.epochs", "init.weights"]) == []
    pretraining = with_values(RunConfig(), {"task": "pretrain"})
    assert idle_keys(pretraining, ["pretrain.noise"]) == []


def test_keys_of_a_random_split_are_told_where_none_is_drawn() -> None:
    official = with_values(RunConfig(), {"data.split": "official"})
    assert idle_keys(official, ["data.split_seed", "data.val_fraction"]) == [
        "data.split_seed=2147483647 has no effect where data.split is official and data.label_fraction is 1",
        "data.val_fraction=0.2 has no effect where data.split is official",
    ]
    some_labels = with_values(official, {"data.label_fraction": 0.5})
    assert idle_keys(some_labels, ["data.split_seed", "data.split_rule"]) == []
    assert idle_keys(RunConfig(), ["data.split_seed", "data.split_rule", "data.val_fraction"]) == []


def test_a_rate_that_never_drops_is_told() -> None:
    step = with_values(RunConfig(), {"epochs": 30, "schedule.name": "step"})
    never = "schedule.every=30 has no effect in 30 epochs: the rate never drops"
    assert idle_keys(step, ["schedule.name"]) == idle_keys(step, ["epochs"]) == [never]
    assert idle_keys(step, ["seed"]) == []
    for drops in ({"epochs": 31}, {"schedule.every": 10}, {"schedule.milestones": "20"}):
        assert idle_keys(with_values(step, drops), ["schedule.name"]) == []
    by_iterations = with_values(step, {"schedule.by": "iterations", "schedule.every": 90, "batch_size": 4})
    assert idle_keys(by_iterations, ["schedule.every"]) == []  # their number is not known yet
    never = "schedule.every=90 has no effect in 90 iterations: the rate never drops"
    assert [idle_schedule(by_iterations, images) for images in (None, 12, 13)] == ["", never, ""]


def test_a_time_within_the_last_epoch_is_told_where_the_rate_changes_between_epochs() -> None:
    for name, key in (("step", "milestones"), ("step", "every"), ("linear", "hold")):
        by_epochs = {"epochs": 30, "schedule.name": name, "schedule.by": "epochs", f"schedule.{key}": "29.5"}
        config = with_values(RunConfig(), by_epochs)
        (told,) = idle_keys(config, ["schedule.by"])
        assert told.startswith(f"schedule.{key}=29.5 lies within the last epoch; with schedule.by=epochs, no")
        rates = {learning_rate(config, step, 4) for step in range(30 * 4)}
        assert rates == {config.optimizer.lr}
        for changes in ({"schedule.by": "auto"}, {f"schedule.{key}": "29"}):
            falls = with_values(config, changes)
            assert idle_keys(falls, ["schedule.by"]) == []


def test_who_types_one_is_warned() -> None:
    with pytest.warns(IdleKey, match=r"^ema.warmup=false has no effect where ema.decay is 0$"):
        changed_config(RunConfig(), ["ema.warmup=false", "data.root=/data"], None)


def test_each_key_is_of_one_that_there_is() -> None:
    keys = config_keys()
    owners = {about.part_of for about in keys.values() if about.part_of}
    assert {"loss.ohem", "ema.decay", "augment.mixstyle"} <= owners <= set(keys)
