"""The mean of several checkpoints, and statistics of batch norm that belong to it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.config.keys import ConfigError, validate, with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.batches import Batch
from engine.data.centroids import Centroids
from engine.learning.batch_norm import batch_norms
from engine.learning.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from engine.learning.hardware import Hardware
from engine.run.directory import RunDir
from engine.run.events import Averaged
from engine.run.journal import JournalWriter, read_all
from engine.training.average import (
    average,
    estimate_statistics,
    refuse_existing,
    save_average,
    start_from_average,
)
from engine.training.begin import Learning
from engine.training.sampling import Sampling
from engine.training.state import Best, TrainState, new_state
from engine.worker.job import Job

CPU = Hardware(torch.device("cpu"), "a CPU", "fp32")
CLASSES = ["road", "sky", "car"]
BASE = with_values(
    get_recipe("quick"), {"device": "cpu", "model.width": 2, "data.size": "32x32", "batch_size": 4}
)
Keep = Callable[..., TrainState]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Writes a checkpoint of a network that was drawn at random."""

    def keep(name: str, config: RunConfig = BASE, classes: list[str] = CLASSES, **more: object) -> TrainState:
        state = new_state(with_values(config, {"seed": len(name)}), CPU, classes)
        content = {"model_config": config.model.model_dump(mode="json"), "classes": classes, "epoch": 3}
        save_checkpoint(tmp_path / name, {**content, "model": state.model.state_dict(), **more})
        return state

    return keep


def averaging(folder: Path, *names: str, base: RunConfig = BASE) -> RunConfig:
    about = {"checkpoints": [str(folder / name) for name in names]}
    return validate(base.model_dump() | {"task": "average", "average": about})


def averaged(folder: Path, *names: str, base: RunConfig = BASE) -> tuple[TrainState, Averaged]:
    config, run = averaging(folder, *names, base=base), RunDir(folder / "run")
    run.path.mkdir(exist_ok=True)
    state = new_state(config, CPU, CLASSES)
    with JournalWriter(run.journal) as journal:
        start_from_average(Job(run, config, journal, run.path), state)
    (event,) = read_all(run.journal)
    assert isinstance(event, Averaged)
    return state, event


def test_weights_are_the_mean_and_say_whose(keep: Keep, tmp_path: Path) -> None:
    sources = [keep(name).model.state_dict() for name in ("a.pt", "bb.pt", "ccc.pt")]
    state, event = averaged(tmp_path, "a.pt", "bb.pt", "ccc.pt")
    for name, each in state.model.state_dict().items():
        parts = torch.stack([source[name] for source in sources])
        mean = parts.double().mean(0) if each.is_floating_point() else parts[0]
        torch.testing.assert_close(each, mean.to(each.dtype))
    assert [(Path(one.source).name, one.epoch) for one in event.sources] == [
        ("a.pt", 3), ("bb.pt", 3), ("ccc.pt", 3)
    ]  # fmt: skip
    assert event.sources[1].sha256 == hashlib.sha256((tmp_path / "bb.pt").read_bytes()).hexdigest()


def test_a_source_that_is_replaced_meanwhile_is_told_as_it_was_read(keep: Keep, tmp_path: Path) -> None:
    for name in ("a.pt", "bb.pt", "other.pt"):
        keep(name)
    config, run = averaging(tmp_path, "a.pt", "bb.pt"), RunDir(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    state = new_state(config, CPU, CLASSES)
    state.best = Best(1, 0.5, None)
    digests = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.pt", "bb.pt")]
    with JournalWriter(run.journal) as journal:
        job = Job(run, config, journal, run.path)
        sources = start_from_average(job, state)
        (tmp_path / "other.pt").replace(tmp_path / "bb.pt")
        save_average(job, state, sources)
    made = load_checkpoint(run.checkpoints / "best.pt")
    assert [one["sha256"] for one in made["averaged"]] == digests


def test_a_file_that_has_come_in_the_place_of_out_is_kept(keep: Keep, tmp_path: Path) -> None:
    for name in ("a.pt", "bb.pt"):
        keep(name)
    config, run = averaging(tmp_path, "a.pt", "bb.pt"), RunDir(tmp_path / "run")
    assert config.average is not None
    about = config.average.model_copy(update={"out": str(tmp_path / "out.pt")})
    config = config.model_copy(update={"average": about})
    run.path.mkdir()
    with JournalWriter(run.journal) as journal:
        job = Job(run, config, journal, run.path)
        refuse_existing(job)
        (tmp_path / "out.pt").write_bytes(b"of somebody else")
        with pytest.raises(CheckpointError, match=r"out\.pt: already exists; move it away, or use another"):
            average(job)
        start_from_average(job, new_state(config, CPU, CLASSES))
        refuse_existing(job)  # an earlier attempt of the run may have made it


def test_networks_that_differ_in_dropout_have_a_mean(keep: Keep, tmp_path: Path) -> None:
    network = with_values(BASE, {"model.name": "deeplab_largefov", "model.width": 2})
    sources = [keep("a.pt", network), keep("bb.pt", with_values(network, {"model.dropout": 0.1}))]
    state, _ = averaged(tmp_path, "a.pt", "bb.pt", base=network)
    one, other = (source.model.state_dict()["head.weight"] for source in sources)
    torch.testing.assert_close(state.model.state_dict()["head.weight"], (one + other) / 2)


def test_the_average_of_a_run_counts_where_the_run_uses_it(keep: Keep, tmp_path: Path) -> None:
    names = [name for name, _ in new_state(BASE, CPU, CLASSES).model.named_parameters()]
    shape = new_state(BASE, CPU, CLASSES).model.state_dict()
    ema = {"model": {name: torch.ones_like(shape[name]) for name in names}, "updates": 1, "use": "average"}
    keep("a.pt", ema=ema)
    keep("bb.pt", ema=ema)
    state, _ = averaged(tmp_path, "a.pt", "bb.pt")
    assert all(bool((each == 1).all()) for each in state.model.parameters())


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"classes": ["road", "sky"]}, "knows the 2 classes road, sky; the run's 3 are road, sky, car"),
        ({"config": with_values(BASE, {"model.width": 4})}, "is of the model .*'width': 4"),
        (None, "does not exist"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    keep: Keep, tmp_path: Path, other: dict[str, Any] | None, problem: str
) -> None:
    keep("a.pt")
    if other is not None:
        keep("bb.pt", **other)
    with pytest.raises(CheckpointError, match=rf"^{tmp_path}/bb\.pt: {problem}"):
        averaged(tmp_path, "a.pt", "bb.pt")


