"""Entries of a legend on as few lines as they need; what does not fit is counted, never silently cut."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

GAP = 2
"""Cells between two entries."""

Entry = list[Segment]


def legend_lines(
    entries: Sequence[Entry], width: int, most: int, muted: Style, base: Style, spare: Entry | None = None
) -> list[Strip]:
    """At most `most` lines of `width` cells, `base` below all; `muted` is the word on what is left out. The
    `spare` entry stands last, where there is room for it."""
    lines: list[list[Entry]] = [[]]
    for count, entry in enumerate(entries):
        if lines[-1] and _length([*lines[-1], entry]) > width:
            if len(lines) == most:
                lines[-1] = _with_rest(lines[-1], len(entries) - count, width, muted)
                break
            lines.append([])
        lines[-1].append(entry)
    if spare is not None and _length([*lines[-1], spare]) <= width:
        lines[-1].append(spare)
    return [_strip(line, width, muted, base) for line in lines]


def _strip(line: Sequence[Entry], width: int, muted: Style, base: Style) -> Strip:
    gap = Segment(" " * GAP)
    strip = Strip([part for entry in line for part in (gap, *entry)][1:])
    if strip.cell_length > width:
        strip = Strip([*strip.crop(0, width - 1), Segment("…", muted)])
    return strip.apply_style(base).adjust_cell_length(width, base)


def _length(entries: Sequence[Entry]) -> int:
    """Cells that entries take with the gaps between them."""
    texts = [segment.text for entry in entries for segment in entry]
    return sum(map(cell_len, texts)) + GAP * (len(entries) - 1)


def _with_rest(entries: list[Entry], left_out: int, width: int, muted: Style) -> list[Entry]:
    """The entries for which there is room beside a word on how many are left out."""
    while True:
        rest = [Segment(f"…{left_out} more", muted)]
        if len(entries) <= 1 or _length([*entries, rest]) <= width:
            return [*entries, rest]
        entries, left_out = entries[:-1], left_out + 1
