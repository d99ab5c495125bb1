"""Hours of the week in which nothing is to start: `22:00-07:00`, or `Mon-Fri 09:00-18:00, Sat 10:00-14:00`.

They are times of the local clock on the wall. So an hour that a change to winter time repeats is quiet twice,
and one that a change to summer time leaves out is not missed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from engine.host.processes import shown

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY = 24 * 60
WEEK = 7 * DAY

FORM = 'HH:MM-HH:MM such as "22:00-07:00", or with days, "Mon-Fri 09:00-18:00, Sun 00:00-24:00"'

_SPAN = re.compile(r"(?:([A-Za-z]+)(?:\s*-\s*([A-Za-z]+))?\s+)?(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)")


@dataclass(frozen=True)
class QuietHours:
    """`minutes` has the quiet ones of a week, counted from Monday 00:00."""

    minutes: frozenset[int]

    @classmethod
    @cache
    def parse(cls, text: str) -> QuietHours:
        """Read a text of the form above; "" has no quiet hours. Raises ValueError with one line."""
        minutes: set[int] = set()
        for part in text.split(",") if text.strip() else ():
            minutes |= _minutes_of(part.strip())
        if len(minutes) == WEEK:
            raise ValueError(f"{shown(text)} leaves no hour in which a run could start")
        return cls(frozenset(minutes))

    def until(self, now: datetime) -> str:
        """When the quiet hours that hold at the local time `now` end: "07:00", or "Mon 07:00" if that is on
        another day than today or tomorrow; "" outside of them."""
        minute = now.weekday() * DAY + now.hour * 60 + now.minute
        if minute not in self.minutes:
            return ""
        end = next(later for later in range(minute, minute + WEEK) if later % WEEK not in self.minutes)
        day = "" if end // DAY - minute // DAY < 2 else f"{DAYS[end // DAY % 7]} "
        return f"{day}{end % DAY // 60:02}:{end % 60:02}"


def _minutes_of(part: str) -> set[int]:
    """The minutes of one span; behind midnight they belong to the day on which the span began."""
    match = _SPAN.fullmatch(part)
    if match is None:
        raise ValueError(f"{shown(part)} is not allowed; it must be {FORM}")
    first_day, last_day, *times = match.groups()
    begin_hour, begin_minute, end_hour, end_minute = map(int, times)
    begin, end = begin_hour * 60 + begin_minute, end_hour * 60 + end_minute
    if max(begin_minute, end_minute) > 59 or begin >= DAY or end > DAY:
        raise ValueError(f"{shown(part)} is not allowed; a day has 00:00 to 24:00")
    if begin == end:
        raise ValueError(f"{shown(part)} is empty; a whole day is 00:00-24:00")
    length = end - begin if end > begin else end - begin + DAY
    return {
        (day * DAY + begin + passed) % WEEK for day in _days(first_day, last_day) for passed in range(length)
    }


def _days(first: str | None, last: str | None) -> list[int]:
    """Numbers of the days from `first` to `last`, also over a Sunday; without names all of them."""
    if first is None:
        return list(range(7))
    begin = _day(first)
    return [(begin + more) % 7 for more in range((_day(last or first) - begin) % 7 + 1)]


def _day(name: str) -> int:
    if name.capitalize() not in DAYS:
        raise ValueError(f"{shown(name)} is not a day; there are {', '.join(DAYS)}")
    return DAYS.index(name.capitalize())
