"""Passes over data on a CUDA device: nothing that reads, reports or scores makes the host wait for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.config.crf import CrfParameters
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.batches import ResidentBatches, StreamedBatches, make_batches
from engine.data.dataset import Dataset, open_dataset
from engine.data.sample_readers import CachedSplit
from engine.data.synthetic import synthesize
from engine.inference.ahead import computed_ahead
from engine.inference.compiled import compiled_for
from engine.inference.crf.mean_field import DenseCrf
from engine.inference.network import Network
from engine.learning import compile_autotune
from engine.learning.class_maps import class_map
from engine.learning.hardware import choose_hardware
from engine.learning.transfers import Arrival, to_device
from engine.learning.windows import WHOLE_IMAGES, Windows
from engine.metrics.confusion import confusion_per_image
from engine.metrics.latency import Timing
from engine.models.registry import build_model
from engine.run.directory import RunDir
from engine.training.begin import Learning
from engine.training.loop import train_epoch
from engine.training.probes.bench import measure
from engine.training.sampling import Sampling
from engine.training.state import new_state
from engine.training.validate import score_split, validation_passes
from engine.worker.job import Job
from tests.null_cuda.counts import Counts


class ReportingJob(Job):
    """Reports after every step, and counts the host's waits between two."""

    waits: list[int]
    reports: int

    def progress_is_due(self) -> bool:
        return True

    def report(self, progress: object) -> None:
        self.reports += 1

    def check_stop(self) -> None:
        self.waits.append(Counts.now().wait)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("data")
    synthesize(root / "scenes", images=20, size=(64, 128), seed=0)
    return open_dataset(small(root / "scenes").data, root / "cache")


def small(root: Path) -> RunConfig:
    values = {"data.root": str(root), "data.size": "32x64", "model.width": 4, "batch_size": 2}
    plain = {"runtime.compile": "off", "runtime.graph": "off"}  # what is measured waits
    return with_values(get_recipe("quick"), {**values, **plain})


def steady_waits(waits: list[int]) -> list[int]:
    """Waits of each step but the first two, in which libraries and the allocator settle."""
    return [after - before for before, after in itertools.pairwise(waits[2:])]


@pytest.mark.parametrize("kind", [ResidentBatches, StreamedBatches])
def test_a_pass_over_the_data_waits_for_nothing(kind: type, data: Dataset, tmp_path: Path) -> None:
    config = small(Path())
    hardware = choose_hardware(config)
    assert isinstance(data.train, CachedSplit)
    batches = make_batches([data.train], hardware.device)[0]
    if kind is StreamedBatches:
        batches = StreamedBatches(data.train, hardware.device)
    assert isinstance(batches, kind)
    state = new_state(config, hardware, list(data.class_set.names))
    job = ReportingJob(RunDir(tmp_path), config, None, tmp_path)
    job.waits, job.reports = [], 0
    train_epoch(job, state, batches, len(data.train))
    assert len(job.waits) == job.reports == len(data.train) // 2
    assert set(steady_waits(job.waits)) == {0}

    job.waits = []
    classes = len(data.class_set.names)
    score_split(job, state.model, state.objective, batches, len(data.train), classes, hardware, 1)
    assert set(steady_waits(job.waits)) == {0}