def test_statistics_are_those_of_the_training_images_by_their_number(tmp_path: Path) -> None:
    config = with_values(averaging(tmp_path, "a.pt", "bb.pt"), {"augment.flip": 0})
    state = new_state(config, CPU, CLASSES)
    torch.manual_seed(0)
    images = torch.randint(0, 256, (6, 32, 32, 3), dtype=torch.uint8)

    def batches(order: Tensor, size: int, start: int = 0) -> Iterator[Batch]:
        for part in torch.split(order, size):
            yield Batch(images[part], torch.zeros(len(part), 32, 32, dtype=torch.uint8))

    first = next(batch_norms(state.model))
    seen: list[Tensor] = []
    first.register_forward_hook(lambda norm, given, output: seen.append(given[0].detach()))
    before = {name: each.clone() for name, each in state.model.named_parameters()}
    data = SimpleNamespace(train=range(6))
    learning = Learning(CPU, cast(Any, data), state, 0, Sampling(6, seed=0))
    momentum = first.momentum
    estimate_statistics(Job(RunDir(tmp_path), config, None, tmp_path), learning, cast(Any, batches))

    assert [len(each) for each in seen] == [4, 2]
    for running, of_batch in (
        (first.running_mean, lambda each: each.mean((0, 2, 3))),
        (first.running_var, lambda each: each.var((0, 2, 3))),
    ):
        expected = sum(len(each) * of_batch(each) for each in seen) / 6
        torch.testing.assert_close(running, expected, rtol=1e-4, atol=1e-5)
    assert first.momentum == momentum
    for name, each in state.model.named_parameters():
        assert torch.equal(each, before[name]), name


def test_statistics_are_of_crops_that_show_the_classes_that_images_were_chosen_for(tmp_path: Path) -> None:
    config = with_values(averaging(tmp_path, "a.pt", "bb.pt"), {"augment.crop": "16x16", "augment.flip": 0})
    state = new_state(config, CPU, CLASSES)
    images = torch.zeros(6, 32, 32, 3, dtype=torch.uint8)
    images[:, 30, 30] = 255  # what each image was chosen for

    def batches(order: Tensor, size: int, start: int = 0) -> Iterator[Batch]:
        for part in torch.split(order, size):
            yield Batch(images[part], torch.zeros(len(part), 32, 32, dtype=torch.uint8))

    shows: list[bool] = []

    def look(model: object, given: tuple[Tensor]) -> None:
        shows.extend((given[0] > 0).flatten(1).any(1).tolist())

    state.model.register_forward_pre_hook(look)
    point = np.full((6, 2), 30.5 / 32, np.float32)
    places = Centroids(np.arange(6), np.zeros(6, np.uint8), point)
    data = SimpleNamespace(train=range(6))
    learning = Learning(CPU, cast(Any, data), state, 0, Sampling(6, 0, places, share=1.0))
    estimate_statistics(Job(RunDir(tmp_path), config, None, tmp_path), learning, cast(Any, batches))
    assert shows == [True] * 6


def test_frozen_statistics_stay(tmp_path: Path) -> None:
    config = with_values(averaging(tmp_path, "a.pt", "bb.pt"), {"batch_norm": "frozen_statistics"})
    state = new_state(config, CPU, CLASSES)
    learning = Learning(CPU, cast(Any, None), state, 0, Sampling(6, seed=0))
    estimate_statistics(Job(RunDir(tmp_path), config, None, tmp_path), learning, cast(Any, None))


def test_the_task_needs_its_section_and_two_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"task: average needs checkpoints; use `seg-engine average RUN\.\.\.`"
    ):
        with_values(BASE, {"task": "average"})
    with pytest.raises(ConfigError, match=r"average\.checkpoints"):
        averaging(tmp_path, "a.pt")


def test_a_checkpoint_that_is_replaced_meanwhile_is_told_by_the_file_that_was_read(
    keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep("a.pt")
    keep("last.pt")
    keep("newer.pt", epoch=4)

    def replaced_meanwhile(of: Path) -> dict[str, Any]:
        content = load_checkpoint(of)
        if of.name == "last.pt" and (tmp_path / "newer.pt").exists():
            (tmp_path / "newer.pt").replace(of)  # as a training does that is under way
        return content

    monkeypatch.setattr("engine.learning.checkpoint.load_checkpoint", replaced_meanwhile)
    _, event = averaged(tmp_path, "a.pt", "last.pt")
    digest = hashlib.sha256((tmp_path / "last.pt").read_bytes()).hexdigest()
    assert (event.sources[1].epoch, event.sources[1].sha256) == (4, digest)
