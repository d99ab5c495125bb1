"""Dice against the strength of each corruption, and against the share of images that are accepted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engine.report.detection import corruptions_of
from engine.report.figures.curves import MEASURES
from engine.report.figures.style import (
    Columns,
    FigureError,
    color_of,
    dashes_of,
    legend_above,
    new_figure,
    paper_style,
)
from engine.store import CorruptionRow, OodRow
from engine.typed import typed


def robustness_figure(
    runs: Sequence[tuple[str, Sequence[CorruptionRow]]], columns: Columns = 2, measure: str = "dice"
) -> Figure:
    """A panel for each corruption, a line for each run, by its label; strength 0 is the images as they are.

    Raises FigureError when there is nothing to draw.
    """
    kinds = list(dict.fromkeys(kind for _, rows in runs for kind in corruptions_of(rows)))
    if not kinds:
        raise FigureError(f"no run was scored on corrupted images; `{typed('robustness', 'RUN')}` does that")
    across = 3 if columns == 2 else 2
    down = math.ceil(len(kinds) / across)
    with paper_style():
        figure = new_figure(columns, 0.4 + 1.45 * down)
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel().tolist()
        for panel, kind in zip(panels, kinds, strict=False):
            for place, (_, rows) in enumerate(runs):
                points = [
                    (row.strength, getattr(row, measure))
                    for row in rows
                    if row.corruption == kind or row.strength == 0
                ]
                known = [(strength, value) for strength, value in sorted(points) if value is not None]
                look = {"color": color_of(place), "ls": dashes_of(place), "marker": "o", "ms": 2.0}
                panel.plot([s for s, _ in known], [v for _, v in known], **look)
            panel.set_title(kind, fontsize=7, pad=3)
            panel.grid(axis="y")
            panel.set_ylim(bottom=0)
        for panel in panels[len(kinds) :]:
            panel.set_axis_off()
        for panel in panels[::across]:
            panel.set_ylabel(MEASURES[measure])
        for panel in panels[max(0, len(kinds) - across) : len(kinds)]:
            panel.set_xlabel("Strength")
            panel.set_xticks(range(6))
            panel.tick_params(labelbottom=True)
        handles = [Line2D([], [], color=color_of(i), ls=dashes_of(i)) for i in range(len(runs))]
        if len(runs) > 1:
            figure.legend(handles, [label for label, _ in runs], loc="outside upper center", ncols=4)
    return figure


def coverage_figure(rows: Sequence[OodRow], columns: Columns = 1) -> Figure:
    """Mean Dice of the images that are accepted against their share: a line for each score.

    Raises FigureError without any such curve.
    """
    curves = [row for row in rows if row.risk_coverage]
    if not curves:
        raise FigureError("no image that was judged has labels, so there is no Dice of what is accepted")
    with paper_style():
        figure = new_figure(columns, 2.2 if columns == 1 else 2.8)
        axes: Axes = figure.add_subplot()
        for place, row in enumerate(curves):
            look: dict[str, Any] = {"color": color_of(place), "ls": dashes_of(place)}
            coverage, dice = zip(*row.risk_coverage, strict=True)
            axes.plot(coverage, dice, **look)
        handles = [Line2D([], [], color=color_of(i), ls=dashes_of(i)) for i in range(len(curves))]
        axes.set_xlabel("Share of images accepted")
        axes.set_ylabel("Mean Dice of those")
        axes.margins(x=0.02)
        axes.grid(axis="y")
        legend_above(axes, handles, [row.score for row in curves])
    return figure
