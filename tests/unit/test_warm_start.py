"""Beginning with the weights of another checkpoint: what is taken, what is new, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.learning.checkpoint import CheckpointError, DamagedCheckpoint, save_checkpoint
from engine.learning.hardware import Hardware
from engine.run.directory import RunDir
from engine.run.events import WarmStart
from engine.run.journal import JournalWriter, read_all
from engine.training.state import TrainState, new_state
from engine.training.warm_start import start_from_source
from engine.worker.job import Job

CPU = Hardware(torch.device("cpu"), "a CPU", "fp32")
BASE = with_values(RunConfig(), {"model.name": "modern_unet", "model.hidden": 2, "data.size": "16x16"})
STREET, HOUSE = ["road", "car"], ["wall", "door", "roof"]


class Beginning:
    """A run directory beside a source checkpoint, in a folder `runs`."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "runs" / "aaaaaaaa" / "checkpoints" / "best.pt"
        self.source.parent.mkdir(parents=True)
        self.run = RunDir(folder / "runs" / "bbbbbbbb")
        self.run.path.mkdir()

    def keep(self, state: TrainState) -> None:
        identity = {"model_config": state.config.model.model_dump(mode="json"), "classes": state.classes}
        save_checkpoint(self.source, {**identity, "epoch": 7, "model": state.model.state_dict()})

    def start(self, classes: list[str], **values: object) -> tuple[TrainState, WarmStart]:
        changes = {key.replace("__", "."): value for key, value in values.items()}
        config = with_values(BASE, {"seed": 1, "init.weights": "../aaaaaaaa/checkpoints/best.pt", **changes})
        state = new_state(config, CPU, classes)
        with JournalWriter(self.run.journal) as journal:
            start_from_source(Job(self.run, config, journal, self.run.path), state)
        (event,) = read_all(self.run.journal)
        assert isinstance(event, WarmStart)
        return state, event


@pytest.fixture
def beginning(tmp_path: Path) -> Beginning:
    return Beginning(tmp_path)


def same(one: TrainState, other: TrainState) -> dict[str, bool]:
    return {
        name: tensor.shape == other.model.state_dict()[name].shape
        and bool(torch.equal(tensor, other.model.state_dict()[name]))
        for name, tensor in one.model.state_dict().items()
    }


def test_of_the_same_classes_everything_is_taken_at_another_size_too(beginning: Beginning) -> None:
    source = new_state(BASE, CPU, STREET)
    beginning.keep(source)
    state, event = beginning.start(STREET, data__size="32x64")
    assert all(same(source, state).values())
    assert (event.taken, event.epoch, event.new, event.unused) == (len(same(source, state)), 7, [], [])
    assert event.source == str(beginning.source)
    assert event.told == f"weights loaded from {beginning.source}, epoch 7: {event.taken} tensors"


@pytest.mark.parametrize("classes", [HOUSE, ["car", "road"]])
def test_of_other_classes_all_but_the_head_is_taken(beginning: Beginning, classes: list[str]) -> None:
    source = new_state(BASE, CPU, STREET)
    beginning.keep(source)
    state, event = beginning.start(classes)
    assert {name for name, equal in same(source, state).items() if not equal} == {"head.weight", "head.bias"}
    assert sorted(event.new) == sorted(event.unused) == ["head.bias", "head.weight"]
    assert "new here: head.weight, head.bias; not used: head.weight, head.bias" in event.told


def test_after_pretraining_the_head_is_swapped(beginning: Beginning) -> None:
    source = new_state(with_values(BASE, {"task": "pretrain"}), CPU, [])
    beginning.keep(source)
    three = ["road", "car", "sky"]  # as many as there are colours: the shapes fit, the meaning does not
    state, event = beginning.start(three)
    assert not same(source, state)["head.weight"]
    assert same(source, state)["stem.weight"]
    assert len(event.new) == 2


def test_another_network_is_refused_by_name_unless_told_otherwise(beginning: Beginning) -> None:
    source = new_state(with_values(BASE, {"model.attention": "middle", "model.hidden": 3}), CPU, STREET)
    beginning.keep(source)
    with pytest.raises(CheckpointError, match=r"best\.pt: is of another network: \d+ tensors") as no:
        beginning.start(STREET)
    assert "the first stem.weight, 3x3x3x3 there and 2x3x3x3 here" in str(no.value)
    assert "init.strict=false" in str(no.value)
    with pytest.raises(CheckpointError, match="none of its weights fits"):
        beginning.start(HOUSE, init__strict=False)

    beginning.keep(new_state(with_values(BASE, {"model.attention": "middle"}), CPU, STREET))
    state, event = beginning.start(STREET, init__strict=False)
    assert event.taken == len(state.model.state_dict())
    assert event.new == []
    assert all(name.startswith("middle.0.attention.") for name in event.unused)


def test_a_source_that_is_gone_or_damaged_is_named(beginning: Beginning) -> None:
    with pytest.raises(CheckpointError, match=r"aaaaaaaa/checkpoints/best\.pt: does not exist"):
        beginning.start(STREET)
    beginning.source.write_bytes(b"nonsense")
    with pytest.raises(DamagedCheckpoint, match=r"best\.pt: is damaged"):
        beginning.start(STREET)
