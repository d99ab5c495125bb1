"""How wide the columns of a table are, which of them there is room for, and texts made to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size

from seg_tui.widgets.columns import Column

GAP = 2
"""Blanks between two columns."""


NICE_TO_HAVE = 7
"""Columns of this rank and above give way before anything that tells runs apart is cut."""

TELLING_RANK = 3
"""Columns up to this rank tell runs apart; others give way before the short form of these is cut. The one of
this rank gives way before a shorter name."""


@dataclass
class Lengths:
    """How wide the widest texts of the growing columns are, by key: as they are, and in their short form."""

    whole: dict[str, int] = field(default_factory=dict)
    brief: dict[str, int] = field(default_factory=dict)

    def of(self, column: Column, brief: bool = False) -> int:
        """How wide a column would like to be."""
        if not column.grow:
            return column.width
        known = self.brief if brief and column.brief is not None else self.whole
        heading = len(column.title) + column.falling  # with room for the arrow of the order
        return max(heading, min(column.most, known.get(column.key, 0)))


def widths_for(columns: Sequence[Column], room: int, lengths: Lengths) -> list[tuple[Column, int]]:
    """The columns that fit into `room` characters, each with its width."""

    def least(column: Column) -> int:
        wanted = max(column.least, len(column.title) + column.falling)
        return min(lengths.of(column), wanted) if column.grow else column.width

    def needed(column: Column, rank: int) -> int:
        if rank < TELLING_RANK or column.rank >= min(rank, TELLING_RANK + 1):
            return least(column)
        return lengths.of(column, brief=rank < NICE_TO_HAVE)

    kept = list(columns)
    while len(kept) > 1:
        last = max(reversed(kept), key=lambda column: column.rank)
        if sum(needed(column, last.rank) for column in kept) + GAP * (len(kept) - 1) <= room:
            break
        kept.remove(last)
    widths = {column.key: least(column) for column in kept}
    spare = room - sum(widths.values()) - GAP * (len(kept) - 1)
    # What tells runs apart comes first, in short before at length.
    growing = sorted((column for column in kept if column.grow), key=lambda column: column.rank)
    telling = sorted(
        (column for column in growing if column.rank <= TELLING_RANK),
        key=lambda column: lengths.of(column, brief=True),
    )
    for brief, column in [*((True, column) for column in telling), *((False, column) for column in growing)]:
        more = max(0, lengths.of(column, brief) - widths[column.key])
        if more > spare:
            is_brief = column.stepwise and widths[column.key] >= lengths.of(column, brief=True)
            more = 0 if is_brief else spare
        widths[column.key] += more
        spare -= more
    return [(column, widths[column.key]) for column in kept]


def fitted(text: str, width: int, right: bool = False) -> str:
    """The text in exactly `width` characters; what is cut ends in "…"."""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


def shorten(text: str, room: int) -> str:
    """The text, its end cut with a sign where there is no room for it; `room` is in cells."""
    if cell_len(text) <= room:
        return text
    return set_cell_size(text, room - 1).rstrip() + "…" if room > 0 else ""
