"""Curves as arrays: what of them is in sight, and the dots that they make, the faint ones apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seg_tui.widgets.curves import Curve, Window
from seg_tui.widgets.raster import Floats, Raster


@dataclass(frozen=True)
class View:
    """What is in sight: x from `left` to `right`, y (a logarithm on a log scale) from `low` to `high`."""

    left: float
    right: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class _Line:
    position: int
    x: Floats
    y: Floats
    behind: bool


class Plot:
    """Curves ready to be drawn. `averages` are their moving averages, None where there is none."""

    def __init__(
        self, curves: Sequence[Curve], averages: Sequence[Sequence[float | None] | None], log_scale: bool
    ) -> None:
        self._lines: list[_Line] = []
        # The first curve is drawn last, so that it lies on top.
        for position, curve in reversed(list(enumerate(curves))):
            x, average = np.asarray(curve.x, dtype=float), averages[position]
            raw = _values(curve.y, log_scale)
            self._lines.append(_Line(position, x, raw, curve.behind or average is not None))
            if average is not None:
                self._lines.append(_Line(position, x, _values(average, log_scale), False))

    def view(self, window: Window) -> View | None:
        """All y that the window has, with some room; None when it has no value at all."""
        left, right = window
        seen = [line.y[(line.x >= left) & (line.x <= right)] for line in self._lines]
        values = np.concatenate([y[~np.isnan(y)] for y in seen]) if seen else np.empty(0)
        if not len(values):
            return None
        low, high = float(values.min()), float(values.max())
        room = 0.04 * (high - low) or 0.05 * abs(high) or 0.5
        return View(left, right, low - room, high + room)

    def rasters(self, view: View, columns: int, rows: int) -> tuple[Raster, Raster]:
        """The dots of `columns` x `rows` cells: those in front, and the faint ones behind."""
        front, behind = Raster(columns, rows), Raster(columns, rows)
        for line in self._lines:
            x = (line.x - view.left) / (view.right - view.left)
            y = (line.y - view.low) / (view.high - view.low)
            (behind if line.behind else front).line(x, y, line.position)
        return front, behind


def _values(line: Sequence[float | None], log_scale: bool) -> Floats:
    """The values, or their logarithms to base 10; NaN where there is none."""
    values = np.array(line, dtype=float)  # None becomes NaN
    values[~np.isfinite(values)] = np.nan
    if log_scale:
        values[~(values > 0)] = np.nan
        values = np.log10(values)
    return values
