"""Which columns a table of runs has room for and how wide each is, as its runs need it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rich.cells import cell_len

from engine.report.short_names import ShortNames
from engine.store import RunSummary
from engine.tasks import USUAL
from seg_tui.run_order import Grouping, Line
from seg_tui.widgets.columns import COLUMNS, Cell, Column, widths_for
from seg_tui.widgets.run_lines import INDENT, group_cells, run_cells

SPREAD = "AUROC 0.0000 ± 0.0000"
"""The widest outcome of a group."""


class TableColumns:
    """The columns of one table. `widths` has those that are shown, each with its width in characters."""

    def __init__(self) -> None:
        self.widths: list[tuple[Column, int]] = []
        self._chosen: tuple[Column, ...] = COLUMNS
        self._longest: dict[str, int] = {}
        self._names = ShortNames()
        self._only_trains = True

    @property
    def titles(self) -> list[str]:
        """Of the columns that there is room for."""
        return [column.title for column, _ in self.widths]

    def choose(self, keys: Iterable[str]) -> None:
        """Show these columns at most."""
        wanted = set(keys)
        self._chosen = tuple(column for column in COLUMNS if column.key in wanted)

    def learn(self, runs: Iterable[RunSummary]) -> bool:
        """Learn from new runs how wide the growing columns would like to be, and which names there are.

        Returns whether the widths may have to change.
        """
        growing = [column for column in self._chosen if column.grow]
        grown = False
        for run in runs:
            if self._only_trains and run.task != USUAL:
                self._only_trains, grown = False, True
            for column in growing:
                text = column.cell(run, 0.0)[0]
                if column.key == "name":
                    self._names.add(text)
                width = len(text) if text.isascii() else cell_len(text)
                if width > self._longest.get(column.key, 0):
                    self._longest[column.key] = width
                    grown = True
        return grown

    def fit(self, room: int, grouping: Grouping) -> bool:
        """Share out `room` characters; returns whether the widths have changed."""
        longest = dict(self._longest)
        if grouping:
            longest["name"] = longest.get("name", 0) + len(INDENT)
            longest["best"] = max(longest.get("best", 0), len(SPREAD))
        # That all runs train need not be said of each.
        columns = [c for c in self._chosen if c.key != "task" or not self._only_trains]
        before, self.widths = self.widths, widths_for(columns, room, longest) if room > 0 else []
        return self.widths != before

    def cells(self, line: Line, collapsed: Collection[str], now: float) -> tuple[Cell, ...]:
        """The cells of a line at a time in UTC seconds; the groups of the keys `collapsed` are folded."""
        if line.group is not None:
            return group_cells(line.group, line.key in collapsed, self.widths, self._names)
        return run_cells(line, self.widths, now, self._names)
