"""Curves over epochs, hours or images: validation solid, training dashed, one colour an entry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
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
from engine.report.paired import by_seed
from engine.report.published import PUBLISHED, PublishedResult
from engine.report.tables import told_counts
from engine.store import EpochRow

if TYPE_CHECKING:
    from engine.report.compare import Comparison
    from engine.report.measures import ComparedRun

MEASURES = {
    "dice": "Dice",
    "dice_image": "Dice per image",
    "miou": "mIoU",
    "pixel_accuracy": "Pixel accuracy",
    "loss": "Loss",
}
"""What a curve can be of: field of an epoch's scores -> title of the axis."""

AGAINST = {
    "epochs": "Epoch",
    "hours": "Hours of training and validation",
    "images": "Training images seen",
    "kwh": "Energy of training and validation, kWh",
}
"""What a curve can be drawn against -> title of the axis."""

_TRAINING: dict[str, Any] = {"ls": (0, (3, 1.5)), "lw": 0.9}
"""How a curve of training scores is drawn."""


@dataclass(frozen=True)
class Curve:
    """One entry: the epochs of its run, or of each of its runs that are equal but for the seed. `seeds` has
    the seed of each run, where () says that no two are of one."""

    label: str
    runs: Sequence[Sequence[EpochRow]]
    seeds: Sequence[int] = ()

    @classmethod
    def of(cls, label: str, runs: Iterable[ComparedRun]) -> Curve:
        """The curve of runs that are equal but for the seed."""
        given = list(runs)
        return cls(label, [run.epochs for run in given], [run.row.seed for run in given])

    def points(self, split: str, measure: str, against: str = "epochs") -> list[tuple[float, list[float]]]:
        """(epoch, the value of each seed that has one, of several runs of a seed their mean), in the order of
        the epochs. Instead of the epoch what was used until its end, which differs from run to run: there, a
        run's value is on the line between those of two epochs."""
        lines = list(self._lines(split, measure, against))
        if against == "epochs" or len(lines) < 2:
            found = [(x, [(seed, line[x]) for seed, line in lines if x in line]) for x in _places(lines)]
        else:
            begin = max(min(line) for _, line in lines)  # from where on all have been scored
            found = [
                (x, [(seed, value) for seed, line in lines if (value := _between(line, x)) is not None])
                for x in _places(lines)
                if x >= begin
            ]
        return [(x, [*by_seed(values).values()]) for x, values in found]

    def _lines(self, split: str, measure: str, against: str) -> Iterator[tuple[int, dict[float, float]]]:
        """Seed and values of each run that has some, by what was used until then."""
        for seed, run in zip(self.seeds or range(len(self.runs)), self.runs, strict=True):
            used = _used(run, against)
            scored = [(used[row.epoch], getattr(row, measure)) for row in run if row.split == split]
            line = {x: value for x, value in sorted(scored) if value is not None}
            if line:
                yield seed, line

    def title(self, measure: str, against: str = "epochs") -> str:
        """The label, and of how many seeds the means are if not of all: "wide, 4 seeds (n=2 to 4)"."""
        return self.label + told_counts(
            (len(values) for split in ("val", "train") for _, values in self.points(split, measure, against)),
            len(set(self.seeds)) or len(self.runs),
        )


def entry_curves(comparison: Comparison, runs: Iterable[ComparedRun]) -> list[Curve]:
    """The curves of each entry of a comparison of `runs`."""
    by_id = {run.row.id: run for run in runs}
    return [Curve.of(entry.title, [by_id[run_id] for run_id in entry.ids]) for entry in comparison.entries]


def _places(lines: Iterable[tuple[int, dict[float, float]]]) -> list[float]:
    return sorted({x for _, line in lines for x in line})


def _between(line: dict[float, float], x: float) -> float | None:
    """The value of a line at x. One that ends holds for as long as its longest wait for a value was, as runs
    of one budget end at almost one time; None beyond."""
    xs = list(line)
    longest = max((later - before for before, later in pairwise(xs)), default=0.0)
    return float(np.interp(x, xs, list(line.values()))) if xs[0] <= x <= xs[-1] + longest else None


def _used(run: Sequence[EpochRow], against: str) -> dict[int, float]:
    """What a run has used by the end of each epoch."""
    if against == "epochs":
        return {row.epoch: row.epoch for row in run}
    used: dict[int, float] = {}
    total = 0.0
    for row in sorted(run, key=lambda row: (row.epoch, row.split != "train")):
        if against == "hours":
            total += (row.seconds or 0.0) / 3600
        elif against == "kwh":
            total += (row.joules or 0.0) / 3.6e6  # a curve with a gap is refused before it is drawn
        elif row.split == "train":
            total += (row.images_per_second or 0.0) * (row.seconds or 0.0)
        used[row.epoch] = total
    return used


