"""Curves over the epochs: validation solid, training dashed, one colour an entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from engine.report.figures.style import (
    FAINT,
    INK,
    Columns,
    FigureError,
    color_of,
    dashes_of,
    legend_above,
    new_figure,
    paper_style,
)
from engine.report.published import PUBLISHED, PublishedResult
from engine.report.tables import told_counts
from engine.store import EpochRow

MEASURES = {
    "dice": "Dice",
    "dice_image": "Dice per image",
    "miou": "mIoU",
    "pixel_accuracy": "Pixel accuracy",
    "loss": "Loss",
}
"""What a curve can be of: field of an epoch's scores -> title of the axis."""

_TRAINING: dict[str, Any] = {"ls": (0, (3, 1.5)), "lw": 0.9}
"""How a curve of training scores is drawn."""


@dataclass(frozen=True)
class Curve:
    """One entry: the epochs of its run, or of each of its runs that are equal but for the seed."""

    label: str
    runs: Sequence[Sequence[EpochRow]]

    def points(self, split: str, measure: str) -> list[tuple[int, list[float]]]:
        """(epoch, the value of each run that has one), in the order of the epochs."""
        found: dict[int, list[float]] = {}
        for row in (row for epochs in self.runs for row in epochs if row.split == split):
            value = getattr(row, measure)
            if value is not None:
                found.setdefault(row.epoch, []).append(value)
        return sorted(found.items())

    def title(self, measure: str) -> str:
        """The label, and of how many runs the means are where that is not all: "wide, 4 seeds (n=2 to 4)"."""
        return self.label + told_counts(
            (len(values) for split in ("val", "train") for _, values in self.points(split, measure)),
            len(self.runs),
        )


def curves_figure(
    curves: Sequence[Curve],
    measure: str = "dice",
    columns: Columns = 1,
    published: Sequence[PublishedResult] = (),
) -> Figure:
    """`measure` of validation and training over the epochs. Of several runs with other seeds the mean is
    drawn, of validation with a band of one standard deviation.

    Published results are hollow marks, of validation Dice. Raises FigureError where there is nothing to draw.
    """
    if measure not in MEASURES:
        raise FigureError(f"{measure}: is nothing a curve can be of; it must be one of {', '.join(MEASURES)}")
    if not any(curve.points("val", measure) or curve.points("train", measure) for curve in curves):
        raise FigureError(f"no epoch of these runs has a {MEASURES[measure]}; there is no curve to draw")
    with paper_style():
        figure = new_figure(columns, 2.2 if columns == 1 else 2.8)
        axes = figure.add_subplot()
        handles = [_draw(axes, curve, measure, place) for place, curve in enumerate(curves)]
        labels = [curve.title(measure) for curve in curves]
        if measure == "dice":
            for system, handle in _draw_published(axes, published):
                handles.append(handle)
                labels.append(f"{system} ({PUBLISHED})")
        handles += [Line2D([], [], color=FAINT), Line2D([], [], color=FAINT, **_TRAINING)]
        labels += ["validation", "training"]
        axes.set_xlabel("Epoch")
        axes.set_ylabel(MEASURES[measure])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axes.margins(x=0.02)
        axes.grid(axis="y")
        legend_above(axes, handles, labels)
    return figure


def _draw(axes: Axes, curve: Curve, measure: str, place: int) -> Line2D:
    """One entry's curves; returns what stands for it in the legend."""
    look: dict[str, Any] = {"color": color_of(place)}
    training = curve.points("train", measure)
    trained = [mean(values) for _, values in training]
    axes.plot([epoch for epoch, _ in training], trained, **look, **_TRAINING)
    scored = curve.points("val", measure)
    epochs, means = [epoch for epoch, _ in scored], [mean(values) for _, values in scored]
    if any(len(values) > 1 for _, values in scored):
        spread = [stdev(values) if len(values) > 1 else 0.0 for _, values in scored]
        low = [middle - deviation for middle, deviation in zip(means, spread, strict=True)]
        high = [middle + deviation for middle, deviation in zip(means, spread, strict=True)]
        axes.fill_between(epochs, low, high, **look, alpha=0.18, lw=0)
    alone: dict[str, Any] = {"marker": "o", "ms": 2.5} if len(epochs) == 1 else {}
    axes.plot(epochs, means, **look, ls=dashes_of(place), **alone)
    return Line2D([], [], **look, ls=dashes_of(place))


def _draw_published(axes: Axes, published: Sequence[PublishedResult]) -> Iterator[tuple[str, Line2D]]:
    """Hollow marks, one kind a system; yields each with what stands for it in the legend."""
    known = [(r.system, r.epochs, r.val_dice) for r in published if r.epochs and r.val_dice is not None]
    for place, system in enumerate(dict.fromkeys(system for system, _, _ in known)):
        look: dict[str, Any] = {"ls": "", "marker": "Ds^"[place % 3], "ms": 3.5, "mfc": "white", "mec": INK}
        points = [(epochs, dice) for name, epochs, dice in known if name == system]
        axes.plot([epochs for epochs, _ in points], [dice for _, dice in points], **look, mew=0.8)
        yield system, Line2D([], [], **look, mew=0.8)
