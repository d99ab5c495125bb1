"""The axes of an explanation: from the values of a key to places on the screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.report.explain import Factor, Setting, as_number
from seg_tui.widgets.curves import log_ticks, tick_labels, ticks

_ROOM = 0.06
"""Share of the width that stays free at both ends."""


@dataclass(frozen=True)
class KeyAxis:
    """Where the values of a key stand, as shares in [0, 1]: numbers by their size, logarithmic where the
    factor is, words evenly in the order of its levels."""

    factor: Factor

    @property
    def words(self) -> list[str]:
        return [] if self.factor.is_number else [level.text for level in self.factor.levels]

    def share(self, text: str | None) -> float | None:
        """None where there is no such key."""
        if text is None:
            return None
        if not self.factor.is_number:
            return (self.words.index(text or '""') + 0.5) / len(self.words)
        number = as_number(text)
        return None if number is None else self.of_number(number)

    def of_number(self, number: float) -> float:
        return self._share(self._scaled(number))

    def middle(self, place: int) -> float:
        """Where the mean of a level stands."""
        level = self.factor.levels[place]
        if level.low is None or level.high is None:
            return (place + 0.5) / len(self.words)
        return (self.of_number(level.low) + self.of_number(level.high)) / 2

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Shares with what stands there: each word, each number, or round numbers where there are many."""
        if self.words:
            return [(self.middle(place), word) for place, word in enumerate(self.words)]
        levels = self.factor.levels
        if len(levels) <= most and not self.factor.in_ranges:
            return [(self.middle(place), level.text) for place, level in enumerate(levels)]
        low, high = self._ends
        room = _ROOM / (1 - 2 * _ROOM) * (high - low)
        if self.factor.is_log:
            found = log_ticks(low - room, high + room, most)
            return [(self._share(tick), f"{10**tick:.3g}") for tick in found]
        found = ticks(low - room, high + room, most)
        return [(self._share(tick), text) for tick, text in zip(found, tick_labels(found), strict=True)]

    @property
    def _ends(self) -> tuple[float, float]:
        ends = [
            self._scaled(e) for level in self.factor.levels for e in (level.low, level.high) if e is not None
        ]
        return min(ends), max(ends)

    def _share(self, scaled: float) -> float:
        low, high = self._ends
        return _ROOM + (1 - 2 * _ROOM) * (scaled - low) / (high - low)

    def _scaled(self, number: float) -> float:
        return math.log10(number) if self.factor.is_log else number


def score_range(settings: Sequence[Setting]) -> tuple[float, float]:
    """All means with one standard deviation, and some room."""
    lows = [setting.score.mean - (setting.score.sd or 0.0) for setting in settings]
    highs = [setting.score.mean + (setting.score.sd or 0.0) for setting in settings]
    low, high = min(lows), max(highs)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room