def curves_figure(
    curves: Sequence[Curve],
    measure: str = "dice",
    columns: Columns = 1,
    published: Sequence[PublishedResult] = (),
    against: str = "epochs",
) -> Figure:
    """`measure` of validation and training over the epochs, or `against` another of AGAINST. Of several runs
    with other seeds the mean is drawn, of validation with a band of one standard deviation.

    Published results are hollow marks, of validation Dice over epochs. Raises FigureError where there is
    nothing to draw.
    """
    if against not in AGAINST:
        raise FigureError(
            f"--against {against}: is nothing to draw a curve against; it must be one of {', '.join(AGAINST)}"
        )
    if measure not in MEASURES:
        raise FigureError(f"{measure}: is nothing a curve can be of; it must be one of {', '.join(MEASURES)}")
    if against in ("hours", "images"):
        gaps = [c.label for c in curves if any(row.seconds is None for run in c.runs for row in run)]
        if gaps:
            raise FigureError(f"{', '.join(gaps)}: the time of epochs is not known; --against epochs works")
    if against == "kwh":
        gaps = [c.label for c in curves if any(row.joules is None for run in c.runs for row in run)]
        if gaps:
            raise FigureError(
                f"{', '.join(gaps)}: the energy of epochs was not measured; --against hours works"
            )
    if not any(curve.points("val", measure) or curve.points("train", measure) for curve in curves):
        raise FigureError(f"no epoch of these runs has a {MEASURES[measure]}; there is no curve to draw")
    with paper_style():
        figure = new_figure(columns, 2.2 if columns == 1 else 2.8)
        axes = figure.add_subplot()
        handles = [_draw(axes, curve, measure, against, place) for place, curve in enumerate(curves)]
        labels = [curve.title(measure, against) for curve in curves]
        if measure == "dice" and against == "epochs":
            for system, handle in _draw_published(axes, published):
                handles.append(handle)
                labels.append(f"{system} ({PUBLISHED})")
        handles += [Line2D([], [], color=FAINT), Line2D([], [], color=FAINT, **_TRAINING)]
        labels += ["validation", "training"]
        axes.set_xlabel(AGAINST[against])
        axes.set_ylabel(MEASURES[measure])
        axes.xaxis.set_major_locator(MaxNLocator(integer=against in ("epochs", "images"), nbins=7))
        axes.margins(x=0.02)
        axes.grid(axis="y")
        legend_above(axes, handles, labels)
    return figure


def _draw(axes: Axes, curve: Curve, measure: str, against: str, place: int) -> Line2D:
    """One entry's curves; returns what stands for it in the legend."""
    look: dict[str, Any] = {"color": color_of(place)}
    training = curve.points("train", measure, against)
    trained = [mean(values) for _, values in training]
    axes.plot([x for x, _ in training], trained, **look, **_TRAINING)
    scored = curve.points("val", measure, against)
    xs, means = [x for x, _ in scored], [mean(values) for _, values in scored]
    if any(len(values) > 1 for _, values in scored):
        spread = [stdev(values) if len(values) > 1 else 0.0 for _, values in scored]
        low = [middle - deviation for middle, deviation in zip(means, spread, strict=True)]
        high = [middle + deviation for middle, deviation in zip(means, spread, strict=True)]
        axes.fill_between(xs, low, high, **look, alpha=0.18, lw=0)
    alone: dict[str, Any] = {"marker": "o", "ms": 2.5} if len(xs) == 1 else {}
    axes.plot(xs, means, **look, ls=dashes_of(place), **alone)
    return Line2D([], [], **look, ls=dashes_of(place))


def _draw_published(axes: Axes, published: Sequence[PublishedResult]) -> Iterator[tuple[str, Line2D]]:
    """Hollow marks, one kind a system; yields each with what stands for it in the legend."""
    known = [(r.system, r.epochs, r.val_dice) for r in published if r.epochs and r.val_dice is not None]
    for place, system in enumerate(dict.fromkeys(system for system, _, _ in known)):
        look: dict[str, Any] = {"ls": "", "marker": "Ds^"[place % 3], "ms": 3.5, "mfc": "white", "mec": INK}
        points = [(epochs, dice) for name, epochs, dice in known if name == system]
        axes.plot([epochs for epochs, _ in points], [dice for _, dice in points], **look, mew=0.8)
        yield system, Line2D([], [], **look, mew=0.8)
