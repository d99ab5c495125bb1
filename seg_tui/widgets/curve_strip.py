"""A small plot of some curves in braille dots: two by four of them in each character, no numpy needed.

For a glance beside a table. A screen that is about curves takes the chart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from rich.text import Text
from textual.widget import Widget

from seg_tui.palette import curve_color

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille pattern by row and column (Unicode, block U+2800)."""

AXIS_CELLS = 7
"""Room for the numbers left of a plot: "0.1234" and a blank."""


@dataclass(frozen=True)
class Curve:
    """A named curve. `xs` rise; `ys` are finite."""

    name: str
    xs: tuple[int, ...]
    ys: tuple[float, ...]


class CurveStrip(Widget):
    """Curves over epochs under one title line, the newest value of each beside its name."""

    DEFAULT_CSS = """
    CurveStrip { height: 6; width: 1fr; }
    """

    def __init__(self, title: str, digits: int = 4, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title, self._digits = title, digits
        self._curves: tuple[Curve, ...] = ()
        self._palette = "okabe-ito"

    def show(self, curves: Sequence[Curve], palette: str) -> None:
        """Draw other curves; nothing is repainted when they are the same."""
        if (tuple(curves), palette) != (self._curves, self._palette):
            self._curves, self._palette = tuple(curves), palette
            self.refresh()

    def render(self) -> Text:
        width, height = self.size
        lines = [self._legend(width)]
        known = [curve for curve in self._curves if curve.xs]
        if known and height > 1:
            lines += self._plot(known, width, height - 1)
        elif height > 1:
            lines.append(Text("no epoch has ended yet", style="dim"))
        return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)

    def _legend(self, width: int) -> Text:
        line = Text(self._title, style="bold", no_wrap=True, overflow="ellipsis")
        for position, curve in enumerate(self._curves):
            if curve.ys:
                color = curve_color(position, self._palette)
                line.append(f"  {curve.name} {curve.ys[-1]:.{self._digits}f}", f"not bold {color}")
        last = max((curve.xs[-1] for curve in self._curves if curve.xs), default=0)
        where = f"epoch {last}"
        if last and line.cell_len + len(where) + 2 <= width:
            line.append(" " * (width - line.cell_len - len(where)) + where, "not bold dim")
        return line

    def _plot(self, curves: Sequence[Curve], width: int, height: int) -> list[Text]:
        low = min(min(curve.ys) for curve in curves)
        high = max(max(curve.ys) for curve in curves)
        rows = draw(curves, max(1, width - AXIS_CELLS), height, low, high)
        lines = []
        for row, drawn in enumerate(rows):
            label = f"{high:.{self._digits}f}" if row == 0 else ""
            label = f"{low:.{self._digits}f}" if row == height - 1 > 0 and high > low else label
            line = Text(f"{label:>{AXIS_CELLS - 1}} ", style="dim", no_wrap=True)
            for position, cells in groupby(drawn, key=lambda cell: cell[1]):
                style = "" if position < 0 else f"not dim {curve_color(position, self._palette)}"
                line.append("".join(sign for sign, _ in cells), style)
            lines.append(line)
        return lines


def draw(
    curves: Sequence[Curve], width: int, height: int, low: float, high: float
) -> list[list[tuple[str, int]]]:
    """The curves as `height` rows of `width` characters, each with the position of the curve that it shows
    (-1: none). Of many epochs in one column of dots their range is drawn, so no peak is lost."""
    columns, rows = 2 * width, 4 * height
    first = min(curve.xs[0] for curve in curves)
    span = max(max(curve.xs[-1] for curve in curves) - first, 1)
    scale = (rows - 1) / (high - low) if high > low else 0.0
    bits = [[0] * width for _ in range(height)]
    owner = [[-1] * width for _ in range(height)]
    for position, curve in reversed(list(enumerate(curves))):
        for x, top, bottom in _joined(_ranges(curve, first, span, columns, low, scale, rows)):
            for y in range(top, bottom + 1):
                bits[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
                owner[y // 4][x // 2] = position
    return [
        [(chr(0x2800 + dots) if dots else " ", position) for dots, position in zip(line, owners, strict=True)]
        for line, owners in zip(bits, owner, strict=True)
    ]


def _joined(ranges: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """The ranges with straight lines from each to the next, one column of dots after the other."""
    for (x, top, bottom), (next_x, next_top, next_bottom) in pairwise(ranges):
        yield x, top, bottom
        start, end = (top + bottom) / 2, (next_top + next_bottom) / 2
        slope = (end - start) / (next_x - x)
        for step in range(next_x - x):
            ends = sorted((start + slope * step, start + slope * (step + 1)))
            yield x + step, round(ends[0]), round(ends[1])
    yield from ranges[-1:]


def _ranges(
    curve: Curve, first: int, span: int, columns: int, low: float, scale: float, rows: int
) -> list[tuple[int, int, int]]:
    """Column of dots, highest and lowest row of dots for each column that the curve has a value in."""
    ranges: dict[int, tuple[int, int]] = {}
    for x, y in zip(curve.xs, curve.ys, strict=True):
        column = round((x - first) * (columns - 1) / span)
        row = rows - 1 - math.floor((y - low) * scale + 0.5) if scale else rows // 2
        top, bottom = ranges.get(column, (row, row))
        ranges[column] = min(top, row), max(bottom, row)
    return [(column, top, bottom) for column, (top, bottom) in ranges.items()]
