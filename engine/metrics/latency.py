"""Seconds of single passes, and what is put on the record of them. Torch-free: onnxruntime's passes are
timed by it, too."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from engine.config.task_sections import Protocol
from engine.run.latency_events import LatencyResult

WARM_PASSES, LEAST_PASSES = 10, 5
"""Of a measurement: passes that do not count, and how many do at least, however slow they are."""


@dataclass(frozen=True)
class Timing:
    """Passes through a network: the seconds of each, and those from the begin of the first to the end of the
    last."""

    passes: tuple[float, ...]
    seconds: float

    @property
    def median(self) -> float:
        return statistics.median(self.passes)

    @property
    def mean(self) -> float:
        """What benchmarks report that look at the clock before the first pass and after the last."""
        return self.seconds / len(self.passes)

    def percentile(self, share: float) -> float:
        """By nearest rank: the time within which that share of the passes, above 0, was done."""
        return sorted(self.passes)[math.ceil(share * len(self.passes)) - 1]


def time_passes(
    one_pass: Callable[[], object],
    warm: int = WARM_PASSES,
    least: int = LEAST_PASSES,
    most: int | None = None,
    seconds: float = 6.0,
) -> Timing:
    """Passes after `warm` ones that do not count: at least `least`, then until `seconds` are over or there
    are `most`. A pass ends when its result is there."""
    for _ in range(warm):
        one_pass()
    passes: list[float] = []
    begun = time.perf_counter()
    while len(passes) < least or (time.perf_counter() - begun < seconds and len(passes) != most):
        before = time.perf_counter()
        one_pass()
        passes.append(time.perf_counter() - before)
    return Timing(tuple(passes), time.perf_counter() - begun)


@dataclass(frozen=True)
class Setting:
    """What one measurement is of; `size` is (height, width) of the image."""

    size: tuple[int, int]
    protocol: Protocol
    precision: str
    compiled: bool = False


@dataclass(frozen=True)
class Machine:
    """Where it was made; `name` is the device's own name."""

    device: str
    name: str
    threads: int


def latency_result(
    setting: Setting, found: Timing | str, machine: Machine, file: str = "", number: int = 0
) -> LatencyResult:
    """The event of a measurement: its passes, or in a line why there are none. `file` is the exported network
    that onnxruntime ran, "" for torch."""
    timing = found if isinstance(found, Timing) else None
    speed = None if timing is None else timing.median if setting.protocol == "engine" else timing.mean
    return LatencyResult(
        number=number,
        protocol=setting.protocol,
        runtime="onnxruntime" if file else "torch",
        precision=setting.precision,
        compiled=setting.compiled,
        height=setting.size[0],
        width=setting.size[1],
        passes=len(timing.passes) if timing else 0,
        median_seconds=timing.median if timing else None,
        p95_seconds=timing.percentile(0.95) if timing else None,
        p99_seconds=timing.percentile(0.99) if timing else None,
        mean_seconds=timing.mean if timing else None,
        frames_per_second=1 / speed if speed else None,
        device=machine.device,
        device_name=machine.name,
        threads=machine.threads,
        file=file,
        problem="" if timing else str(found),
    )
