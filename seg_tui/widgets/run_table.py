"""The table of runs: as long as there are runs, drawn only where it is seen and only where it changed.

Textual's DataTable measures every cell and repaints as a whole. This one draws lines on Textual's Line API.
What the lines are is in `seg_tui.run_list`, how one looks in `run_lines`, what there is room for in
`table_columns`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.store import Sibling
from seg_tui.live import Snapshot
from seg_tui.run_list import RunList
from seg_tui.run_order import neighbour
from seg_tui.widgets.column_widths import fitted
from seg_tui.widgets.columns import Cell
from seg_tui.widgets.run_lines import MARK_CELLS, column_at, head_strip, line_strip
from seg_tui.widgets.table_columns import TableColumns

Drawn = tuple[str, bool, bool, bool, tuple[Cell, ...]]
"""What a line shows: its key, cursor or not, marked or not, focused or not, its cells."""


class RunTable(ScrollView, can_focus=True):
    """All runs of a snapshot, one a line, under a head that stays.

    `runs` is to be read; `change` changes it.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "run-table--head",
        "run-table--cursor",
        "run-table--group",
        "run-table--marked",
        "run-table--sign",
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
        &:focus > .run-table--cursor {
            background: $block-cursor-background; color: $block-cursor-foreground; text-style: bold;
        }
        & > .run-table--cursor { background: $surface-lighten-2; color: $foreground; }
        & > .run-table--head { background: $surface; color: $text-muted; text-style: bold; }
        & > .run-table--group { background: $surface; text-style: bold; }
        & > .run-table--marked { background: $surface; text-style: bold; }
        & > .run-table--sign { color: $text-accent; text-style: bold; }
        &:ansi > .run-table--cursor { text-style: reverse; }
        &:ansi:focus > .run-table--cursor { background: $primary; color: $background; }
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

    class FactsWanted(Message):
        """Lines are on the screen of which more is to be read: the `curves` of runs that have ended, and the
        configs of `strangers`, of which it is not known yet what tells them apart; both by id."""

        def __init__(self, curves: Sequence[str], strangers: Sequence[str]) -> None:
            super().__init__()
            self.curves, self.strangers = curves, strangers

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, RunTable.FactsWanted)

    class Changed(Message):
        """Marks, order, grouping or following are others now."""

    def __init__(self, now: Callable[[], float] = time.time, id: str | None = None) -> None:
        super().__init__(id=id)
        self.runs = RunList()
        self.columns = TableColumns()
        self._now = now
        self._drawn: dict[int, Drawn] = {}
        self._told = ""
        self._empty: tuple[str, ...] = ()
        self._asked: tuple[Sequence[str], Sequence[str]] = (), ()

    # ------------------------------------------------------------------ what it shows

    def show(self, snapshot: Snapshot, matching: frozenset[str] | None, empty: Sequence[str] = ()) -> None:
        """Take a new snapshot, and the ids that meet the filter (None: there is no filter); `empty` are the
        lines that stand in the place of runs where none does."""
        if tuple(empty) != self._empty:
            self._empty = tuple(empty)
            self.refresh()
        changed = snapshot.changed_since(self.runs.snapshot)
        self.columns.see(snapshot, changed)
        if self.columns.learn(snapshot.runs[run_id] for run_id in changed):
            self._fit()
        with self._steady():
            self.runs.show(snapshot, changed, matching)

    def change(self, how: Callable[[RunList], None]) -> None:
        """Let `how` change marks, order, groups or following; the screen stays as steady as it can."""
        with self._steady():
            how(self.runs)
            self._fit()
        self.refresh(Region(0, 0, self.size.width, 1))
        self.post_message(self.Changed())

    def choose_columns(self, keys: Iterable[str]) -> None:
        self.runs.columns = tuple(keys)
        self.columns.choose(self.runs.columns)
        self.columns.learn(self.runs.snapshot.runs.values())
        self._fit()

    def put_cursor(self, key: str) -> None:
        """Put the cursor on a run, or on the head of a group, when the table shows it; else once it does."""
        self.runs.want(key)
        self._cursor_moved()

    def tick(self) -> None:
        """Repaint the visible lines that would show something else now, such as another age."""
        self.columns.seen.now = self._now()
        top = self.scroll_offset.y
        for y in range(1, self.size.height):
            position = top + y - 1
            drawn = self._line(position) if position < len(self.runs.lines) else None
            if drawn != self._drawn.get(y):
                self.refresh(Region(0, y, self.size.width, 1))
        visible = self.runs.lines[top : top + self._page]
        asked = self.columns.lacking(line.run for line in visible if line.run is not None)
        if asked != self._asked:
            self._asked = asked  # also that nothing is lacking: the same may be again, when a run has changed
            if any(asked):
                self.post_message(self.FactsWanted(*asked))

    def take_facts(self, curves: Mapping[str, str], siblings: Sequence[Sibling]) -> None:
        """Show what was read since `FactsWanted`."""
        runs = self.runs.snapshot.runs
        if self.columns.take(curves, siblings) and self.columns.learn(
            runs[one.id] for one in siblings if one.id in runs
        ):
            self._fit()
        self.tick()

    def ask_again(self) -> None:
        """What was asked for by `FactsWanted` could not be read: the next tick asks once more."""
        self._asked = (), ()

    # ------------------------------------------------------------------ room, scroll and cursor

    @contextmanager
    def _steady(self) -> Iterator[None]:
        """Around all that may make the lines anew: what is under the cursor stays at its height of the
        screen, and what looks otherwise is repainted."""
        before, cursor, top = self.runs.lines, self.runs.cursor, self.scroll_offset.y
        yield
        if self.runs.lines is before:
            self.tick() if self.runs.cursor == cursor else self._cursor_moved()
            return
        # Set only when it differs: it makes Textual lay out the screen anew.
        size = Size(0, len(self.runs.lines) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        untouched = top == 0 and cursor == 0
        if before and not untouched:
            if top <= cursor < top + self._page:
                wanted = self.runs.cursor - (cursor - top)
            else:
                wanted = neighbour(before, min(top, len(before) - 1), self.runs.positions)
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
        run = self.runs.cursor_run
        run_id = run.id if run else ""
        if run_id != self._told:
            self._told = run_id
            self.post_message(self.CursorMoved(run_id))

    def _show_cursor(self) -> None:
        top, cursor = self.scroll_offset.y, self.runs.cursor
        if cursor < top:
            self.scroll_to(y=cursor, animate=False, immediate=True)
        elif cursor >= top + self._page:
            self.scroll_to(y=cursor - self._page + 1, animate=False, immediate=True)

    def _fit(self) -> None:
        room = self.scrollable_content_region.width - MARK_CELLS - 1  # a blank before the pane
        if self.columns.fit(room, self.runs.grouping):
            self._drawn.clear()
            self.refresh()

    # ------------------------------------------------------------------ keys and the mouse

    def _move_by_hand(self, position: int) -> None:
        if self.runs.following:
            self.runs.following = False
            self.post_message(self.Changed())
        self.runs.go_to(position)
        self._cursor_moved()

    def action_move(self, lines: int) -> None:
        self._move_by_hand(self.runs.cursor + lines)

    def action_page(self, pages: int) -> None:
        self._move_by_hand(self.runs.cursor + pages * self._page)

    def action_edge(self, last: bool) -> None:
        self._move_by_hand(len(self.runs.lines) - 1 if last else 0)

    def action_fold(self, fold: bool) -> None:
        """Fold or unfold the group under the cursor; from a run in it, folding goes to its head."""
        self.change(lambda runs: runs.fold(fold))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            column = column_at(offset.x, self.columns.widths)
            if column is not None:
                self.post_message(self.SortWanted(column.key))
            return
        position = self.scroll_offset.y + offset.y - 1
        if position < len(self.runs.lines):
            line = self.runs.lines[position]
            self._move_by_hand(position)
            if line.group is not None:
                self.change(RunList.toggle_fold)
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
            return head_strip(self.columns.widths, self.runs.order, style).adjust_cell_length(width, style)
        position = self.scroll_offset.y + y - 1
        if position >= len(self.runs.lines):
            self._drawn.pop(y, None)
            told = self._empty[y - 2] if not self.runs.lines and 0 <= y - 2 < len(self._empty) else ""
            text = fitted(" " * MARK_CELLS + told, width) if told else " " * width
            return Strip([Segment(text, self.rich_style)], width)
        drawn = self._line(position)
        self._drawn[y] = drawn
        _, at_cursor, marked, _, cells = drawn
        base = self._base(drawn)
        sign = base if at_cursor else base + self.get_component_rich_style("run-table--sign", partial=True)
        strip = line_strip(cells, self.columns.widths, base, sign if marked else None, at_cursor)
        return strip.adjust_cell_length(width, base)

    def _line(self, position: int) -> Drawn:
        line = self.runs.lines[position]
        cells = self.columns.cells(line, self.runs.collapsed)
        return line.key, position == self.runs.cursor, self.runs.is_marked(line), self.has_focus, cells

    def _base(self, drawn: Drawn) -> Style:
        key, at_cursor, marked, _, _ = drawn
        if at_cursor:
            return self.get_component_rich_style("run-table--cursor")
        if marked:
            return self.get_component_rich_style("run-table--marked")
        return self.get_component_rich_style("run-table--group") if ":" in key else self.rich_style
