"""What a table of runs shows: order, groups, filter, marks and the cursor, without a screen.

It thinks in runs, not in positions: cursor and marks stay on their run while others come, go and change
places.
"""

from __future__ import annotations

from engine.store import RunSummary
from seg_tui.live import Snapshot
from seg_tui.run_order import GROUPINGS, Grouping, Line, Order, lines_of, neighbour
from seg_tui.widgets.columns import BY_KEY


class RunList:
    """The lines for one snapshot after the other.

    `ordered` has the runs that meet the filter, those of folded groups too; `lines` what is shown, another
    list whenever a line has moved; `cursor` is the position of a line.
    """

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.order = Order()
        self.grouping: Grouping = ""
        self.following = False
        self.marked: set[str] = set()
        self.ordered: list[RunSummary] = []
        self.lines: list[Line] = []
        self.positions: dict[str, int] = {}
        self.collapsed: set[str] = set()
        self.cursor = 0
        self.with_archived = False
        self.columns: tuple[str, ...] = tuple(BY_KEY)
        self._matching: frozenset[str] | None = None
        self._wanted = ""

    @property
    def cursor_line(self) -> Line | None:
        """The line under the cursor, None where there is none."""
        return self.lines[self.cursor] if self.lines else None

    @property
    def cursor_run(self) -> RunSummary | None:
        line = self.cursor_line
        return line.run if line else None

    @property
    def targets(self) -> list[RunSummary]:
        """The runs that an action is for: those marked, else the one under the cursor."""
        marked = [self.snapshot.runs[run_id] for run_id in self.marked]
        if marked:
            return self.order.sort(marked)
        line = self.cursor_line
        return [line.run] if line is not None and line.run is not None else []

    # ------------------------------------------------------------------ what there is

    def show(self, snapshot: Snapshot, changed: list[str], matching: frozenset[str] | None) -> None:
        """Take a new snapshot, with the ids that are new or changed in it, and the ids that meet the filter
        (None: there is no filter)."""
        before, filtered_before = self.snapshot, self._matching
        self.snapshot, self._matching = snapshot, matching
        gone = len(before.runs) + sum(run_id not in before.runs for run_id in changed) != len(snapshot.runs)
        if gone:
            self.marked &= snapshot.runs.keys()
        if matching != filtered_before or gone or not self._replace(before, changed):
            self.reorder()
        elif changed and self.grouping:
            self.rearrange()

    def _replace(self, before: Snapshot, changed: list[str]) -> bool:
        """Put changed runs where they were; returns False when one is new or belongs elsewhere now."""
        for run_id in changed:
            old, new = before.runs.get(run_id), self.snapshot.runs[run_id]
            if old is None or self.order.place(old) != self.order.place(new) or old.archived != new.archived:
                return False
            if self.grouping and getattr(old, self.grouping) != getattr(new, self.grouping):
                return False
        if changed and self.grouping:
            self.ordered = [self.snapshot.runs[run.id] for run in self.ordered]
            return True
        for run_id in changed:
            position = self.positions.get(run_id)
            if position is not None:
                self.ordered[position] = self.snapshot.runs[run_id]
                self.lines[position] = Line(run_id, self.snapshot.runs[run_id])
        return True

    def order_by(self, order: Order) -> None:
        self.order = order
        self.reorder()

    def sort_by(self, column: str) -> None:
        """Sort by a column; the other way round when it is that already."""
        self.order_by(self.order.by(column))

    def sort_beside(self, step: int) -> None:
        """Sort by the column that many places further, the first after the last."""
        keys = list(self.columns)
        here = keys.index(self.order.column) if self.order.column in keys else 0
        self.sort_by(keys[(here + step) % len(keys)])

    def invert(self) -> None:
        self.order_by(self.order.inverted())

    def reorder(self) -> None:
        """Sort and filter anew, then make the lines."""
        runs = self.snapshot.runs.values()
        matching, archived_too = self._matching, self.with_archived
        shown = (run for run in runs if archived_too or not run.archived)
        self.ordered = self.order.sort(
            shown if matching is None else (run for run in shown if run.id in matching)
        )
        self.rearrange()

    def toggle_archived(self) -> None:
        """List archived runs, too, or leave them out again."""
        self.with_archived = not self.with_archived
        self.reorder()

    def rearrange(self) -> None:
        """Make the lines anew; the cursor stays on its run."""
        before = self.lines
        self.lines = lines_of(self.ordered, self.grouping, self.collapsed)
        self.positions = {line.key: position for position, line in enumerate(self.lines)}
        self.cursor = self._place_cursor(before)

    # ------------------------------------------------------------------ the cursor

    def go_to(self, position: int) -> None:
        """Put the cursor on a line, or on the nearest that there is."""
        if self.lines:
            self.cursor = max(0, min(position, len(self.lines) - 1))
            self._wanted = self.lines[self.cursor].key

    def want(self, key: str) -> None:
        """Put the cursor on a run or the head of a group when it is shown; else once it is."""
        self._wanted = key
        self.cursor = self.positions.get(key, self.cursor)

    def toggle_follow(self) -> None:
        """Keep the cursor on the newest run, or not any more."""
        self.following = not self.following
        self.rearrange()

    def _place_cursor(self, before: list[Line]) -> int:
        """Where the wanted line is now; while a filter or a fold hides it, where its nearest is."""
        if self.following and self.ordered:
            self._wanted = max(self.ordered, key=lambda run: (run.created_at, run.id)).id
        if self._wanted in self.positions:
            return self.positions[self._wanted]
        run = self.snapshot.runs.get(self._wanted)
        if run is not None and self.grouping:
            head = f"{self.grouping}:{getattr(run, self.grouping)}"
            if head in self.positions:
                return self.positions[head]
        place = neighbour(before, self.cursor, self.positions)
        if run is None and self.lines:
            self._wanted = self.lines[place].key
        return place

    # ------------------------------------------------------------------ groups and marks

    def group_by(self, grouping: Grouping) -> None:
        self.grouping = grouping
        self.collapsed.clear()
        self.rearrange()

    def next_grouping(self) -> None:
        self.group_by(GROUPINGS[(GROUPINGS.index(self.grouping) + 1) % len(GROUPINGS)])

    def fold(self, fold: bool) -> None:
        """Fold or unfold the group under the cursor; from a run in it, folding goes to its head."""
        line = self.cursor_line
        if line is None or not self.grouping:
            return
        head = line.key if line.group else f"{self.grouping}:{getattr(line.run, self.grouping)}"
        if fold != (head in self.collapsed):
            (self.collapsed.add if fold else self.collapsed.discard)(head)
            self._wanted = head
            self.rearrange()

    def toggle_fold(self) -> None:
        """Fold or unfold the group whose head is under the cursor."""
        line = self.cursor_line
        if line is not None and line.group is not None:
            self.fold(line.key not in self.collapsed)

    def is_marked(self, line: Line) -> bool:
        """Whether a run is marked; of a group, whether all its runs are."""
        return _ids_of(line) <= self.marked

    def toggle_mark(self) -> None:
        """Mark what is under the cursor and go on to the next line; unmark it when it is marked."""
        if line := self.cursor_line:
            self._toggle(_ids_of(line))
            self.go_to(self.cursor + 1)

    def toggle_all(self) -> None:
        """Mark all runs that meet the filter; unmark them when all are marked."""
        self._toggle({run.id for run in self.ordered})

    def unmark(self) -> None:
        self.marked = set()

    def _toggle(self, ids: set[str]) -> None:
        self.marked = self.marked - ids if ids <= self.marked else self.marked | ids


def _ids_of(line: Line) -> set[str]:
    return {run.id for run in line.group.runs} if line.group else {line.key}
