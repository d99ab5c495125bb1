"""What runs scored, as curves for the chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

from seg_tui.palette import curve_color
from seg_tui.widgets.curves import Curve

if TYPE_CHECKING:
    from engine.run.telemetry import Sample
    from engine.store import EpochRow

XKind = Literal["epoch", "time"]


@dataclass(frozen=True)
class Score:
    """A field of an EpochRow that can be drawn, times `scale`, and the splits for which it says something."""

    field: str
    title: str
    splits: tuple[str, ...] = ("val", "train")
    scale: float = 1.0


SCORES = (
    Score("dice", "Dice"),
    Score("loss", "loss"),
    Score("miou", "mIoU"),
    Score("lr", "learning rate", ("train",)),
)


def epoch_curve(
    epochs: Sequence[EpochRow],
    split: str,
    field: str,
    x_kind: XKind,
    name: str,
    color: str,
    scale: float = 1.0,
) -> Curve:
    """A field of the epochs of one split, times `scale`, over the epochs, or over the seconds spent on
    training and scoring until then: the time between two attempts, in which nothing ran, is left out."""
    x: list[float] = []
    y: list[float | None] = []
    worked = 0.0
    for row in epochs_in_order(epochs):
        worked += row.seconds or 0.0
        if row.split == split:
            x.append(worked if x_kind == "time" else row.epoch)
            value = getattr(row, field)
            y.append(None if value is None else value * scale)
    return Curve(name, color, tuple(x), tuple(y))


@dataclass(frozen=True)
class Measure:
    """A number of a Sample, or of each of its GPUs, that can be drawn."""

    name: str
    title: str
    read: Callable[[Any], float | None]
    of_gpu: bool = False


MEASURES = (
    Measure("cores", "processor cores busy", lambda sample: sample.cores),
    Measure("memory", "memory, GiB", lambda sample: _gib(sample.memory)),
    Measure("utilisation", "GPU busy, %", lambda gpu: gpu.utilisation, of_gpu=True),
    Measure("watts", "GPU power, W", lambda gpu: gpu.watts, of_gpu=True),
    Measure("gpu-memory", "GPU memory, GiB", lambda gpu: _gib(gpu.memory_used), of_gpu=True),
    Measure("celsius", "GPU temperature, °C", lambda gpu: gpu.celsius, of_gpu=True),
)


def sample_curves(samples: Sequence[Sample], measure: Measure, palette: str) -> list[Curve]:
    """A measure over the seconds for which the run was at work, a curve for each GPU or one for its
    processes; none when no sample has it. Between two attempts there is a gap in a curve, and no time."""
    lines: dict[str, dict[float, float | None]] = {}
    worked, before = 0.0, None
    for sample in samples:
        if before is not None and before.attempt == sample.attempt:
            worked += max(0.0, sample.t - before.t)
        elif before is not None:
            worked += 1.0
            for line in lines.values():
                line[worked] = None
            worked += 1.0
        before = sample
        if not measure.of_gpu:
            lines.setdefault("worker", {})[worked] = measure.read(sample)
        for gpu in sample.gpus if measure.of_gpu else ():
            lines.setdefault(f"GPU {gpu.index}", {})[worked] = measure.read(gpu)
    return [
        Curve(name, curve_color(place, palette), tuple(line), tuple(line.values()))
        for place, (name, line) in enumerate(lines.items())
    ]


def _gib(count: int | None) -> float | None:
    return None if count is None else count / 2**30


def mean_curve(curves: Sequence[Curve], name: str, color: str) -> Curve:
    """The mean of curves over the epochs that all of them have."""
    common = sorted(set.intersection(*(set(curve.x) for curve in curves))) if curves else []
    values = [[curve.at(x) for curve in curves] for x in common]
    known = [[y for y in each if y is not None] for each in values]
    y = tuple(mean(each) if len(each) == len(curves) else None for each in known)
    return Curve(name, color, tuple(common), y)


def epochs_in_order(epochs: Sequence[EpochRow]) -> list[EpochRow]:
    """As they happened: an epoch trains before it is scored."""
    return sorted(epochs, key=lambda row: (row.epoch, row.split != "train"))
