"""Class tables as text, for layouts with many classes."""

from __future__ import annotations

from engine.classes import ClassInfo, Color


def numbered(table: str, first: int = 0) -> tuple[ClassInfo, ...]:
    """The classes of a table with a line for each: its name and its colour as rrggbb. The label values count
    up from `first`."""
    lines = [line.rsplit(None, 1) for line in table.strip().splitlines()]
    return tuple(ClassInfo(name, color_of(color), (i,)) for i, (name, color) in enumerate(lines, first))


def color_of(text: str) -> Color:
    """The colour rrggbb."""
    red, green, blue = bytes.fromhex(text)
    return red, green, blue