@pytest.mark.parametrize("windows", [WHOLE_IMAGES, Windows((16, 32), (10, 21))])
def test_images_are_scored_one_after_the_other_without_a_wait(data: Dataset, windows: Windows) -> None:
    config = small(Path())
    hardware = choose_hardware(config)
    model = build_model(config.model, 19).to(hardware.device).eval()
    network = Network(model, tuple("abc"), 1, "", (32, 64), "none", 1, 1, hardware, windows)
    view, target = np.zeros((32, 64, 3), np.uint8), np.zeros((64, 128), np.uint8)
    waits: list[int] = []

    def reads() -> Iterator[int]:
        for number in range(8):
            waits.append(Counts.now().wait)
            yield number

    def judge(number: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        logits = network.logits([view])
        predicted = class_map(logits, (64, 128), "bilinear-logits")
        truth = to_device(target, hardware.device)
        return logits, (predicted, confusion_per_image(predicted[None], truth[None], 19)[0])

    for _, (predicted, confusion) in computed_ahead(reads(), judge, str):
        assert (predicted.shape, confusion.shape) == ((64, 128), (19, 20))
    assert set(steady_waits(waits)) == {0}


def test_images_and_validation_batches_go_through_a_compiled_network(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def recorded(model: nn.Module, device: torch.device, graphs: bool = True) -> Any:
        asked.append(graphs)
        backend = "cudagraphs" if graphs else "aot_eager"  # inductor takes long, and makes the same of graphs
        return torch.compile(model, backend=backend, dynamic=False)

    monkeypatch.setattr(compile_autotune, "compiled", recorded)
    config = with_values(small(Path()), {"runtime.compile": "on"})
    hardware = choose_hardware(config)
    model = build_model(config.model, 19).to(hardware.device).eval()
    plain = Network(model, tuple("abc"), 1, "", (32, 64), "none", 1, 1, hardware)
    job = ReportingJob(RunDir(tmp_path), config, None, tmp_path)
    network = compiled_for(job, plain, 8)
    view = np.zeros((32, 64, 3), np.uint8)
    assert network.logits([view]).shape == plain.logits([view]).shape
    network.logits([view])  # is captured
    before = Counts.now()
    logits = network.logits([view])
    seen = Counts.now() - before
    assert (logits.dtype, seen.graph_launch, seen.wait) == (torch.float32, 1, 0)
    assert seen.host_launch <= 8, "the image, its mean and deviation, the graph and its logits"
    assert (asked, network.passes is not None and network.passes.left) == ([True], 5)

    state = new_state(config, hardware, list(data.class_set.names))
    learning = Learning(hardware, data, state, 0, Sampling(len(data.train), 0))
    passes = validation_passes(job, learning)
    assert asked == [True, True, False], "no graphs beside those of training"
    batches = make_batches([data.train], hardware.device)[0]
    job.waits, job.reports = [], 0
    images, classes = len(data.train) - 1, len(data.class_set.names)  # a last batch that is not full
    for _ in range(2):
        passes.begin(20)
        meter = score_split(job, state.model, state.objective, batches, images, classes, hardware, 1, passes)
        assert (meter.images, passes.left) == (images, 20 - images // 2)
    assert set(steady_waits(job.waits[-(images // 2) :])) == {0}
    assert passes.autotune.is_compiled


def test_a_crf_refines_class_maps_on_the_device() -> None:
    """Each lattice makes the host wait: for the bounds of its coordinates, and for the number of its
    vertices."""
    crf = DenseCrf(CrfParameters(iterations=4))
    image, logits = (
        torch.zeros(24, 40, 3, dtype=torch.uint8, device="cuda"),
        torch.zeros(24, 40, 5, device="cuda"),
    )
    before = Counts.now().wait
    beliefs = crf.refined(image, logits)
    assert (beliefs.shape, beliefs.device.type) == ((24, 40, 5), "cuda")
    with_both = Counts.now().wait - before
    crf.refined(image, logits)
    assert 0 < Counts.now().wait - before - with_both < with_both  # the lattice of positions is kept
    more = DenseCrf(CrfParameters(iterations=40))
    before = Counts.now().wait
    more.refined(image, logits)
    assert Counts.now().wait - before == with_both  # mean field itself waits for nothing


def test_what_is_read_at_once_is_waited_for() -> None:
    class Slow(Arrival):
        def is_here(self) -> bool:
            return False

    before = Counts.now().wait
    Slow([torch.zeros(3, device="cuda")]).tensors()
    assert Counts.now().wait == before + 1


def test_bench_compiles_the_batch_of_the_config_as_a_run_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.learning.ceiling.matrix_ceiling", lambda hardware: 1.0)
    monkeypatch.setattr("engine.learning.latency.measure_latency", lambda *arguments: Timing((1.0,), 1.0))
    plainly = partial(torch.compile, backend="aot_eager", dynamic=False)
    monkeypatch.setattr(compile_autotune, "compiled", lambda network, *about, **more: plainly(network))
    small = {"model.width": 2, "data.size": "32x64", "batch_size": 3, "runtime.graph": "off"}
    config = with_values(get_recipe("quick"), small)
    lines = list(measure(config, classes=3, largest=0, seconds=0))
    seen = [(line["kind"], line["batch_size"], line.get("compiled")) for line in lines[2:]]
    assert seen == [
        *(("training", size, False) for size in (1, 2, 4)),
        ("compiling", 3, None),
        ("compiled", 3, True),
    ]
    ours = lines[-1]
    assert ours["kept"] == (ours["step_seconds"] <= 0.98 * ours["plain_step_seconds"])

    def broken(*given: Any) -> Any:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(compile_autotune, "compiled", lambda *about: broken)
    *_, last = measure(config, classes=3, largest=1, seconds=0)
    assert (last["batch_size"], last["kept"]) == (1, False)
    assert last["problem"] == "torch.compile failed: no compiler here"
    *_, last = measure(with_values(config, {"runtime.compile": "off"}), classes=3, largest=1, seconds=0)
    assert last["kind"] == "training"
