"""The average of weights: what it is, what a checkpoint keeps of it, and who uses it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.config.sections import EarlyStopConfig
from engine.data.batches import ResidentBatches
from engine.inference.network import load_network
from engine.learning.checkpoint import load_checkpoint
from engine.learning.hardware import choose_hardware
from engine.learning.weight_average import WeightAverage, validated_weights
from engine.run.directory import RunDir
from engine.run.events import Epoch
from engine.training.early_stop import EarlyStop
from engine.training.loop import train_epoch
from engine.training.saving import find_resumption, restore, save
from engine.training.state import TrainState, new_state
from engine.worker.job import Job

IMAGES = 6


def config_of(**values: object) -> RunConfig:
    small = {"model.width": 2, "data.size": "32x32", "batch_size": 2, "device": "cpu", "precision": "fp32"}
    changes = {key.replace("__", "."): value for key, value in values.items()}
    return with_values(get_recipe("quick"), small | {"ema.decay": 0.9} | changes)


def job_of(folder: Path, config: RunConfig) -> Job:
    job = Job(RunDir(folder), config, None, folder)
    job.run.checkpoints.mkdir(parents=True, exist_ok=True)
    return job


def train(job: Job, state: TrainState) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (IMAGES, 32, 32, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 3, (IMAGES, 32, 32), dtype=torch.uint8, generator=generator)
    train_epoch(job, state, ResidentBatches(images, labels, torch.arange(IMAGES)), IMAGES)
    state.finish_epoch()


def fresh(config: RunConfig) -> TrainState:
    return new_state(config, choose_hardware(config), ["a", "b", "c"])


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in model.state_dict().items()}


@pytest.mark.parametrize("warmup", [True, False])
def test_the_average_follows_its_formula_with_the_statistics_of_batch_norm(warmup: bool) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1))
    model[2].weight = model[0].weight = nn.Parameter(torch.randn(2, 2, 1, 1))  # shared
    average = WeightAverage(model, 0.5, warmup)
    expected = copied(model)
    for step in range(1, 9):
        for each in (*model.parameters(), model[1].running_mean, model[1].running_var):
            each.data.copy_(torch.randn_like(each))
        model[1].num_batches_tracked += 1
        average.update()
        decay = min(0.5, (1 + step) / (10 + step)) if warmup else 0.5
        for name, each in model.state_dict().items():
            if each.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * each
    raw = copied(model)
    with contextlib.suppress(ZeroDivisionError), average.shown():
        for name, each in model.state_dict().items():
            wanted = raw[name] if name == "1.num_batches_tracked" else expected[name]
            torch.testing.assert_close(each, wanted, msg=name)
        raise ZeroDivisionError
    assert all(torch.equal(each, raw[name]) for name, each in model.state_dict().items()), "to the bit"
    again = WeightAverage(model, 0.5, warmup)
    again.load(average.state())
    assert str(again.state()) == str(average.state())
    average.restart()
    assert average.state()["updates"] == 0
    assert torch.equal(average.state()["model"]["1.running_mean"], raw["1.running_mean"])


def test_a_run_with_an_average_takes_the_same_steps_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    states = []
    for decay in (0.0, 0.9):
        config = config_of(ema__decay=decay)
        state, job = fresh(config), job_of(tmp_path / str(decay), config)
        for epoch in range(3):
            train(job, state)
            if epoch == 0:
                save(job, state)
        states.append(state)
    plain, averaged = states
    assert plain.average is None
    assert all(
        torch.equal(averaged.model.state_dict()[name], each) for name, each in copied(plain.model).items()
    )

    resumed = fresh(config)
    restore(job, resumed, find_resumption(job.run.checkpoints))
    assert resumed.epoch == 1
    for _ in range(2):
        train(job, resumed)
    one, other = averaged.averaged(), resumed.averaged()
    assert one is not None
    assert other is not None
    assert one["updates"] == other["updates"] == 9
    assert all(torch.equal(other["model"][name], each) for name, each in one["model"].items())


def test_who_loads_a_checkpoint_gets_the_weights_that_were_validated(tmp_path: Path) -> None:
    config = config_of()
    state, job = fresh(config), job_of(tmp_path / "runs" / "aaaaaaaa", config)
    train(job, state)
    save(job, state)
    content = load_checkpoint(job.run.checkpoints / "last.pt")
    with state.validated_weights():
        averaged = copied(state.model)
    raw = copied(state.model)
    assert not torch.equal(raw["head.weight"], averaged["head.weight"])
    assert torch.equal(validated_weights(content)["head.weight"], averaged["head.weight"])
    assert torch.equal(validated_weights(content, "raw")["head.weight"], raw["head.weight"])
    without = {key: value for key, value in content.items() if key != "ema"}
    assert torch.equal(validated_weights(without, "average")["head.weight"], raw["head.weight"])

    digests = set()
    for use, wanted in (("average", averaged), ("raw", raw)):
        about = {"source": "aaaaaaaa", "checkpoint": "../aaaaaaaa/checkpoints/last.pt"}
        table = {**config.model_dump(), "task": "evaluate", "evaluate": about, "ema": {"use": use}}
        network = load_network(
            RunConfig.model_validate(table), tmp_path / "runs" / "bbbbbbbb", state.hardware, ()
        )
        digests.add(network.sha256)
        for name, each in network.model.state_dict().items():
            assert torch.equal(each, wanted[name]), name
    assert len(digests) == 2, "what is kept of one is not taken for the other's"


def validated(epoch: int, dice: float | None, loss: float = 1.0) -> Epoch:
    known: dict[str, float | None] = {} if dice is None else {"a": dice}
    return Epoch(
        epoch=epoch,
        split="val",
        loss=loss,
        dice=dice,
        miou=None,
        lr=0.1,
        seconds=1,
        dice_image=None,
        pixel_accuracy=None,
        class_dice=known,
        class_iou={},
        images_per_second=1,
        data_wait=0,
        peak_memory_bytes=0,
    )


def test_a_run_ends_where_nothing_has_improved_for_its_patience() -> None:
    stop = EarlyStop(EarlyStopConfig(patience=3, min_improvement=0.01))
    due = []
    for epoch, dice in enumerate((0.1, 0.2, 0.205, 0.209, None, 0.3, 0.3, 0.3, 0.3), start=1):
        stop.validated(validated(epoch, dice) if dice is not None else validated(epoch, 0.0))
        if stop.is_due(epoch):
            due.append(epoch)
    assert due == [5, 9], "0.209 is no improvement, 0.3 one that came too late"
    again = EarlyStop(stop.config)
    again.load(stop.state(), 9)
    assert again == stop
    assert stop.told() == (
        "early_stop: no improvement of validation dice by more than 0.01 in 3 epochs, since epoch 6"
    )
    assert not EarlyStop(EarlyStopConfig()).is_due(10**6)
    loss = EarlyStop(EarlyStopConfig(patience=1))
    loss.validated(validated(1, None, 2.0))
    loss.validated(validated(2, None, 1.0))
    assert not loss.is_due(2), "without classes it is the loss"


def test_a_run_ends_early_only_where_it_was_just_validated() -> None:
    stop = EarlyStop(EarlyStopConfig(patience=5))
    due = []
    for epoch in range(1, 41):
        if epoch % 10 == 0:
            stop.validated(validated(epoch, 0.1 if epoch < 30 else 0.05))
        if stop.is_due(epoch):
            due.append(epoch)
    assert due == [20, 30, 40], "before the first validation, and between two, nothing is known"
    assert "in 30 epochs, since epoch 10" in stop.told()
    old = EarlyStop(stop.config)
    old.load({"best": 0.1, "epoch": 10}, 15)  # of a version that judged after each epoch
    assert old.is_due(15)
    assert not old.is_due(16)
