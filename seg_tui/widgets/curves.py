"""Curves as values: what a chart shows, how it is smoothed, where its axes have ticks."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from engine.report.tables import duration


@dataclass(frozen=True)
class Curve:
    """A named line. `x` rises; `y` has as many values, None (or NaN) where there is none: the line then has
    a gap. `color` is "#rrggbb"; the chart shades it until it can be told from the background. One that stands
    `behind` is drawn faint, as it is, and not named."""

    name: str
    color: str
    x: Sequence[float]
    y: Sequence[float | None]
    behind: bool = False

    def at(self, x: float) -> float | None:
        """The value at the point whose x is exactly that, None without one."""
        place = bisect_left(self.x, x)
        known = place < len(self.x) and self.x[place] == x
        return finite(self.y[place]) if known else None

    def last(self) -> float | None:
        """The last value that is one."""
        return next((y for y in map(finite, reversed(self.y)) if y is not None), None)


Window = tuple[float, float]
"""x from left to right."""


def points(curves: Iterable[Curve]) -> list[float]:
    """The x of every point of any curve, rising."""
    return sorted({x for curve in curves for x in curve.x})


def extent(curves: Sequence[Curve]) -> Window:
    """From the first to the last x, never of no width."""
    ends = [(curve.x[0], curve.x[-1]) for curve in curves if len(curve.x)]
    left, right = min((a for a, _ in ends), default=0.0), max((b for _, b in ends), default=1.0)
    return (left, right) if right > left else (left - 0.5, right + 0.5)


def moved_into(window: Window, whole: Window) -> Window | None:
    """The window moved to where there is something; None when it would hold everything."""
    width = window[1] - window[0]
    if width >= whole[1] - whole[0]:
        return None
    left = max(whole[0], min(window[0], whole[1] - width))
    return left, left + width


def zoomed(window: Window, around: float, factor: float) -> Window:
    """The window `factor` times as wide, with `around` where it was."""
    left, right = window
    return around - (around - left) * factor, around + (right - around) * factor


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


# ---------------------------------------------------------------------- axes


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) from `low` to `high`: at most `most`, but two at
    least where that is 2 or more."""
    if not high > low or most < 1:
        return [low]
    step = _round_step((high - low) / most, (1, 2, 5, 10))
    found = _multiples(low, high, step)
    # Where no or one round value lies within, two less round ones do.
    while len(found) < min(2, most) and step > 0:
        step = _round_step(step / 2.5, (1, 2, 5, 10))
        found = _multiples(low, high, step)
    return found if len(found) <= most else [found[0], found[-1]][-most:]


def whole_ticks(low: float, high: float, most: int) -> list[float]:
    """Round whole numbers, such as epochs, and the last one that is not above `high`."""
    last = float(math.floor(high + 1e-9))
    if not high > low or most < 1:
        return [last]
    step = max(1.0, _round_step((high - low) / most, (1, 2, 5, 10)))
    return sorted({*_multiples(low, high, step), last} if last >= low else _multiples(low, high, step))


_CLOCK = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def time_ticks(low: float, high: float, most: int) -> list[float]:
    """Seconds that are apart by what a clock counts in, and `high`."""
    if not high > low or most < 1:
        return [high]
    least = (high - low) / most
    days = 86400 * _round_step(least / 86400, (1, 2, 5, 10))
    step = next((float(s) for s in _CLOCK if s >= least), days)
    return sorted({*_multiples(low, high, step), high})


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` values between 10**low and 10**high, as exponents: powers of ten, 1, 2 and 5 times them
    where few powers lie in between, or round values a step apart where there is hardly one of those; two at
    least where `most` is 2 or more."""
    for leading in ((1, 2, 5), (1,)):
        found = [
            math.log10(factor) + power
            for power in range(math.floor(low), math.ceil(high) + 1)
            for factor in leading
            if low <= math.log10(factor) + power <= high
        ]
        if 2 <= len(found) <= most:
            return found
    if len(found) > most:
        chosen = found[:: math.ceil(len(found) / most)]
        return chosen if len(chosen) > 1 or most < 2 else [found[0], found[-1]]
    return [math.log10(value) for value in ticks(10**low, 10**high, most)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """Numbers with as many decimals as tell them apart."""
    if not values:
        return []
    if len(values) == 1:
        return [f"{values[0]:.6g}"]
    largest = max(map(abs, values))
    if largest >= 1e5 or (largest and largest < 1e-3):
        labels = [f"{value:.1e}" for value in values]
        for digits in range(2, 16):
            if len(set(labels)) == len(values):
                break
            labels = [f"{value:.{digits}e}" for value in values]
        return labels
    step = min(b - a for a, b in pairwise(values))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return [f"{value:.{min(decimals, 12)}f}" for value in values]


def time_label(seconds: float) -> str:
    """Seconds since the start, as short as the clock allows: "0", "45s", "30m", "2h30m"."""
    return "0" if seconds == 0 else duration(seconds).replace("m00s", "m").replace("h00m", "h")


def reading(value: float | None) -> str:
    """A value read off a curve, in at most nine characters; "-" where there is none."""
    if value is None:
        return "-"
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e5):
        return f"{value:.2e}"
    if size and size < 1e-2:
        return f"{value:.5f}"  # learning rates of 0.00125 and 0.0013 are not the same
    return f"{value:.4f}" if size < 10 else f"{value:.2f}"


def place_labels(
    columns: Sequence[int | None], labels: Sequence[str], width: int, left: str = ""
) -> tuple[str, list[int]]:
    """Labels centred under their columns on a line of `width` cells, with `left` at its beginning; and the
    columns of those for which there was room. The last one, which tells where the axis ends, has it first.
    None is a column out of sight."""
    line, placed = [" "] * width, []
    line[: len(left)] = left
    free, end = len(left) + bool(left), width + 1
    wanted = [(column, text) for column, text in zip(columns, labels, strict=True) if column is not None]
    for place, (column, text) in enumerate([*wanted[-1:], *wanted[:-1]]):
        begin = max(0, min(column - len(text) // 2, width - len(text)))
        if begin < free or begin + len(text) >= end:
            continue
        line[begin : begin + len(text)] = text
        placed.append(column)
        if place == 0:
            end = begin
        else:
            free = begin + len(text) + 1
    return "".join(line), placed


def _round_step(least: float, factors: Sequence[int]) -> float:
    """The smallest round number that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (*factors, 20) if factor * power >= least * (1 - 1e-9))


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]
