"""Dice by class as bars, the best learned class first."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from engine.report.compare import ClassRow, Comparison, Entry
from engine.report.figures.style import (
    FAINT,
    INK,
    Columns,
    FigureError,
    color_of,
    legend_above,
    new_figure,
    paper_style,
)
from engine.report.measures import Value
from engine.report.tables import told_counts

MOST_ENTRIES = 6

_BAR, _GAP = 0.095, 0.07
"""Breadth of a bar and of the gap between two classes, in inches, where the bars lie."""


def classes_figure(comparison: Comparison, columns: Columns = 1) -> Figure:
    """A group of bars for each class, one bar an entry, with the deviation over seeds where there are
    several, and the colour of the class beside its name. Bars lie in one column and stand over two.

    Raises FigureError where there is nothing to draw.
    """
    entries = comparison.entries
    if len(entries) > MOST_ENTRIES:
        raise FigureError(f"{len(entries)} entries are too many for bars; at most {MOST_ENTRIES}")
    if not comparison.classes:
        raise FigureError("these runs have no scores by class; there are no bars to draw")
    rows = sorted(comparison.classes, key=_mean_over_entries, reverse=True)
    breadth = 1 / (len(entries) + _GAP / _BAR)
    with paper_style():
        height = (len(entries) * _BAR + _GAP) * len(rows) + 0.6 if columns == 1 else 2.4
        figure = new_figure(columns, height)
        axes = figure.add_subplot()
        bars = []
        for place in range(len(entries)):
            values = [row.dice[place] for row in rows]
            middles = [i + (place - (len(entries) - 1) / 2) * breadth for i in range(len(rows))]
            bars.append(_draw(axes, middles, values, breadth * 0.92, place, lying=columns == 1))
        _name_classes(axes, rows, lying=columns == 1)
        if len(entries) > 1 or len(entries[0].rows) > 1:
            legend_above(axes, bars, [_title(entry, rows, place) for place, entry in enumerate(entries)])
    return figure


def _title(entry: Entry, rows: Sequence[ClassRow], place: int) -> str:
    """What the legend calls an entry: with the number of runs that its bars are of where that is not all."""
    values = (row.dice[place] for row in rows)
    return entry.title + told_counts((value.n for value in values if value is not None), entry.seeds)


def _draw(
    axes: Axes,
    middles: Sequence[float],
    values: Sequence[Value | None],
    breadth: float,
    place: int,
    lying: bool,
) -> Patch:
    """One entry's bars; returns what stands for them in the legend."""
    lengths = [value.mean if value else 0.0 for value in values]
    deviations = [value.sd if value and value.sd is not None else 0.0 for value in values]
    spread = deviations if any(deviations) else None
    look: dict[str, Any] = {"color": color_of(place), "error_kw": {"elinewidth": 0.6, "ecolor": INK}}
    if lying:
        axes.barh(middles, lengths, breadth, xerr=spread, **look)
    else:
        axes.bar(middles, lengths, breadth, yerr=spread, **look)
    none: dict[str, Any] = {"ha": "left", "va": "center"} if lying else {"ha": "center", "va": "bottom"}
    for middle, value in zip(middles, values, strict=True):
        if value is None:
            axes.text(*((0.008, middle) if lying else (middle, 0.008)), "–", color=FAINT, **none)
    return Patch(color=color_of(place))


def _name_classes(axes: Axes, rows: Sequence[ClassRow], lying: bool) -> None:
    """The names of the classes with their colours along one axis, Dice from 0 to 1 along the other."""
    names = [row.name for row in rows]
    along, across = (axes.yaxis, axes.xaxis) if lying else (axes.xaxis, axes.yaxis)
    along.set_ticks(range(len(rows)), names)
    along.set_tick_params(length=0, pad=10)
    across.grid(True)
    beside = axes.get_yaxis_transform() if lying else axes.get_xaxis_transform()
    figure = axes.get_figure(root=True)
    assert figure is not None
    away = (-6 / 72, 0.0) if lying else (0.0, -6 / 72)
    beside = beside + ScaledTranslation(*away, figure.dpi_scale_trans)
    for i, row in enumerate(rows):
        spot = (0, i) if lying else (i, 0)
        look: dict[str, Any] = {"ms": 4.5, "mfc": row.color or "white", "mec": FAINT, "mew": 0.3}
        axes.plot(*spot, "s", **look, transform=beside, clip_on=False)
    if lying:
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 1), xlabel="Dice")
        axes.spines["left"].set_visible(False)
    else:
        axes.set(xlim=(-0.5, len(rows) - 0.5), ylim=(0, 1), ylabel="Dice")
        axes.spines["bottom"].set_visible(False)
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")


def _mean_over_entries(row: ClassRow) -> float:
    """A class without a score comes last."""
    known = [value.mean for value in row.dice if value is not None]
    return mean(known) if known else -1.0
