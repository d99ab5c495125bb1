"""`bench` and the search for a batch that fits take the steps of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.cli.bench import print_report
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.learning import ceiling, compile_autotune
from engine.learning.ceiling import matrix_ceiling
from engine.learning.hardware import Hardware, choose_hardware
from engine.metrics.latency import Timing
from engine.training import step
from engine.training.probes import fit
from engine.training.probes.bench import measure
from engine.training.probes.steps import random_batch, state_for_steps
from engine.training.state import TrainState


@pytest.fixture(autouse=True)
def no_measurements_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What takes seconds and has nothing to do with steps; threads cost more than such small tensors do."""
    monkeypatch.setattr("engine.learning.ceiling.matrix_ceiling", lambda hardware: 1.0)
    monkeypatch.setattr("engine.learning.latency.measure_latency", lambda *arguments: Timing((1.0,), 1.0))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config_of(**values: object) -> RunConfig:
    base = {"data.size": "32x32", "model.width": 2, "device": "cpu", "precision": "fp32"}
    return with_values(get_recipe("quick"), base | {key.replace("__", "."): v for key, v in values.items()})


def trained(config: RunConfig, largest: int) -> list[dict[str, Any]]:
    lines = measure(config, classes=3, largest=largest, seconds=0)
    return [line for line in lines if line["kind"] == "training"]


