"""How long one image takes through exported networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.config.task_sections import TimingConfig
from engine.exported.network import ExportedError, ExportedModel
from engine.host.cpu import cpu_name
from engine.metrics.latency import Machine, Setting, Timing, latency_result, time_passes
from engine.run.latency_events import LatencyResult


def file_settings(model: ExportedModel, wanted: TimingConfig) -> list[Setting]:
    """What is to be measured of a file: in the precision that it has, at those of the sizes that it takes.
    Raises ExportedError where it takes none of them, and for one that its network cannot see."""
    sizes = wanted.sizes or (model.size,)
    if not model.takes_any_size:
        if model.size not in sizes:
            height, width = model.size
            raise ExportedError(
                f"{model.path}: takes images of {height}x{width} alone; --size {height}x{width} measures it, "
                "and `seg-engine export --dynamic` writes a file for any size"
            )
        sizes = (model.size,)
    if problem := next(filter(None, (model.size_problem(*size) for size in sizes)), ""):
        raise ExportedError(f"{model.path}: {problem}")
    return [Setting(size, protocol, model.precision) for size in sizes for protocol in wanted.protocols]


def measure_files(
    files: Sequence[tuple[ExportedModel, Sequence[Setting]]], seconds: float, threads: int
) -> Iterator[LatencyResult]:
    """The passes of each setting of each file, by onnxruntime on the CPU with so many threads, or in one line
    why there are none."""
    machine = Machine("cpu", cpu_name(), threads)
    for model, settings in files:
        for setting in settings:
            yield latency_result(setting, _measured(model, setting, seconds), machine, str(model.path))


def _measured(model: ExportedModel, setting: Setting, seconds: float) -> Timing | str:
    try:
        return time_passes(model.passes(setting.size, setting.protocol), seconds=seconds)
    except ExportedError as error:
        return str(error)
