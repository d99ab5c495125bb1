"""An explanation as drawings: the score against one key, and all configs over parallel axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from engine.report.explain import Explanation, Factor, Setting
from seg_tui.explain.axes import KeyAxis, score_range
from seg_tui.widgets.column_widths import shorten
from seg_tui.widgets.curves import place_labels, tick_labels, ticks
from seg_tui.widgets.painting import Canvas
from seg_tui.widgets.raster import ACROSS, DOWN, Raster

_POINT, _MEAN, _BEST = "●", "━", "★"
_LEAST_ROWS, _LEAST_COLUMNS = 4, 16
_CELLS_OF_AXIS = 18
"""What an axis among parallel ones takes at least."""


@dataclass(frozen=True)
class ExplainInks:
    """The styles of the parts; `worst`, `middle` and `best` are those of the thirds of the configs."""

    ground: Style
    axis: Style
    label: Style
    point: Style
    spread: Style
    mean: Style
    worst: Style
    middle: Style
    best: Style


def scatter(
    explanation: Explanation, factor: Factor, width: int, height: int, inks: ExplainInks
) -> list[Strip]:
    """A point for each config at its value of a key, a star for the best one, a number where several share a
    cell, and one standard deviation of its seeds; the mean of each value."""
    rows = height - 2
    low, high = score_range(explanation.settings)
    found = ticks(low, high, max(2, rows // 3))
    labels = tick_labels(found)
    margin = max(map(len, labels))
    columns = width - margin - 1
    if rows < _LEAST_ROWS or columns < _LEAST_COLUMNS:
        return [Strip.blank(width, inks.ground)] * height
    axis = KeyAxis(factor)
    having = [
        (x, setting)
        for setting in explanation.settings
        if (x := axis.share(setting.values[factor.key])) is not None
    ]
    canvas = Canvas(columns, rows, inks.ground)
    at_row = {
        round((high - tick) / (high - low) * (rows - 1)): text
        for tick, text in zip(found, labels, strict=True)
    }
    for row in at_row:
        canvas.row(row, "┈", inks.axis)
    _put_means(canvas, axis, (low, high), inks)
    _put_spreads(canvas, having, (low, high), inks)
    _put_points(canvas, having, axis, (low, high), inks, explanation.settings[0])
    return [*_beside_axis(canvas, at_row, margin, inks), *_x_axis(axis, width, margin, columns, inks)]


def _put_means(canvas: Canvas, axis: KeyAxis, ends: tuple[float, float], inks: ExplainInks) -> None:
    """A line from mean to mean of a number's values, a dash at each word."""
    rows, columns = canvas.codes.shape
    means = [_y(level.score.mean, ends) for level in axis.factor.levels]
    middles = [axis.middle(place) for place in range(len(means))]
    if axis.words:
        half = max(1, min(4, columns // (3 * len(means))))
        for x, y in zip(middles, means, strict=True):
            row, middle = _cell(x, y, rows, columns)
            for column in range(max(0, middle - half), min(columns, middle + half + 1)):
                canvas.cell(row, column, _MEAN, inks.mean)
        return
    raster = Raster(columns, rows)
    raster.line(np.array(middles), np.array(means), 0)
    canvas.dots(raster, [inks.mean], inks.mean)


def _put_spreads(
    canvas: Canvas, having: Sequence[tuple[float, Setting]], ends: tuple[float, float], inks: ExplainInks
) -> None:
    rows, columns = canvas.codes.shape
    raster = Raster(columns, rows)
    x: list[float] = []
    y: list[float] = []
    for share, setting in sorted(having, key=lambda pair: pair[0]):
        if setting.score.sd:
            x += [share] * 3
            y += [_y(setting.score.mean + sign * setting.score.sd, ends) for sign in (-1, 1)] + [math.nan]
    if x:
        raster.line(np.array(x), np.array(y), 0)
        canvas.dots(raster, [inks.spread], inks.spread)


def _put_points(
    canvas: Canvas,
    having: Sequence[tuple[float, Setting]],
    axis: KeyAxis,
    ends: tuple[float, float],
    inks: ExplainInks,
    best: Setting,
) -> None:
    """Among words, points of one row stand side by side, as far as their strip goes."""
    rows, columns = canvas.codes.shape
    reach = columns // (2 * len(axis.words)) - 1 if axis.words else 0
    there: dict[tuple[int, int], int] = {}
    star = None
    for share, setting in having:
        row, middle = _cell(share, _y(setting.score.mean, ends), rows, columns)
        aside = (side * step for step in range(reach + 1) for side in ((1, -1) if step else (1,)))
        free = (middle + by for by in aside if 0 <= middle + by < columns and (row, middle + by) not in there)
        place = row, next(free, middle)
        there[place] = there.get(place, 0) + 1
        star = place if setting is best else star
    for (row, column), count in there.items():
        mark = _BEST if (row, column) == star else _POINT if count == 1 else str(count) if count < 10 else "+"
        canvas.cell(row, column, mark, inks.best if (row, column) == star else inks.point)


def _y(score: float, ends: tuple[float, float]) -> float:
    return (score - ends[0]) / (ends[1] - ends[0])


def _cell(x: float, y: float, rows: int, columns: int) -> tuple[int, int]:
    """The cell of the dot that a line would have there."""
    return round((1 - y) * (DOWN * rows - 1)) // DOWN, round(x * (ACROSS * columns - 1)) // ACROSS


def _beside_axis(canvas: Canvas, at_row: dict[int, str], margin: int, inks: ExplainInks) -> list[Strip]:
    ground = inks.ground
    return [
        Strip(
            [
                Segment(at_row.get(row, "").rjust(margin), ground + inks.label),
                Segment("┤" if row in at_row else "│", ground + inks.axis),
                *segments,
            ]
        )
        for row, segments in enumerate(canvas.segments())
    ]


def _x_axis(axis: KeyAxis, width: int, margin: int, columns: int, inks: ExplainInks) -> list[Strip]:
    found = axis.ticks(max(2, columns // 10))
    room = columns // max(1, len(axis.words)) - 1 if axis.words else columns
    places = [margin + 1 + round(share * (columns - 1)) for share, _ in found]
    below, placed = place_labels(places, [shorten(text, max(3, room)) for _, text in found], width)
    rule = "".join("┬" if margin + 1 + column in placed else "─" for column in range(columns))
    ground = inks.ground
    return [
        Strip([Segment(" " * margin, ground), Segment("└" + rule, ground + inks.axis)]),
        Strip([Segment(below, ground + inks.label)]),
    ]


def parallel(explanation: Explanation, width: int, height: int, inks: ExplainInks) -> list[Strip]:
    """Each config as a line over an axis for each key, the most important first, and the score; the best
    third of them lies on top."""
    rows, most = height - 1, max(1, width // _CELLS_OF_AXIS - 1)
    if rows < _LEAST_ROWS or width < 2 * _CELLS_OF_AXIS:
        return [Strip.blank(width, inks.ground)] * height
    axes = [KeyAxis(factor) for factor in explanation.factors[:most]]
    low, high = score_range(explanation.settings)
    step = (width - _CELLS_OF_AXIS + 6) / len(axes)
    at = [round(place * step) for place in range(len(axes) + 1)]
    canvas = Canvas(width, rows, inks.ground)
    for column in at:
        canvas.column(column, "│", inks.axis)
    third = max(1, math.ceil(len(explanation.settings) / 3))
    parts = [explanation.settings[begin : begin + third] for begin in (2 * third, third, 0)]
    for settings, style in zip(parts, (inks.worst, inks.middle, inks.best), strict=True):
        raster = Raster(width, rows)
        for mark, setting in enumerate(settings):
            shares = [axis.share(setting.values[axis.factor.key]) for axis in axes]
            shares.append(_y(setting.score.mean, (low, high)))
            known = [(x / (width - 1), y) for x, y in zip(at, shares, strict=True) if y is not None]
            raster.line(np.array([x for x, _ in known]), np.array([y for _, y in known]), mark)
        canvas.dots(raster, [style] * max(1, len(settings)), style)
    for column, axis in zip(at, axes, strict=False):
        for share, text in axis.ticks(max(2, rows // 4)):
            _write(
                canvas, round((1 - share) * (rows - 1)), column, shorten(text, round(step) - 2), inks.label
            )
    found = ticks(low, high, max(2, rows // 4))
    for tick, text in zip(found, tick_labels(found), strict=True):
        _write(canvas, round((1 - _y(tick, (low, high))) * (rows - 1)), at[-1], text, inks.label)
    names = [shorten(axis.factor.key, round(step) - 1) for axis in axes] + [explanation.metric.title]
    below = "".join(
        name.ljust(after - here) for name, here, after in zip(names, at, [*at[1:], width], strict=True)
    )
    strips = [Strip(segments) for segments in canvas.segments()]
    return [*strips, Strip([Segment(below[:width].ljust(width), inks.ground + inks.label)])]


def _write(canvas: Canvas, row: int, column: int, text: str, style: Style) -> None:
    """Text at the right of an axis, over what is drawn."""
    canvas.cell(row, column, "├", style)
    for place, character in enumerate(text, column + 1):
        if place < canvas.codes.shape[1]:
            canvas.cell(row, place, character, style)
