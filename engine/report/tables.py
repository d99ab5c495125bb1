"""Plain aligned text: tables, sparklines, and numbers as people read them.

Tables are Rich `Text` without boxes: coloured on a terminal, and columns that `awk` can read in a pipe.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from engine.visible import one_line

if TYPE_CHECKING:
    from engine.store import CorruptionRow, EnvironmentRow, EvaluationRow, OodRow

Cell = str | tuple[str, str]
"""Text, or text with its Rich style."""

GAP = 2
"""Blanks between two columns."""

LEFT_OUT = "no room for: "
"""How the line begins that names the columns for which a table had no room."""

_BLOCKS = "▁▂▃▄▅▆▇"
"""Without the whole block: sparklines below each other would fuse into one."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True)
class Column:
    """One column of a table. Where there is little room, columns of the highest `rank` are left out first
    and those with a `least` width are cut down to it."""

    title: str
    cells: Sequence[Cell]
    right: bool = False
    rank: int = 0
    least: int | None = None

    @cached_property
    def width(self) -> int:
        return max(map(cell_len, (self.title, *(_text(cell) for cell in self.cells))))

    @property
    def least_width(self) -> int:
        return self.width if self.least is None else min(self.width, max(self.least, cell_len(self.title)))


def text_table(columns: Sequence[Column], width: int | None = None, header: bool = True) -> Text:
    """Columns of equally many cells as lines of at most `width` characters (None: as wide as they are)."""
    kept = _columns_that_fit(columns, width)
    widths = _widths(kept, width)
    lines = []
    if header:
        titles: list[Cell] = [(column.title, "bold") for column in kept]
        lines.append(_line(kept, widths, titles))
    lines += [_line(kept, widths, row) for row in zip(*(column.cells for column in kept), strict=True)]
    lines += _told_left_out(columns, kept, width) if header else []
    return Text("\n", no_wrap=True, overflow="ignore").join(lines)


def class_table(
    class_dice: Mapping[str, float | None], class_iou: Mapping[str, float | None], colors: Sequence[str]
) -> Text:
    """Dice and IoU of each class, in the order of the class set, with its colour, and their means.

    `colors` are "#rrggbb" in the same order. A class that is in neither truth nor prediction has no score
    and counts in no mean.
    """
    names = list(class_dice)
    swatches = [("  ", f"on {color}") for color in colors[: len(names)]]
    swatches += [("  ", "")] * (len(names) - len(swatches))
    dice, iou = list(class_dice.values()), [class_iou.get(name) for name in names]
    columns = [
        Column("", [*swatches, "  "]),
        Column("class", [*names, ("mean", "bold")], least=12),
        Column("Dice", [*map(score, dice), (score(_mean(dice)), "bold")], right=True),
        Column("IoU", [*map(score, iou), (score(_mean(iou)), "bold")], right=True),
        Column("", [*((thin_bar(value), "cyan") for value in dice), ""]),
    ]
    return text_table(columns)


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """A curve as blocks from its lowest to its highest value, blank where there is none.

    More values than `width` are averaged in equal parts, each over the values that it has.
    """
    count = len(values)
    if count > width:
        edges = [round(i * count / width) for i in range(width + 1)]
        values = [_mean(values[a:b]) for a, b in pairwise(edges)]
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if v is None else _BLOCKS[round((v - low) * scale)] for v in values)


