"""Dice in each environment, beside that of the images that a run held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from engine.report.environments import told_apart
from engine.report.figures.curves import MEASURES
from engine.report.figures.style import Columns, FigureError, color_of, legend_above, new_figure, paper_style
from engine.store import EnvironmentRow
from engine.typed import typed

MARKERS = "osD^v<>Pp*Xh"


def environments_figure(
    runs: Sequence[tuple[str, Sequence[EnvironmentRow]]], columns: Columns = 1, measure: str = "dice"
) -> Figure:
    """A line for each environment, in it a point for each run, by its label. Whiskers are the 95 % interval
    of the difference to the run's own images; the dotted line is the score on those.

    Raises FigureError when there is nothing to draw.
    """
    found = told_apart([rows for _, rows in runs])
    names = list(dict.fromkeys(row.environment for rows in found for row in rows))
    if not names:
        raise FigureError(
            "no run was scored in other environments; "
            f"`{typed('generalise', 'RUN', '--data', 'DIR')}` does that"
        )
    lines = {name: place for place, name in enumerate(names)}
    spread = min(0.18, 0.7 / max(1, len(runs)))
    with paper_style():
        figure = new_figure(columns, 0.7 + 0.3 * len(names) * max(1.0, 0.22 * len(runs)))
        axes: Axes = figure.add_subplot()
        for place, rows in enumerate(found):
            shift = spread * (place - (len(runs) - 1) / 2)
            own = next((getattr(row, measure) for row in rows if row.kind == "own"), None)
            if own is not None:
                axes.axvline(own, color=color_of(place), ls=":", lw=0.8)
            for row in rows:
                value, y = getattr(row, measure), lines[row.environment] + shift
                if value is None:
                    continue
                low, high = (getattr(row, f"{measure}_{end}", None) for end in ("low", "high"))
                if own is not None and low is not None and high is not None:
                    axes.plot([own + low, own + high], [y, y], color=color_of(place), lw=1.0)
                filled = color_of(place) if row.kind != "data" else "white"
                look: dict[str, Any] = {
                    "color": color_of(place),
                    "marker": MARKERS[place % len(MARKERS)],
                    "ms": 3.5,
                }
                axes.plot([value], [y], ls="", markerfacecolor=filled, **look)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel(MEASURES[measure])
        axes.grid(axis="x")
        handles = [
            Line2D([], [], color=color_of(i), marker=MARKERS[i % len(MARKERS)], ms=3.5, ls="")
            for i in range(len(runs))
        ]
        if len(runs) > 1:
            legend_above(axes, handles, [label for label, _ in runs])
    return figure
