"""How a line of the run table looks: its cells, their widths and their styles."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from engine.report.runs import outcome
from engine.report.short_names import ShortNames
from seg_tui.run_order import Group, Line, Order, Spread
from seg_tui.widgets.column_widths import GAP, fitted
from seg_tui.widgets.columns import Cell, Column, Seen

MARK_CELLS = 2
"""Width of the mark before a line: its sign and a blank."""

INDENT = "  "
"""What stands before the name of a run in a group."""

PICTURE = "cyan"
"""The colour of bars and curves in a line; the theme says which that is."""

TAIL, SPREAD_TAIL = len(" @  30"), len(" ± 0.0040")
"""What stands behind the score of a run that learns, and behind that of a group."""

_SCORE = re.compile(r"\d+\.\d+")

Widths = Sequence[tuple[Column, int]]
"""The columns that are shown, each with its width in characters."""


def run_cells(line: Line, widths: Widths, seen: Seen, names: ShortNames) -> tuple[Cell, ...]:
    """The cells of a run; the name of one in a group stands further in."""
    assert line.run is not None
    cells = []
    for column, width in widths:
        text, style = column.cell(line.run, seen)
        if column.key == "name":
            indent = INDENT if line.indented else ""
            text = indent + names.fit(text, width - len(indent))
        elif column.within is not None:
            text = column.within(line.run, text, width)
        elif column.key == "best":
            text = at_point(text, width, SPREAD_TAIL if line.indented else TAIL)
        cells.append((text, style))
    return tuple(cells)


def at_point(text: str, width: int, tail: int) -> str:
    """The text with blanks behind it, as many as put `tail` characters behind its score and as there is room
    for: scores of one column then stand with their points below each other.

    >>> at_point("Dice 0.4496", 18, 6)
    'Dice 0.4496      '
    """
    found = _SCORE.search(text)
    if found is None:
        return text
    lacking = tail - (len(text) - found.end())
    return text + " " * max(0, min(lacking, width - cell_len(text)))


def group_cells(
    group: Group, folded: bool, widths: Widths, seen: Seen, names: ShortNames
) -> tuple[Cell, ...]:
    return tuple((_group_text(group, folded, column, width, seen, names), "") for column, width in widths)


def _group_text(group: Group, folded: bool, column: Column, width: int, seen: Seen, names: ShortNames) -> str:
    match column.key:
        case "name":
            names.add(group.label)
            return f"{'▸' if folded else '▾'} {names.fit(group.label, width - 2)}"
        case "status":
            return group.statuses(width)
        case "progress":
            return f"n = {group.n:,}"
        case "best" | "last" | "miou":
            told, scores = _outcomes(group) if column.key == "best" else ("", _values(column, group))
            spread = Spread.of(group.seeds_once(scores))
            return "-" if spread is None else at_point(spread.text(width, told), width, SPREAD_TAIL)
        case "experiment" | "recipe" | "device" | "task":
            values = {column.cell(run, seen)[0] for run in group.runs}
            return values.pop() if len(values) == 1 else "…"
        case _:
            return ""


def _values(column: Column, group: Group) -> list[float | None]:
    return [column.value(run) for run in group.runs]


def _outcomes(group: Group) -> tuple[str, list[float | None]]:
    """What the runs of a group have found, when all have found the same kind of number, and its name where
    that is not the best Dice."""
    found = [outcome(run) for run in group.runs]
    names = {one.name for one in found if one is not None}
    if len(names) != 1 or "images" in names:
        return "", [run.best_dice for run in group.runs]
    (name,) = names
    values = [None if one is None else one.value for one in found]
    return "" if name == "best Dice" else "loss" if "loss" in name else name.removeprefix("mean "), values


def line_strip(cells: Sequence[Cell], widths: Widths, base: Style, sign: Style | None, plain: bool) -> Strip:
    """One line, with a `sign` where it is marked; with `plain` in the one style `base`, as the cursor's own
    colours keep their contrast only when no others are laid over them."""
    segments = [Segment("●" if sign else " ", sign or base), Segment(" " * (MARK_CELLS - 1), base)]
    for (text, style), (column, width) in zip(cells, widths, strict=True):
        own = base if plain or not style else base + Style.parse(style)
        shown = fitted(text, width, column.right)
        if column.drawn and not plain:
            segments.append(Segment(shown[: column.drawn], base + Style.parse(PICTURE)))
            shown = shown[column.drawn :]
        segments.append(Segment(shown, own))
        segments.append(Segment(" " * GAP, base))
    return Strip(segments)


def head_strip(widths: Widths, order: Order, style: Style) -> Strip:
    """The titles, an arrow at the one that the table is sorted by."""
    segments = [Segment(" " * MARK_CELLS, style)]
    for column, width in widths:
        title, sorted_by = column.title, column.key == order.column
        if sorted_by:
            arrow = "▼" if order.falling else "▲"
            title = title[: width - 1] + arrow if len(title) >= width else title + arrow
        text = fitted(title, width, column.right)
        segments.append(Segment(text, style + Style(underline=True) if sorted_by else style))
        segments.append(Segment(" " * GAP, style))
    return Strip(segments)


def column_at(x: int, widths: Widths) -> Column | None:
    """The column at a place in a line, None at the mark and behind the last."""
    left = MARK_CELLS
    for column, width in widths:
        if left <= x < left + width + GAP:
            return column
        left += width + GAP
    return None
