"""Dice against frames a second as text: a letter for each run, the Pareto front as a line of braille."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.text import Text

from engine.report.speed import SpeedPlot, SpeedPoint, speed_table
from engine.typed import typed
from seg_tui.widgets.curves import log_ticks, tick_labels, ticks
from seg_tui.widgets.text_pane import hint

ROWS, LEAST_WIDTH = 10, 40
WIDE = 6.0
"""Where the fastest network is so many times as fast as the slowest, the axis is logarithmic."""
MARGIN = 6
"""Cells of the labels at the left."""


def not_measured(width: int) -> Text:
    """What to say where the latency of no run is known, in lines of `width` cells."""
    command = typed("bench", "RUN", "--latency")
    return hint(f"no latency measured yet; `{command}` measures that of a run", width)


def speed_text(plot: SpeedPlot | None, styles: Mapping[str, str], width: int) -> Text:
    """The drawing, and the table below it; `styles` are the Rich styles of the entries' letters, with which
    the labels of the points begin."""
    if plot is None:
        return not_measured(width)
    table = speed_table(plot, width)
    if not plot.points or width < LEAST_WIDTH:
        return table
    return Text("\n", no_wrap=True).join([_drawing(plot.points, styles, width), table])


def _drawing(points: Sequence[SpeedPoint], styles: Mapping[str, str], width: int) -> Text:
    from seg_tui.widgets.raster import ACROSS, DOWN  # with NumPy, which takes a moment

    columns = width - MARGIN - 1
    x_scale = _Scale([point.frames_per_second for point in points], can_be_wide=True)
    y_scale = _Scale([point.dice for point in points])
    cells = _front(points, x_scale, y_scale, columns)
    for point in reversed(points):
        # The cell of the point's dot, so that a letter covers the corner of the front.
        row = round((1 - y_scale.share(point.dice)) * (DOWN * ROWS - 1)) // DOWN
        column = round(x_scale.share(point.frames_per_second) * (ACROSS * columns - 1)) // ACROSS
        while column < columns - 1 and cells[row][column][0].isalpha():
            column += 1  # two letters at one place stand side by side
        letter = point.label[:1]
        style = styles.get(letter, "bold")
        cells[row][column] = letter, f"{style} reverse" if point.on_front else style
    at_row = {round((1 - share) * (ROWS - 1)): told for share, told in y_scale.ticks(4)}
    lines = [Text.assemble(("Dice", "dim"), f"{'frames/s →':>{max(0, width - 4)}}")]
    for row, line in enumerate(cells):
        axis = f"{at_row.get(row, ''):>{MARGIN}}{'┤' if row in at_row else '│'}"
        lines.append(Text.assemble((axis, "dim"), *line))
    lines.append(Text(_x_axis(x_scale, columns), "dim"))
    return Text("\n", no_wrap=True).join(lines)


def _front(
    points: Sequence[SpeedPoint], x_scale: _Scale, y_scale: _Scale, columns: int
) -> list[list[tuple[str, str]]]:
    """Cells with the steps from each network of the front to the next: what can be had at least."""
    import numpy as np

    from seg_tui.widgets.raster import Raster

    front = sorted((point for point in points if point.on_front), key=lambda point: point.frames_per_second)
    x: list[float] = []
    y: list[float] = []
    for point in front:
        across, up = x_scale.share(point.frames_per_second), y_scale.share(point.dice)
        if x:
            x.append(x[-1])
            y.append(up)
        x.append(across)
        y.append(up)
    raster = Raster(columns, ROWS)
    raster.line(np.array(x), np.array(y), 0)
    return [[(character, "dim") for character in row] for row in raster.characters()]


def _x_axis(scale: _Scale, columns: int) -> str:
    """Values below the plot, as many as there is room for."""
    line = [" "] * (MARGIN + 1 + columns)
    for share, told in scale.ticks(columns // 9):
        begin = MARGIN + 1 + round(share * (columns - 1)) - len(told) // 2
        begin = min(begin, len(line) - len(told))
        line[begin : begin + len(told)] = told
    return "".join(line)


class _Scale:
    """From values to shares of an axis that goes a little beyond them; where `can_be_wide`, logarithmic if
    they are far apart."""

    def __init__(self, values: Sequence[float], can_be_wide: bool = False) -> None:
        self.is_log = can_be_wide and max(values) > WIDE * min(values) > 0
        low, high = self._in(min(values)), self._in(max(values))
        room = 0.06 * (high - low) or 0.05 * (abs(high) or 1.0)
        self.low, self.high = low - room, high + room

    def share(self, value: float) -> float:
        return (self._in(value) - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Round values with their shares of the axis."""
        found = (log_ticks if self.is_log else ticks)(self.low, self.high, most)
        told = [f"{10**tick:.3g}" for tick in found] if self.is_log else tick_labels(found)
        return [
            ((tick - self.low) / (self.high - self.low), text) for tick, text in zip(found, told, strict=True)
        ]

    def _in(self, value: float) -> float:
        return math.log10(value) if self.is_log else value
