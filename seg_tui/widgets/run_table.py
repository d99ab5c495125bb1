"""The table of runs: as long as there are runs, drawn only where it is seen and only where it changed.

Textual's DataTable measures every cell and repaints as a whole. This one draws lines on Textual's Line API,
and thinks in runs, not in positions: cursor, marks and scroll stay on their run while others come, go and
change places.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.store import RunSummary
from seg_tui.live import Snapshot
from seg_tui.run_order import Group, Grouping, Line, Order, Spread, lines_of, neighbour
from seg_tui.widgets.columns import COLUMNS, GAP, Cell, Column, widths_for

MARK_CELLS = 2
"""Width of the mark before a line: its sign and a blank."""

Drawn = tuple[str, bool, bool, bool, tuple[Cell, ...]]
"""What a line shows: its key, cursor or not, marked or not, focused or not, its cells."""


class RunTable(ScrollView, can_focus=True):
    """All runs of a snapshot, one a line, under a head that stays."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "run-table--head",
        "run-table--cursor",
        "run-table--group",
        "run-table--marked",
    }
    DEFAULT_CSS = """
    RunTable {
        height: 1fr;
        min-height: 4;
        background: $background;
        color: $foreground;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        &:focus > .run-table--cursor { background: $primary; color: $background; text-style: bold; }
        & > .run-table--cursor { background: $surface-lighten-2; color: $foreground; }
        & > .run-table--head { background: $surface; color: $text-muted; text-style: bold; }
        & > .run-table--group { background: $surface; text-style: bold; }
        & > .run-table--marked { color: $accent; text-style: bold; }
        &:ansi > .run-table--cursor { text-style: reverse; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "page down", show=False),
        Binding("home", "edge(False)", "first", show=False),
        Binding("end", "edge(True)", "last", show=False),
        Binding("left", "fold(True)", "fold group", show=False),
        Binding("right", "fold(False)", "unfold group", show=False),
    ]

    class CursorMoved(Message):
        """The cursor is on another run, or on none (`run_id` "")."""

        def __init__(self, run_id: str) -> None:
            super().__init__()
            self.run_id = run_id

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, RunTable.CursorMoved)

    class OpenWanted(Message):
        """Somebody clicked twice on a run."""

        def __init__(self, run_id: str) -> None:
            super().__init__()
            self.run_id = run_id

    class SortWanted(Message):
        """Somebody clicked on the head of a column."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    class Changed(Message):
        """Marks, order, grouping or following are others now."""

    def __init__(self, now: Callable[[], float] = time.time, id: str | None = None) -> None:
        super().__init__(id=id)
        self.marked: set[str] = set()
        self.order = Order()
        self.grouping: Grouping = ""
        self.following = False
        self._now = now
        self._snapshot = Snapshot()
        self._matching: frozenset[str] | None = None
        self._chosen_columns: tuple[Column, ...] = COLUMNS
        self._ordered: list[RunSummary] = []
        self._lines: list[Line] = []
        self._positions: dict[str, int] = {}
        self._collapsed: set[str] = set()
        self._cursor = 0
        self._wanted = ""
        self._told = ""
        self._longest: dict[str, int] = {}
        self._widths: list[tuple[Column, int]] = []
        self._drawn: dict[int, Drawn] = {}

    # ------------------------------------------------------------------ what it shows

    @property
    def cursor_line(self) -> Line | None:
        """The line under the cursor, None in an empty table."""
        return self._lines[self._cursor] if self._lines else None

    @property
    def cursor_run(self) -> RunSummary | None:
        line = self.cursor_line
        return line.run if line else None

    @property
    def shown(self) -> list[RunSummary]:
        """The runs that meet the filter, in order, those of folded groups too."""
        return list(self._ordered)

    @property
    def lines(self) -> list[Line]:
        return list(self._lines)

    @property
    def column_titles(self) -> list[str]:
        """Those that there is room for."""
        return [column.title for column, _ in self._widths]

    def targets(self) -> list[RunSummary]:
        """The runs that an action is for: those marked, else the one under the cursor."""
        marked = [run for run in self._snapshot.runs.values() if run.id in self.marked]
        if marked:
            return self.order.sort(marked)
        return [self.cursor_run] if self.cursor_run else []

    def show(self, snapshot: Snapshot, matching: frozenset[str] | None) -> None:
        """Take a new snapshot, and the ids that meet the filter (None: there is no filter)."""
        before, filtered_before = self._snapshot, self._matching
        self._snapshot, self._matching = snapshot, matching
        changed = snapshot.changed_since(before)
        gone = len(before.runs) + sum(run_id not in before.runs for run_id in changed) != len(snapshot.runs)
        if gone:
            self.marked &= snapshot.runs.keys()
        self._measure(snapshot.runs[run_id] for run_id in changed)
        if matching != filtered_before or gone or not self._replace_in_place(before, changed):
            self._reorder()
        elif changed and self.grouping:
            self._relayout()
        self.tick()

    def order_by(self, order: Order) -> None:
        self.order = order
        self._reorder()
        self.post_message(self.Changed())

    def group_by(self, grouping: Grouping) -> None:
        self.grouping = grouping
        self._collapsed.clear()
        self._relayout()
        self.post_message(self.Changed())

    def choose_columns(self, keys: Iterable[str]) -> None:
        wanted = set(keys)
        self._chosen_columns = tuple(column for column in COLUMNS if column.key in wanted)
        self._fit()

    def follow(self, following: bool) -> None:
        """Keep the cursor on the newest run; moving it by hand ends that."""
        self.following = following
        self._relayout()
        self.post_message(self.Changed())

    def tick(self) -> None:
        """Repaint the visible lines that would show something else now, such as another age."""
        now = self._now()
        for y in range(1, self.size.height):
            position = self.scroll_offset.y + y - 1
            drawn = self._line(position, now) if position < len(self._lines) else None
            if drawn != self._drawn.get(y):
                self.refresh(Region(0, y, self.size.width, 1))

    def put_cursor(self, key: str) -> None:
        """Put the cursor on a run, or on the head of a group, when the table shows it; else once it does."""
        self._wanted = key
        if key in self._positions:
            self._set_cursor(self._positions[key])

    # ------------------------------------------------------------------ from snapshots to lines

    def _replace_in_place(self, before: Snapshot, changed: list[str]) -> bool:
        """Put changed runs where they were; returns False when one is new or belongs elsewhere now."""
        for run_id in changed:
            old, new = before.runs.get(run_id), self._snapshot.runs[run_id]
            if old is None or self.order.place(old) != self.order.place(new):
                return False
            if self.grouping and getattr(old, self.grouping) != getattr(new, self.grouping):
                return False
        if changed and self.grouping:
            fresh = self._snapshot.runs
            self._ordered = [fresh[run.id] for run in self._ordered]
            return True
        for run_id in changed:
            position = self._positions.get(run_id)
            if position is not None:
                self._ordered[position] = self._snapshot.runs[run_id]
                self._lines[position] = Line(run_id, self._snapshot.runs[run_id])
        return True

    def _reorder(self) -> None:
        runs = self._snapshot.runs.values()
        matching = self._matching
        self._ordered = self.order.sort(
            runs if matching is None else (run for run in runs if run.id in matching)
        )
        self._relayout()

    def _relayout(self) -> None:
        """Make the lines anew; what was under the cursor stays there, at the same height of the screen."""
        before, cursor, top = self._lines, self._cursor, self.scroll_offset.y
        self._lines = lines_of(self._ordered, self.grouping, self._collapsed)
        self._positions = {line.key: position for position, line in enumerate(self._lines)}
        self._cursor = self._place_cursor(before, cursor)
        # Set only when it differs: it makes Textual lay out the screen anew.
        size = Size(0, len(self._lines) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        untouched = top == 0 and cursor == 0
        if before and not untouched:
            self._keep_height(before, cursor, top)
        self._show_cursor()
        self.tick()
        self._tell_cursor()

    def _place_cursor(self, before: list[Line], cursor: int) -> int:
        """Where the wanted line is now; while a filter or a fold hides it, where its nearest is."""
        if self.following and self._ordered:
            self._wanted = max(self._ordered, key=lambda run: (run.created_at, run.id)).id
        if self._wanted in self._positions:
            return self._positions[self._wanted]
        run = self._snapshot.runs.get(self._wanted)
        if run is not None and self.grouping:
            head = f"{self.grouping}:{getattr(run, self.grouping)}"
            if head in self._positions:
                return self._positions[head]
        place = neighbour(before, cursor, self._positions)
        if run is None and self._lines:
            self._wanted = self._lines[place].key
        return place

    def _keep_height(self, before: list[Line], cursor: int, top: int) -> None:
        height = self._page
        if top <= cursor < top + height:
            wanted = self._cursor - (cursor - top)
        else:
            wanted = neighbour(before, min(top, len(before) - 1), self._positions)
        self.scroll_to(y=max(0, wanted), animate=False, immediate=True)

    def _measure(self, runs: Iterable[RunSummary]) -> None:
        """Learn how wide the growing columns would like to be."""
        growing = [column for column in self._chosen_columns if column.grow]
        grown = False
        for run in runs:
            for column in growing:
                text = column.cell(run, 0.0)[0]
                width = len(text) if text.isascii() else cell_len(text)
                if width > self._longest.get(column.key, 0):
                    self._longest[column.key] = width
                    grown = True
        if grown:
            self._fit()

    def _fit(self) -> None:
        room = self.scrollable_content_region.width - MARK_CELLS
        widths = widths_for(self._chosen_columns, room, self._longest) if room > 0 else []
        if widths != self._widths:
            self._widths = widths
            self._drawn.clear()
            self.refresh()

    # ------------------------------------------------------------------ cursor, marks, folds

    @property
    def _page(self) -> int:
        """Lines of runs that fit."""
        return max(1, self.size.height - 1)

    def _set_cursor(self, position: int) -> None:
        position = max(0, min(position, len(self._lines) - 1))
        if self._lines:
            self._cursor = position
            self._wanted = self._lines[position].key
            self._show_cursor()
            self.tick()
            self._tell_cursor()

    def _show_cursor(self) -> None:
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, immediate=True)
        elif self._cursor >= top + self._page:
            self.scroll_to(y=self._cursor - self._page + 1, animate=False, immediate=True)

    def _tell_cursor(self) -> None:
        run = self.cursor_run
        run_id = run.id if run else ""
        if run_id != self._told:
            self._told = run_id
            self.post_message(self.CursorMoved(run_id))

    def _move_by_hand(self, position: int) -> None:
        if self.following:
            self.following = False
            self.post_message(self.Changed())
        self._set_cursor(position)

    def action_move(self, lines: int) -> None:
        self._move_by_hand(self._cursor + lines)

    def action_page(self, pages: int) -> None:
        self._move_by_hand(self._cursor + pages * self._page)

    def action_edge(self, last: bool) -> None:
        self._move_by_hand(len(self._lines) - 1 if last else 0)

    def action_fold(self, fold: bool) -> None:
        """Fold or unfold the group under the cursor; from a run in it, folding goes to its head."""
        line = self.cursor_line
        if line is None or not self.grouping:
            return
        head = line.key if line.group else f"{self.grouping}:{getattr(line.run, self.grouping)}"
        if fold == (head in self._collapsed):
            return
        (self._collapsed.add if fold else self._collapsed.discard)(head)
        self._wanted = head
        self._relayout()

    def toggle_fold(self) -> None:
        line = self.cursor_line
        if line is not None and line.group is not None:
            self.action_fold(line.key not in self._collapsed)

    def toggle_mark(self) -> None:
        """Mark the run under the cursor, or all of the group, and go on to the next line; or unmark."""
        line = self.cursor_line
        if line is None:
            return
        ids = {run.id for run in line.group.runs} if line.group else {line.key}
        self.marked = self.marked - ids if ids <= self.marked else self.marked | ids
        self.post_message(self.Changed())
        self._set_cursor(self._cursor + 1)
        self.tick()

    def mark_all(self) -> None:
        """Mark all runs that meet the filter; unmark them when all are marked."""
        ids = {run.id for run in self._ordered}
        self.marked = self.marked - ids if ids <= self.marked else self.marked | ids
        self.post_message(self.Changed())
        self.tick()

    def unmark(self) -> None:
        self.marked = set()
        self.post_message(self.Changed())
        self.tick()

    # ------------------------------------------------------------------ the mouse

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            column = self._column_at(offset.x)
            if column is not None:
                self.post_message(self.SortWanted(column.key))
            return
        position = self.scroll_offset.y + offset.y - 1
        if position < len(self._lines):
            line = self._lines[position]
            self._move_by_hand(position)
            if line.group is not None:
                self.toggle_fold()
            elif event.chain == 2:
                self.post_message(self.OpenWanted(line.key))

    def _column_at(self, x: int) -> Column | None:
        left = MARK_CELLS
        for column, width in self._widths:
            if left <= x < left + width + GAP:
                return column
            left += width + GAP
        return None

    # ------------------------------------------------------------------ drawing

    def on_resize(self) -> None:
        self._fit()
        self._show_cursor()

    def notify_style_update(self) -> None:
        self._drawn.clear()
        super().notify_style_update()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.tick()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y == 0:
            return self._head().adjust_cell_length(width, self._component("run-table--head"))
        position = self.scroll_offset.y + y - 1
        if position >= len(self._lines):
            self._drawn.pop(y, None)
            return Strip.blank(width, self.rich_style)
        drawn = self._line(position, self._now())
        self._drawn[y] = drawn
        return self._strip(drawn).adjust_cell_length(width, self._base(drawn))

    def _line(self, position: int, now: float) -> Drawn:
        line = self._lines[position]
        if line.group is not None:
            cells = tuple(self._group_cell(line.group, column) for column, _ in self._widths)
            marked = all(run.id in self.marked for run in line.group.runs)
        else:
            assert line.run is not None
            run, indent = line.run, "  " if line.indented else ""
            cells = tuple(column.cell(run, now) for column, _ in self._widths)
            if indent:
                cells = tuple(
                    (indent + text, style) if column.key == "name" else (text, style)
                    for (text, style), (column, _) in zip(cells, self._widths, strict=True)
                )
            marked = line.key in self.marked
        return line.key, position == self._cursor, marked, self.has_focus, cells

    def _group_cell(self, group: Group, column: Column) -> Cell:
        if column.key == "name":
            return f"{'▸' if group.key in self._collapsed else '▾'} {group.label}", ""
        if column.key == "status":
            return group.statuses, ""
        if column.key == "progress":
            return f"n = {len(group.runs)}", ""
        if column.key in ("best", "last", "miou"):
            spread = Spread.of(column.value(run) for run in group.runs)
            text = "-" if spread is None else spread.text()
            return (text if len(text) <= column.width else text.partition(" ")[0]), ""
        if column.key in ("experiment", "recipe", "device"):
            values = {column.cell(run, 0.0)[0] for run in group.runs}
            return (values.pop() if len(values) == 1 else "…"), ""
        return "", ""

    def _head(self) -> Strip:
        style = self._component("run-table--head")
        segments = [Segment(" " * MARK_CELLS, style)]
        for column, width in self._widths:
            title = column.title
            sorted_by = column.key == self.order.column
            if sorted_by:
                arrow = "▼" if self.order.falling else "▲"
                title = title[: width - 1] + arrow if len(title) >= width else title + arrow
            text = title.rjust(width) if column.right else title.ljust(width)
            segments.append(Segment(text, style + Style(underline=True) if sorted_by else style))
            segments.append(Segment(" " * GAP, style))
        return Strip(segments)

    def _base(self, drawn: Drawn) -> Style:
        key, at_cursor, marked, _, _ = drawn
        if at_cursor:
            return self._component("run-table--cursor")
        if marked:
            return self._component("run-table--marked")
        return self._component("run-table--group") if ":" in key else self.rich_style

    def _component(self, name: str) -> Style:
        return self.get_component_rich_style(name)

    def _strip(self, drawn: Drawn) -> Strip:
        _, at_cursor, marked, _, cells = drawn
        base = self._base(drawn)
        segments = [Segment(("●" if marked else " ") + " " * (MARK_CELLS - 1), base)]
        for (text, style), (column, width) in zip(cells, self._widths, strict=True):
            # The cursor's own colours keep their contrast only when no others are laid over them.
            own = base if at_cursor or not style else base + Style.parse(style)
            segments.append(Segment(fitted(text, width, column.right), own))
            segments.append(Segment(" " * GAP, base))
        return Strip(segments)


def fitted(text: str, width: int, right: bool = False) -> str:
    """The text in exactly `width` characters; what is cut ends in "…"."""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)
