"""What runs scored, as curves for the chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Literal

from engine.store import EpochRow
from seg_tui.widgets.curves import Curve

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
        worked += row.seconds
        if row.split == split:
            x.append(worked if x_kind == "time" else row.epoch)
            value = getattr(row, field)
            y.append(None if value is None else value * scale)
    return Curve(name, color, tuple(x), tuple(y))


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
