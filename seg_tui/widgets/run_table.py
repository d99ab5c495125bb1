"""The table of runs: as long as there are runs, drawn only where it is seen and only where it changed.

Textual's DataTable measures every cell and repaints as a whole. This one draws lines on Textual's Line API.
What the lines are is in `seg_tui.run_list`, how one looks in `run_lines`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.report.short_names import ShortNames
from engine.store import RunSummary
from seg_tui.live import Snapshot
from seg_tui.run_list import RunList
from seg_tui.run_order import Grouping, Line, Order, neighbour
from seg_tui.widgets.columns import COLUMNS, Cell, Column, fitted, widths_for
from seg_tui.widgets.run_lines import (
    INDENT,
    MARK_CELLS,
    column_at,
    group_cells,
    head_strip,
    line_strip,
    run_cells,
)

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
        self._now = now
        self._list = RunList()
        self._chosen_columns: tuple[Column, ...] = COLUMNS
        self._longest: dict[str, int] = {}
        self._names = ShortNames()
        self._only_trains = True
        self._widths: list[tuple[Column, int]] = []
        self._drawn: dict[int, Drawn] = {}
        self._told = ""
        self._empty: tuple[str, ...] = ()

    # ------------------------------------------------------------------ what it shows

    @property
    def cursor_line(self) -> Line | None:
        """The line under the cursor, None in an empty table."""
        return self._list.cursor_line

    @property
    def cursor_run(self) -> RunSummary | None:
        line = self.cursor_line
        return line.run if line else None

    @property
    def shown(self) -> list[RunSummary]:
        """The runs that meet the filter, in order, those of folded groups too."""
        return list(self._list.ordered)

    @property
    def lines(self) -> list[Line]:
        return list(self._list.lines)

    @property
    def marked(self) -> frozenset[str]:
        """The ids of the marked runs, those that a filter hides too."""
        return frozenset(self._list.marked)

    @property
    def order(self) -> Order:
        return self._list.order

    @property
    def grouping(self) -> Grouping:
        return self._list.grouping

    @property
    def following(self) -> bool:
        """Whether the cursor stays on the newest run."""
        return self._list.following

    @property
    def column_titles(self) -> list[str]:
        """Those that there is room for."""
        return [column.title for column, _ in self._widths]

    def targets(self) -> list[RunSummary]:
        """The runs that an action is for: those marked, else the one under the cursor."""
        return self._list.targets

    def show(self, snapshot: Snapshot, matching: frozenset[str] | None, empty: Sequence[str] = ()) -> None:
        """Take a new snapshot, and the ids that meet the filter (None: there is no filter); `empty` are the
        lines that stand in the place of runs where none does."""
        if tuple(empty) != self._empty:
            self._empty = tuple(empty)
            self.refresh()
        changed = snapshot.changed_since(self._list.snapshot)
        self._measure(snapshot.runs[run_id] for run_id in changed)
        with self._steady():
            self._list.show(snapshot, changed, matching)

    def order_by(self, order: Order) -> None:
        with self._steady():
            self._list.order = order
            self._list.reorder()
        self.refresh(Region(0, 0, self.size.width, 1))
        self.post_message(self.Changed())

    def group_by(self, grouping: Grouping) -> None:
        with self._steady():
            self._list.group_by(grouping)
            self._fit()
        self.post_message(self.Changed())

    def choose_columns(self, keys: Iterable[str]) -> None:
        wanted = set(keys)
        self._chosen_columns = tuple(column for column in COLUMNS if column.key in wanted)
        self._fit()

    def follow(self, following: bool) -> None:
        """Keep the cursor on the newest run; moving it by hand ends that."""
        with self._steady():
            self._list.following = following
            self._list.rearrange()
        self.post_message(self.Changed())

    def put_cursor(self, key: str) -> None:
        """Put the cursor on a run, or on the head of a group, when the table shows it; else once it does."""
        self._list.want(key)
        self._cursor_moved()

    def tick(self) -> None:
        """Repaint the visible lines that would show something else now, such as another age."""
        now = self._now()
        for y in range(1, self.size.height):
            position = self.scroll_offset.y + y - 1
            drawn = self._line(position, now) if position < len(self._list.lines) else None
            if drawn != self._drawn.get(y):
                self.refresh(Region(0, y, self.size.width, 1))

    # ------------------------------------------------------------------ room, scroll and cursor

    @contextmanager
    def _steady(self) -> Iterator[None]:
        """Around all that may make the lines anew: what is under the cursor stays at its height of the
        screen, and what looks otherwise is repainted."""
        before, cursor, top = self._list.lines, self._list.cursor, self.scroll_offset.y
        yield
        if self._list.lines is before:
            self.tick()
            return
        # Set only when it differs: it makes Textual lay out the screen anew.
        size = Size(0, len(self._list.lines) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        untouched = top == 0 and cursor == 0
        if before and not untouched:
            if top <= cursor < top + self._page:
                wanted = self._list.cursor - (cursor - top)
            else:
                wanted = neighbour(before, min(top, len(before) - 1), self._list.positions)
            if max(0, wanted) != top:
                self.scroll_to(y=max(0, wanted), animate=False, immediate=True)
        self._cursor_moved()

    @property
    def _page(self) -> int:
        """Lines of runs that fit."""
        return max(1, self.size.height - 1)

    def _cursor_moved(self) -> None:
        self._show_cursor()
        self.tick()
        run = self.cursor_run
        run_id = run.id if run else ""
        if run_id != self._told:
            self._told = run_id
            self.post_message(self.CursorMoved(run_id))

    def _show_cursor(self) -> None:
        top, cursor = self.scroll_offset.y, self._list.cursor
        if cursor < top:
            self.scroll_to(y=cursor, animate=False, immediate=True)
        elif cursor >= top + self._page:
            self.scroll_to(y=cursor - self._page + 1, animate=False, immediate=True)

    def _measure(self, runs: Iterable[RunSummary]) -> None:
        """Learn how wide the growing columns would like to be, and which names there are."""
        growing = [column for column in self._chosen_columns if column.grow]
        grown = False
        for run in runs:
            if self._only_trains and run.task != "train":
                self._only_trains, grown = False, True
            for column in growing:
                text = column.cell(run, 0.0)[0]
                if column.key == "name":
                    self._names.add(text)
                width = len(text) if text.isascii() else cell_len(text)
                if width > self._longest.get(column.key, 0):
                    self._longest[column.key] = width
                    grown = True
        if grown:
            self._fit()

    def _fit(self) -> None:
        room = self.scrollable_content_region.width - MARK_CELLS - 1  # a blank before the pane
        longest = dict(self._longest)
        if self.grouping:
            longest["name"] = longest.get("name", 0) + len(INDENT)
            longest["best"] = max(longest.get("best", 0), len("AUROC 0.0000 ± 0.0000"))
        # That all runs train need not be said of each.
        columns = [c for c in self._chosen_columns if c.key != "task" or not self._only_trains]
        widths = widths_for(columns, room, longest) if room > 0 else []
        if widths != self._widths:
            self._widths = widths
            self._drawn.clear()
            self.refresh()

    # ------------------------------------------------------------------ keys and the mouse

    def _move_by_hand(self, position: int) -> None:
        if self._list.following:
            self._list.following = False
            self.post_message(self.Changed())
        self._list.go_to(position)
        self._cursor_moved()

    def action_move(self, lines: int) -> None:
        self._move_by_hand(self._list.cursor + lines)

    def action_page(self, pages: int) -> None:
        self._move_by_hand(self._list.cursor + pages * self._page)

    def action_edge(self, last: bool) -> None:
        self._move_by_hand(len(self._list.lines) - 1 if last else 0)

    def action_fold(self, fold: bool) -> None:
        """Fold or unfold the group under the cursor; from a run in it, folding goes to its head."""
        with self._steady():
            self._list.fold(fold)

    def toggle_fold(self) -> None:
        line = self.cursor_line
        if line is not None and line.group is not None:
            self.action_fold(line.key not in self._list.collapsed)

    def toggle_mark(self) -> None:
        """Mark the run under the cursor, or all of the group, and go on to the next line; or unmark."""
        self._list.toggle_mark()
        self.post_message(self.Changed())
        self._cursor_moved()

    def mark_all(self) -> None:
        """Mark all runs that meet the filter; unmark them when all are marked."""
        self._list.toggle_all()
        self.post_message(self.Changed())
        self.tick()

    def unmark(self) -> None:
        self._list.marked = set()
        self.post_message(self.Changed())
        self.tick()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            column = column_at(offset.x, self._widths)
            if column is not None:
                self.post_message(self.SortWanted(column.key))
            return
        position = self.scroll_offset.y + offset.y - 1
        if position < len(self._list.lines):
            line = self._list.lines[position]
            self._move_by_hand(position)
            if line.group is not None:
                self.toggle_fold()
            elif event.chain == 2:
                self.post_message(self.OpenWanted(line.key))

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
            style = self.get_component_rich_style("run-table--head")
            return head_strip(self._widths, self.order, style).adjust_cell_length(width, style)
        position = self.scroll_offset.y + y - 1
        if position >= len(self._list.lines):
            self._drawn.pop(y, None)
            told = self._empty[y - 2] if not self._list.lines and 0 <= y - 2 < len(self._empty) else ""
            text = fitted(" " * MARK_CELLS + told, width) if told else " " * width
            return Strip([Segment(text, self.rich_style)], width)
        drawn = self._line(position, self._now())
        self._drawn[y] = drawn
        _, at_cursor, marked, _, cells = drawn
        base = self._base(drawn)
        return line_strip(cells, self._widths, base, marked, at_cursor).adjust_cell_length(width, base)

    def _line(self, position: int, now: float) -> Drawn:
        line = self._list.lines[position]
        if line.group is not None:
            folded = line.key in self._list.collapsed
            cells = group_cells(line.group, folded, self._widths, self._names)
        else:
            cells = run_cells(line, self._widths, now, self._names)
        return line.key, position == self._list.cursor, self._list.is_marked(line), self.has_focus, cells

    def _base(self, drawn: Drawn) -> Style:
        key, at_cursor, marked, _, _ = drawn
        if at_cursor:
            return self.get_component_rich_style("run-table--cursor")
        if marked:
            return self.get_component_rich_style("run-table--marked")
        return self.get_component_rich_style("run-table--group") if ":" in key else self.rich_style