class Passes:
    """Counts what runs compiled, the number of images of each forward pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images: list[int] = []
        really = torch.compile

        def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
            def run(*arguments: Any) -> Any:
                self.images += [
                    len(a) for a in arguments if isinstance(a, Tensor) and a.shape[1:] == (32, 32, 3)
                ]
                return graph.forward(*arguments)

            return run

        def compile_(model: Any, **options: Any) -> Any:
            return really(model, backend=backend, dynamic=options["dynamic"])

        monkeypatch.setattr(compile_autotune.torch, "compile", compile_)


def watched(function: Callable[..., Any], watch: Callable[..., object]) -> Callable[..., Any]:
    """`function`, whose arguments `watch` sees first."""

    def call(*arguments: Any, **options: Any) -> Any:
        watch(*arguments)
        return function(*arguments, **options)

    return call


def test_bench_measures_the_compiled_network(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = Passes(monkeypatch)
    steps: list[int] = []
    done = watched(TrainState.step_done, lambda state: steps.append(state.config.batch_size))
    monkeypatch.setattr(TrainState, "step_done", done)
    lines = trained(config_of(runtime__compile="on", runtime__micro_batch=1), largest=2)
    assert [(line["batch_size"], line["compiled"]) for line in lines] == [(1, True), (2, True)]
    assert steps == [1] * 4 + [2] * 4
    # Every pass of every step: one of batch 1, two micro-batches of batch 2.
    assert passes.images == [1] * 4 + [1, 1] * 4


def test_a_network_is_compiled_for_the_batches_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = Passes(monkeypatch)
    config = config_of(runtime__compile="on", batch_size=8)
    hardware = choose_hardware(config)
    state = state_for_steps(config, hardware, 3, images=5)  # not a single full batch
    step.training_step(state, random_batch(config, hardware, 3, 5), 5)
    assert passes.images == [5]


@pytest.mark.parametrize("mode", ["off", "auto"])
def test_bench_compiles_nothing_that_was_not_asked_for(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = Passes(monkeypatch)
    (line,) = trained(config_of(runtime__compile=mode), largest=1)
    assert (line["compiled"], "problem" in line, passes.images) == (False, False, [])


def test_bench_says_so_when_the_network_does_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any) -> Any:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(compile_autotune, "compiled", lambda *about: broken)
    (line,) = trained(config_of(runtime__compile="on"), largest=1)
    assert (line["compiled"], line["problem"]) == (False, "torch.compile failed: no compiler here")


def test_probes_cut_clip_and_augment_as_a_run_does(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(
        runtime__micro_batch=2,
        optimizer__clip_norm=0.5,
        augment__flip=1,
        batch_size=8,
        validation__batch_size=8,
    )
    clipped: list[float] = []
    cut: list[list[int]] = []
    augmented: list[int] = []
    monkeypatch.setattr(step, "clip_grad_norm_", lambda parameters, norm, kind: clipped.append(norm))
    really = step.micro_batches

    def parts_of(*arguments: Any) -> Any:
        parts = list(really(*arguments))
        cut.append([len(part) for part, _, _, _ in parts])
        return parts

    monkeypatch.setattr(step, "micro_batches", parts_of)
    see = watched(step.augmented, lambda state, batch, *_: augmented.append(len(batch.images)))
    monkeypatch.setattr(step, "augmented", see)
    trained(config, largest=4)
    assert set(clipped) == {0.5}
    assert cut == [[1]] * 4 + [[2]] * 4 + [[2, 2]] * 4
    assert augmented == [1] * 4 + [2] * 4 + [4] * 4

    for seen in (clipped, cut, augmented):
        seen.clear()
    monkeypatch.setattr(fit, "CPU_RESERVE", 0)
    fit._steps(config, classes=3, size=2, batch=8, data_bytes=0)
    assert clipped == [0.5] * fit.STEPS
    assert cut == [[2], [2, 2]], "the second adds to the gradients of the first, beside the optimizer's state"
    assert 8 in augmented, "all of the batch is augmented at once"


def test_probes_train_on_crops_and_score_whole_images(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(data__size="64x64", augment__crop="32x32", batch_size=4)
    lines = list(measure(config, classes=3, largest=1, seconds=0))
    whole = next(iter(measure(config_of(data__size="64x64"), classes=3, largest=1, seconds=0)))
    assert 4 * lines[0]["flops_per_sample"] == whole["flops_per_sample"]
    seen: list[tuple[bool, torch.Size]] = []

    def watched_state(*about: Any) -> TrainState:
        state = state_for_steps(*about)
        state.model.register_forward_pre_hook(
            lambda model, given: seen.append((model.training, given[0].shape))
        )
        return state

    monkeypatch.setattr("engine.training.probes.steps.state_for_steps", watched_state)
    monkeypatch.setattr(fit, "CPU_RESERVE", 0)
    fit._steps(config, classes=3, size=2, batch=4, data_bytes=0)
    assert {size for training, size in seen if training} == {torch.Size([2, 3, 32, 32])}
    assert [size for training, size in seen if not training] == [torch.Size([2, 3, 64, 64])]


def test_bench_says_what_a_run_makes_of_compiling(capsys: pytest.CaptureFixture[str]) -> None:
    speed = {"images_per_second": 100, "achieved_flops": 1e9, "utilisation": 0.5, "peak_memory_bytes": 2**30}
    lines: list[dict[str, Any]] = [
        {"kind": "machine", "device": "cuda:0", "device_name": "H100", "precision": "bf16", "threads": 4}
        | {"torch": "2.14", "parameters": 10, "flops_per_sample": 1, "ceiling_flops": 1, "memory_bytes": 1},
        {"kind": "latency", "median_seconds": 1, "p95_seconds": 1, "frames_per_second": 1},
        {"kind": "training", "batch_size": 4, "step_seconds": 0.04, "compiled": False} | speed,
    ]
    trial = {"kind": "compiled", "batch_size": 4, "plain_step_seconds": 0.04, "least_run_seconds": 300}
    fast = {"step_seconds": 0.03, "compiled": True, "kept": True, "compile_seconds": 50} | speed
    failed = {"compiled": False, "kept": False, "problem": "torch.compile failed: no compiler", **speed}
    told = []
    for more in (fast, fast | {"step_seconds": 0.0396, "kept": False}, failed):
        print_report(config_of(), [*lines, trial | more])
        told.append(capsys.readouterr().out)
    begin = "runtime.compile=auto, batch 4: "
    assert (
        f"{begin}a compiled step takes 75 % of one without, which a run of more than 5 minutes keeps; "
        "compiling took 50 s, which 5,000 steps earn back"
    ) in told[0]
    assert f"{begin}a run takes its steps uncompiled, as a compiled step takes 99 % of one" in told[1]
    assert f"{begin}a run takes its steps uncompiled, as torch.compile failed: no compiler" in told[2]
    assert ["4, compiled" in each for each in told] == [True, True, False]


def test_the_ceiling_is_measured_in_the_memory_that_a_run_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured after the first epoch, before that is saved: too little memory must not end the run."""
    monkeypatch.setattr(ceiling, "SECONDS", 1e-9)
    really, rows = torch.randn, []

    def randn(size: int, *others: Any, **options: Any) -> Tensor:
        rows.append(size)
        if size > 512:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return really(size, *others, **options)

    monkeypatch.setattr(torch, "randn", randn)
    assert matrix_ceiling(Hardware(torch.device("cpu"), "A CPU", "fp32")) > 0
    assert rows == [2048, 1024, 512, 512]
