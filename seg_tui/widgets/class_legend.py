"""The classes of a picture: colour, share of the ground truth, Dice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from engine.report.tables import thin_bar
from seg_tui.widgets.class_colors import Color, hex_of
from seg_tui.widgets.column_widths import fitted, shorten

NAME_WIDTH = 14
COLUMN_WIDTH = 7
BAR_WIDTH = 8
MOST_COLUMNS = 4


@dataclass(frozen=True)
class LegendRow:
    """One class: how it is painted (`mark` stands in for the colour where there is none), its share of the
    ground truth in 0..1, and its Dice in each column, None where it is in neither of the two."""

    name: str
    paint: Color
    mark: str
    share: float
    dice: tuple[float | None, ...]


def legend_width(columns: int, bars: bool = True) -> int:
    """The cells that a legend with so many columns of Dice takes; one column has bars beside it."""
    shown = min(columns, MOST_COLUMNS)
    with_bars = bars and shown == 1
    return 3 + NAME_WIDTH + COLUMN_WIDTH + shown * COLUMN_WIDTH + (BAR_WIDTH + 1 if with_bars else 0)


def in_columns(text: Text, count: int, width: int) -> Text:
    """A legend in `count` columns of `width` cells beside each other, each below its own head."""
    head, *lines = text.split("\n")
    height = -(-len(lines) // count)
    columns = [[head, *lines[begin : begin + height]] for begin in range(0, len(lines), height)]
    rows = []
    for row in range(height + 1):
        cells = [column[row].copy() if row < len(column) else Text() for column in columns]
        for cell in cells[:-1]:
            cell.pad_right(max(0, width - cell.cell_len))
        rows.append(Text.assemble(*cells, no_wrap=True))
    return Text("\n", no_wrap=True).join(rows)


def legend(
    rows: Sequence[LegendRow],
    columns: Sequence[str],
    totals: Sequence[tuple[str, tuple[float | None, ...]]],
    colored: bool,
    faint: str,
    bars: bool = True,
) -> Text:
    """A line for each class below the `totals`, means that are no class's. `columns` head the Dice; one
    column has bars beside it.

    `faint` is the style of what is beside the point. Without `colored` a class shows its mark.
    """
    shown = min(len(columns), MOST_COLUMNS)
    text = Text(no_wrap=True)
    heads = _heads(columns[:shown])
    what = "Class" if len(columns) == shown else f"{shown} of {len(columns)} runs"
    text.append("   " + what.ljust(NAME_WIDTH) + "Share".rjust(COLUMN_WIDTH), style=faint)
    text.append("".join(fitted(head, COLUMN_WIDTH, right=True) for head in heads) + "\n", style=faint)
    for name, values in totals:
        text.append("   " + shorten(name, NAME_WIDTH + COLUMN_WIDTH).ljust(NAME_WIDTH + COLUMN_WIDTH))
        text.append("".join(number(value).rjust(COLUMN_WIDTH) for value in values[:shown]), style="bold")
        if shown == 1 and bars:
            text.append(" " + thin_bar(values[0], BAR_WIDTH))
        text.append("\n")
    text.append("\n")
    for row in rows:
        if colored:
            text.append("██ ", style=hex_of(row.paint))
        else:
            text.append(f" {row.mark} ")
        text.append(fitted(shorten(row.name, NAME_WIDTH), NAME_WIDTH))
        text.append(percent(row.share).rjust(COLUMN_WIDTH), style=faint)
        text.append("".join(number(value).rjust(COLUMN_WIDTH) for value in row.dice[:shown]))
        if shown == 1 and bars:
            text.append(" " + thin_bar(row.dice[0] if row.dice else None, BAR_WIDTH), style=faint)
        text.append("\n")
    return text


def _heads(names: Sequence[str]) -> list[str]:
    """Names short enough for a column; what they begin with in common says nothing and is cut first."""
    room = COLUMN_WIDTH - 1
    columns = zip(*names, strict=False)
    common = sum(1 for _ in itertools.takewhile(lambda letters: len(set(letters)) == 1, columns))
    return [
        name
        if cell_len(name) <= room
        else shorten("…" + name[common:] if 0 < common < len(name) else name, room)
        for name in names
    ]


def number(value: float | None) -> str:
    """A score in 0..1."""
    return "–" if value is None else f"{value:.3f}"


def percent(share: float) -> str:
    """A share in 0..1; one that is there never reads as nothing."""
    return "–" if share == 0 else "<0.1 %" if share < 0.001 else f"{100 * share:.1f} %"
