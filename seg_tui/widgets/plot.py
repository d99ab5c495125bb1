"""Curves as arrays: their moving averages, what of them is in sight, and the dots that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seg_tui.widgets.curves import Curve, Window
from seg_tui.widgets.raster import Floats, Raster

_GAP = 2.0
"""A gap between two values sets the farther one apart as an outlier where it is so many times as wide as all
that lies within. So a curve's steep beginning, whose values follow each other closely, is none."""
_LEAST_SHARE = 0.25
"""They are left out where the other values would get less than this share of the height."""
_FEWEST = 8
"""Of fewer values, nobody can say which are outliers."""
_BLOCK = 64
"""Values that are averaged at once."""


@dataclass(frozen=True)
class View:
    """What is in sight: x from `left` to `right`, y (a logarithm on a log scale) from `low` to `high`; and
    how many of the curves' points lie `above` and `below` that."""

    left: float
    right: float
    low: float
    high: float
    above: int = 0
    below: int = 0


@dataclass(frozen=True, eq=False)
class _Line:
    position: int
    x: Floats
    y: Floats
    behind: bool
    is_average: bool = False


class Plot:
    """Curves ready to be drawn, with the moving averages of those in front where `smoothing` is above 0."""

    def __init__(self, curves: Sequence[Curve], smoothing: float, log_scale: bool) -> None:
        self._log_scale = log_scale
        self._lines: list[_Line] = []
        self.averages: list[Floats | None] = [None] * len(curves)
        """The average of each curve that has one, NaN in its gaps."""
        # The first curve is drawn last, so that it lies on top.
        for position, curve in reversed(list(enumerate(curves))):
            x, raw = np.asarray(curve.x, dtype=float), np.array(curve.y, dtype=float)  # None becomes NaN
            raw[~np.isfinite(raw)] = np.nan
            average = smoothed(raw, smoothing) if smoothing and not curve.behind else None
            self.averages[position] = average
            self._lines.append(_Line(position, x, self._scaled(raw), curve.behind or average is not None))
            if average is not None:
                self._lines.append(_Line(position, x, self._scaled(average), False, is_average=True))

    def view(self, window: Window, clipped: bool) -> View | None:
        """The y that the window has, with some room; None when it has no value at all. Where it is `clipped`,
        outliers do not widen it."""
        left, right = window
        seen = [line.y[(line.x >= left) & (line.x <= right)] for line in self._lines if not line.is_average]
        values = np.concatenate(seen) if seen else np.empty(0)
        values = values[~np.isnan(values)]
        if not len(values):
            return None
        low, high = float(values.min()), float(values.max())
        if clipped and not self._log_scale:
            low, high = _without_outliers(values, low, high)
        above, below = int((values > high).sum()), int((values < low).sum())
        room = 0.04 * (high - low) or 0.05 * abs(high) or 0.5
        return View(left, right, low - room, high + room, above, below)

    def rasters(self, view: View, columns: int, rows: int) -> tuple[Raster, Raster]:
        """The dots of `columns` x `rows` cells: those in front, and the faint ones behind."""
        front, behind = Raster(columns, rows), Raster(columns, rows)
        for line in self._lines:
            x = (line.x - view.left) / (view.right - view.left)
            y = (line.y - view.low) / (view.high - view.low)
            (behind if line.behind else front).line(x, y, line.position)
        return front, behind

    def hidden(self, view: View, columns: int) -> list[tuple[int, bool, int]]:
        """Where points of a view are hidden: the column, whether above, and the position of the curve."""
        found = []
        for line in self._lines if view.above or view.below else ():
            inside = (line.x >= view.left) & (line.x <= view.right) & (not line.is_average)
            for is_above, out in ((True, line.y > view.high), (False, line.y < view.low)):
                share = (line.x[out & inside] - view.left) / (view.right - view.left)
                places = np.rint(share * (columns - 1)).astype(int)
                found += [(int(column), is_above, line.position) for column in np.unique(places)]
        return found

    def _scaled(self, values: Floats) -> Floats:
        """The values, or their logarithms to base 10; NaN where there is none."""
        if not self._log_scale:
            return values
        return np.log10(np.where(values > 0, values, np.nan))


def smoothed(values: Floats, weight: float) -> Floats:
    """The exponential moving average with `weight` in [0, 1) on the past, corrected for its start as in Adam
    (Kingma and Ba 2015, section 3), so that the first value is itself. NaN is a gap, and stays one."""
    known = ~np.isnan(values)
    there = values[known]
    # A block at once: each average is a weighted sum of the block's values and of the average before it.
    powers = weight ** np.arange(_BLOCK + 1)
    lags = np.subtract.outer(np.arange(_BLOCK), np.arange(_BLOCK))
    past = (1 - weight) * np.tril(powers[np.abs(lags)])
    sums, before = np.empty_like(there), 0.0
    for begin in range(0, len(there), _BLOCK):
        block = there[begin : begin + _BLOCK]
        count = len(block)
        sums[begin : begin + count] = past[:count, :count] @ block + powers[1 : count + 1] * before
        before = sums[begin + count - 1]
    averages = np.full(len(values), np.nan)
    averages[known] = sums / (1 - weight ** np.arange(1, len(there) + 1))
    return averages


def _without_outliers(values: Floats, low: float, high: float) -> tuple[float, float]:
    """The range of the values, which go from `low` to `high`, without outliers that would squash the others.
    Shares, such as scores, cannot go far astray: all of them are kept."""
    if len(values) < _FEWEST or (low >= 0 and high <= 1):
        return low, high
    ordered = np.sort(values)
    kept = -_last_near(-ordered[::-1]), _last_near(ordered)
    squashed = 0 < kept[1] - kept[0] < _LEAST_SHARE * (high - low)
    return kept if squashed else (low, high)


def _last_near(ordered: Floats) -> float:
    """Going up from the middle half of the values: the last one before a gap that sets the rest apart."""
    quarter = len(ordered) // 4
    outer = ordered[len(ordered) - quarter - 1 :]
    far = np.flatnonzero(np.diff(outer) > _GAP * (outer[:-1] - ordered[quarter]))
    return float(outer[far[0]] if len(far) else outer[-1])
