"""Hours in which no run starts: what can be written, over midnight, at the boundary and at clock changes."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from engine.config.quiet_hours import QuietHours


def at(text: str) -> datetime:
    """2026-11-23 is a Monday."""
    return datetime.fromisoformat(f"2026-11-{text}")


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        ("", "23 12:00", ""),
        ("22:00-07:00", "23 21:59:59", ""),
        ("22:00-07:00", "23 22:00", "07:00"),
        ("22:00-07:00", "24 06:59:59", "07:00"),
        ("22:00-07:00", "24 07:00", ""),
        ("09:00-18:00", "23 12:00", "18:00"),
        ("9:00 - 24:00", "23 12:00", "00:00"),
        # Days are those on which a span begins.
        ("Fri 22:00-07:00", "28 06:00", "07:00"),
        ("Fri 22:00-07:00", "27 06:00", ""),
        ("Sun 22:00-07:00", "23 06:00", "07:00"),
        ("mon-FRI 09:00-18:00", "28 12:00", ""),
        ("Mon-Fri 09:00-18:00, Sat 10:00-14:00", "28 12:00", "14:00"),
        # From Saturday over the Sunday to Monday; spans that touch or overlap are one.
        ("Sat-Mon 08:00-20:00", "29 12:00", "20:00"),
        ("Sat-Sun 00:00-24:00", "28 00:00", "Mon 00:00"),
        ("22:00-24:00,00:00-07:00", "23 23:00", "07:00"),
        ("22:00-03:00,02:00-07:00", "23 23:00", "07:00"),
    ],
)
def test_quiet_hours_hold_from_their_first_minute_to_their_last(hours: str, now: str, until: str) -> None:
    assert QuietHours.parse(hours).until(at(now)) == until


@pytest.mark.parametrize(
    ("hours", "why"),
    [
        ("22-7", "'22-7' is not allowed; it must be HH:MM-HH:MM such as \"22:00-07:00\""),
        ("22:00-07:00,", "'' is not allowed; it must be HH:MM-HH:MM"),
        ("25:00-07:00", "a day has 00:00 to 24:00"),
        ("22:60-07:00", "a day has 00:00 to 24:00"),
        ("24:00-07:00", "a day has 00:00 to 24:00"),
        ("22:00-22:00", "is empty; a whole day is 00:00-24:00"),
        ("Mo 22:00-07:00", "'Mo' is not a day; there are Mon, Tue, Wed, Thu, Fri, Sat, Sun"),
        ("07:00-22:00, 22:00-07:00", "leaves no hour in which a run could start"),
    ],
)
def test_what_means_nothing_is_refused_with_what_would(hours: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".+") as raised:
        QuietHours.parse(hours)
    assert why in str(raised.value)


def test_the_clock_on_the_wall_decides_when_it_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Berlin, 2026-10-25 has the hour from 02:00 twice and 2026-03-29 lacks it."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        quiet = QuietHours.parse("02:00-03:00")

        def until(utc: str) -> str:
            moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)
            return quiet.until(datetime.fromtimestamp(moment.timestamp()))

        assert [until(f"2026-10-{hour}") for hour in ("24 23:59", "25 00:30", "25 01:30", "25 02:00")] == [
            *("", "03:00", "03:00", "")
        ]
        assert [until(f"2026-03-29 {hour}") for hour in ("00:59", "01:00", "01:30")] == ["", "", ""]
    finally:
        monkeypatch.undo()
        time.tzset()