def bar(share: float | None, width: int = 20) -> str:
    """A share from 0 to 1 as a bar, to an eighth of a character."""
    if share is None:
        return ""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def thin_bar(share: float | None, width: int = 20) -> str:
    """The same to half a character, as a line: bars below each other stay apart."""
    if share is None:
        return ""
    halves = round(max(0.0, min(1.0, share)) * width * 2)
    return "━" * (halves // 2) + "╸" * (halves % 2)


def score(value: float | None, sign: str = "", digits: int = 4) -> str:
    """A share from 0 to 1, or a loss, with `digits` decimals; "-" where there is none. With `sign` "+" of
    a difference.

    The loss of a run that diverges has any size: from 100,000 on it is told with four digits, "1.351e+14".
    """
    if value is None:
        return "-"
    small = abs(value) < 1e5 or not math.isfinite(value)
    return f"{value:{sign}.{digits}f}" if small else f"{value:{sign}.3e}"


def windows_told(row: CorruptionRow | EnvironmentRow | EvaluationRow | OodRow) -> str:
    """The sliding windows in which a network saw the images."""
    return f"windows {row.window_size} every {row.window_stride}"


def told_counts(counts: Iterable[int], runs: int) -> str:
    """Of how many of `runs` runs some means are, for behind their name; "" where each is of all: " (n=2)",
    " (n=2 to 4)"."""
    few, many = min(given := [*counts] or [runs]), max(given)
    if few == many == runs:
        return ""
    return f" (n={few})" if few == many else f" (n={few} to {many})"


def duration(seconds: float | None) -> str:
    """A length of time in at most six characters: "4.2s", "42s", "3m20s", "5h07m", "2d03h"."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60}h{minutes % 60:02d}m"
    hours = minutes // 60
    return f"{hours // 24}d{hours % 24:02d}h"


def age(seconds: float) -> str:
    """How long ago, in one unit: "12s", "5m", "3h", "9d"."""
    if not math.isfinite(seconds):
        return "-"
    for unit, length, limit in (("s", 1, 60), ("m", 60, 3600), ("h", 3600, 86400 * 2)):
        if seconds < limit:
            return f"{max(0, int(seconds // length))}{unit}"
    return f"{min(int(seconds // 86400), 99_999)}d"


def moment(seconds: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """UTC seconds as a local date and time; "no date" for what is beyond all calendars."""
    try:
        return datetime.fromtimestamp(seconds).strftime(form)
    except (ValueError, OverflowError, OSError):
        return "no date"


def data_size(length: float | None) -> str:
    """Bytes in binary units: "512 B", "1.5 MiB"."""
    if length is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if length < 1024:
            return f"{length:.0f} {unit}" if unit == "B" or length >= 100 else f"{length:.1f} {unit}"
        length /= 1024
    return f"{length:.1f} TiB"


def large(number: float | None, unit: str = "") -> str:
    """A count in powers of a thousand: "31.0 M", "56.9 GFLOPs"."""
    if number is None:
        return "-"
    for prefix in ("", "k", "M", "G", "T"):
        if number < 1000 or prefix == "T":
            break
        number /= 1000
    digits = f"{number:.0f}" if prefix == "" else f"{number:.1f}"
    return f"{digits} {prefix}{unit}".rstrip()


def _text(cell: Cell) -> str:
    """The cell's text, on one line."""
    return one_line(cell if isinstance(cell, str) else cell[0])


def _columns_that_fit(columns: Sequence[Column], width: int | None) -> list[Column]:
    kept = list(columns)
    while width is not None and len(kept) > 1:
        if sum(column.least_width for column in kept) + GAP * (len(kept) - 1) <= width:
            break
        kept.remove(max(reversed(kept), key=lambda column: column.rank))
    return kept


def _told_left_out(columns: Sequence[Column], kept: Sequence[Column], width: int | None) -> list[Text]:
    """The line that says which columns had no room; a column without a title belongs to the one before."""
    titles = [column.title for column in columns if column not in kept and column.title]
    if not titles or width is None:
        return []
    told = f"{LEFT_OUT}{', '.join(titles)}"
    cut = told if cell_len(told) <= width else set_cell_size(told, width - 1) + "…"
    return [Text(one_line(cut), "dim", no_wrap=True, overflow="ignore")]


def _widths(columns: Sequence[Column], width: int | None) -> list[int]:
    widths = [column.width for column in columns]
    if width is None:
        return widths
    excess = sum(widths) + GAP * (len(columns) - 1) - width
    while excess > 0:
        room = [wide - column.least_width for wide, column in zip(widths, columns, strict=True)]
        widest = max(range(len(columns)), key=lambda i: (room[i] > 0, widths[i]))
        if room[widest] <= 0:
            break
        widths[widest] -= 1
        excess -= 1
    return widths


def _line(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[Cell]) -> Text:
    line = Text(no_wrap=True, overflow="ignore")
    for i, (column, width, cell) in enumerate(zip(columns, widths, cells, strict=True)):
        text, style = _text(cell), "" if isinstance(cell, str) else cell[1]
        length = cell_len(text)
        if length > width:
            text, length = set_cell_size(text, width - 1) + "…", width
        padding = " " * (width - length)
        last = i == len(columns) - 1
        line.append(padding if column.right else "")
        line.append(text, style or None)
        line.append("" if column.right or last else padding)
        line.append("" if last else " " * GAP)
    line.rstrip()
    return line


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
