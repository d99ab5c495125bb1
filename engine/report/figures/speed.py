"""Dice against frames a second, the Pareto front marked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from matplotlib.transforms import Bbox

from engine.report.figures.style import FAINT, INK, PALETTE, Columns, FigureError, new_figure, paper_style
from engine.report.speed import SpeedPlot, SpeedPoint

WIDE = 6.0
"""Where the fastest network is so many times as fast as the slowest, the axis is logarithmic."""

LONGEST_LABEL = 32
SIDES = (
    *((4, 0, "left", "center"), (-4, 0, "right", "center"), (0, 4, "center", "bottom")),
    *((0, -4, "center", "top"), (4, 4, "left", "bottom"), (4, -4, "left", "top")),
    *((-4, 4, "right", "bottom"), (-4, -4, "right", "top")),
)
"""Where a label may stand: its offset from the point in points, and its alignment; the best first."""
DISTANCES = (1.0, 2.5, 4.5)


def speed_figure(plot: SpeedPlot, columns: Columns = 1, measure: str = "Dice") -> Figure:
    """A point for each network, with its label; those of the Pareto front filled and joined by steps.

    Raises FigureError, which says what is missing, where there is no point.
    """
    if not plot.points:
        why = "; ".join(plot.notes) or "there are none"
        raise FigureError(f"no run has both a score and a measured latency; {why}")
    with paper_style():
        figure = new_figure(columns, 2.6 if columns == 1 else 3.6)
        axes = figure.add_subplot()
        front = sorted(plot.front, key=lambda point: point.frames_per_second)
        others = [point for point in plot.points if not point.on_front]
        axes.step(*_places(front), where="pre", color=PALETTE[0], lw=0.9, alpha=0.6)
        axes.plot(*_places(front), "o", color=PALETTE[0], ms=4.5)
        axes.plot(*_places(others), "o", color=FAINT, mfc="white", ms=4.5)
        _scale(axes, plot.points)
        axes.set_xlabel(f"Frames per second\n({plot.conditions})", fontsize=6)
        axes.set_ylabel(measure)
        axes.grid()
        _label(figure, axes, [*front, *others])
    return figure


def _places(points: Sequence[SpeedPoint]) -> tuple[list[float], list[float]]:
    return [point.frames_per_second for point in points], [point.dice for point in points]


def _scale(axes: Axes, points: Sequence[SpeedPoint]) -> None:
    speeds = [point.frames_per_second for point in points]
    if max(speeds) > WIDE * min(speeds):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.15, y=0.15)


def _label(figure: Figure, axes: Axes, points: Sequence[SpeedPoint]) -> None:
    """Put each label where it covers no point, no part of the front and no label before it; where there is no
    such place, where it covers least. One that stands apart from its point has a thin line to it."""
    figure.draw_without_rendering()  # settles the layout, by which points become pixels
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    dots = [axes.transData.transform((point.frames_per_second, point.dice)) for point in points]
    size = figure.dpi * 4.5 / 72
    taken = [Bbox.from_bounds(x - size / 2, y - size / 2, size, size) for x, y in dots]
    steps = [dot for dot, point in zip(dots, points, strict=True) if point.on_front]
    for (left, top), (right, bottom) in pairwise(steps):
        taken += [
            Bbox.from_extents(left - 1, bottom, left + 1, top),
            Bbox.from_extents(left, bottom - 1, right, bottom + 1),
        ]
    inside = axes.get_window_extent(renderer)
    for point in points:
        name = point.label if len(point.label) <= LONGEST_LABEL else point.label[: LONGEST_LABEL - 1] + "…"
        tried: list[tuple[float, int, Annotation]] = []
        for distance, side in product(DISTANCES, SIDES):
            note = _annotate(axes, point, name, distance, side)
            box = _text_box(note, renderer)
            covered = sum(_overlap(box, other) for other in taken) + _outside(box, inside)
            tried.append((covered, len(tried), note))
            if covered == 0:
                break
        *_, best = min(tried)
        for *_, note in tried:
            if note is not best:
                note.remove()
        taken.append(_text_box(best, renderer))


def _annotate(
    axes: Axes, point: SpeedPoint, name: str, distance: float, side: tuple[int, int, Any, Any]
) -> Annotation:
    x, y, across, up = side
    line = {"arrowstyle": "-", "lw": 0.4, "color": FAINT, "shrinkA": 0, "shrinkB": 2}
    note = axes.annotate(
        name,
        (point.frames_per_second, point.dice),
        (x * distance, y * distance),
        textcoords="offset points",
        ha=across,
        va=up,
        fontsize=6,
        color=INK if point.on_front else "#5c5c62",
        arrowprops=None if distance == DISTANCES[0] else line,
    )
    note.set_in_layout(False)
    return note


def _text_box(note: Annotation, renderer: RendererBase) -> Bbox:
    """The extent of its text alone, without the line."""
    note.update_positions(renderer)
    return Text.get_window_extent(note, renderer)


def _overlap(one: Bbox, other: Bbox) -> float:
    common = Bbox.intersection(one, other)
    return 0.0 if common is None else float(common.width * common.height)


def _outside(box: Bbox, inside: Bbox) -> float:
    return float(box.width * box.height) - _overlap(box, inside)
