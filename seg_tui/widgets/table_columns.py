"""Which columns a table of runs has room for and how wide each is, as its runs need it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from rich.cells import cell_len

from engine.report.short_names import ShortNames
from engine.report.waiting import waits_of
from engine.store import RunSummary, Sibling
from engine.tasks import TASKS, USUAL
from seg_tui.live import Snapshot
from seg_tui.run_order import Grouping, Line
from seg_tui.widgets.column_widths import TELLING_RANK, Lengths, fitted, widths_for
from seg_tui.widgets.columns import BY_KEY, COLUMNS, Cell, Column, Seen, column_named
from seg_tui.widgets.run_lines import INDENT, group_cells, run_cells

SPREAD = "AUROC 0.0000 ± 0.0000"
"""The widest outcome of a group."""


BRIEF_CHANGES = 20
"""So much of what differs is shown before columns that are of less use."""

LEAST_CHANGES = 8
"""So much is shown of what differs besides the seed, or it is cut at its end."""


def _is_in_name(name: str, changes: str) -> bool:
    """Whether a name tells all values in which a run differs."""
    return all(part.partition("=")[2] in name for part in changes.split())


def _brief_changes(run: RunSummary, text: str) -> str:
    """No more than is needed to tell runs apart whose names do not."""
    return "" if _is_in_name(run.name, text) else text[:BRIEF_CHANGES]


def _with_its_seed(run: RunSummary, text: str, width: int) -> str:
    """The changes, cut before the seed: it stands last, and may be all that tells repeats apart."""
    changes, _, seed = text.rpartition(" seed=")
    room = width - cell_len(f" seed={seed}")
    return text if cell_len(text) <= width or room < LEAST_CHANGES else f"{fitted(changes, room)} seed={seed}"


TELLING = replace(
    BY_KEY["recipe"], title="differs in", rank=TELLING_RANK, brief=_brief_changes, within=_with_its_seed
)
"""What tells runs apart whose names do not."""


class TableColumns:
    """The columns of one table. `widths` has those that are shown, each with its width in characters;
    `left_out` the keys of those that there is no room for; `seen` what its lines tell besides the summaries
    of runs."""

    def __init__(self) -> None:
        self.widths: list[tuple[Column, int]] = []
        self.left_out: tuple[str, ...] = ()
        self._curves: dict[str, str] = {}
        self.seen = Seen(curves=self._curves)
        self._chosen: tuple[Column, ...] = COLUMNS
        self._lengths = Lengths()
        self._names = ShortNames()
        self._only_trains = True
        self._has_trials = False
        self._names_tell = True
        self._seen_alike: dict[str, set[Hashable]] = {}

    @property
    def titles(self) -> list[str]:
        """Of the columns that there is room for."""
        return [column.title for column, _ in self.widths]

    def choose(self, keys: Iterable[str]) -> None:
        """Show these columns at most, in this order. Raises StoreError for a name that means nothing."""
        self._chosen = tuple(map(column_named, keys))

    def see(self, snapshot: Snapshot, changed: Iterable[str]) -> None:
        """Take a new snapshot, with the ids that are new or changed in it."""
        for run_id in changed:
            self._curves.pop(run_id, None)
        waits = waits_of(snapshot.runs, snapshot.workspace, snapshot.has_agent, snapshot.holding)
        self.seen = replace(self.seen, waits=waits)

    def lacking(self, runs: Iterable[RunSummary]) -> tuple[list[str], list[str]]:
        """Of some runs those whose curves are not known, and those whose configs are not."""
        curves: list[str] = []
        strangers: list[str] = []
        for run in runs:
            if run.ended and run.epoch and run.id not in self._curves and TASKS[run.task].learns_classes:
                curves.append(run.id)
            if not self.seen.siblings.knows(run):
                strangers.append(run.id)
        return curves, strangers

    def take(self, curves: Mapping[str, str], siblings: Sequence[Sibling]) -> bool:
        """Know more curves and configs; returns whether there are new configs."""
        self._curves |= curves
        self.seen.siblings.learn(siblings)
        if siblings:
            self._seen_alike.pop(TELLING.key, None)
        text = self.seen.siblings.text
        self._names_tell = self._names_tell and all(_is_in_name(one.name, text(one)) for one in siblings)
        return bool(siblings)

    def learn(self, runs: Iterable[RunSummary]) -> bool:
        """Learn from new runs how wide the growing columns would like to be, and which names there are.

        Returns whether the widths may have to change.
        """
        runs = list(runs)
        before = self._only_trains, self._has_trials
        self._only_trains = self._only_trains and all(run.task == USUAL for run in runs)
        self._has_trials = self._has_trials or any(run.trial is not None for run in runs)
        grown = (self._only_trains, self._has_trials) != before
        for column in self._chosen:
            if not column.grow:
                continue
            brief = TELLING.brief if column.key == TELLING.key else column.brief
            for run in self._unlike(column, runs):
                text = column.cell(run, self.seen)[0]
                if column.key == "name":
                    self._names.add(text)
                grown |= _learn(self._lengths.whole, column.key, text)
                if brief is not None:
                    grown |= _learn(self._lengths.brief, column.key, brief(run, text))
        return grown

    def _unlike(self, column: Column, runs: Collection[RunSummary]) -> Collection[RunSummary]:
        """Of some runs those whose texts in a column may be of another width than all so far."""
        if column.alike is None:
            return runs
        known = self._seen_alike.setdefault(column.key, set())
        fresh = {alike: run for run in runs if (alike := column.alike(run)) not in known}
        known |= fresh.keys()
        return fresh.values()

    def fit(self, room: int, grouping: Grouping) -> bool:
        """Share out `room` characters; returns whether the widths have changed."""
        lengths = self._lengths
        if grouping:
            lengths = Lengths({**lengths.whole}, {**lengths.brief})
            for known in (lengths.whole, lengths.brief):
                known["name"] = known.get("name", 0) + len(INDENT)
                known["best"] = max(known.get("best", 0), len(SPREAD))
        # That all runs train, or that none is a trial, need not be said of each.
        says = {"task": not self._only_trains, "trial": self._has_trials}
        columns = [column for column in self._chosen if says.get(column.key, True)]
        if not self._names_tell:
            columns = [TELLING if column.key == TELLING.key else column for column in columns]
        before, self.widths = self.widths, widths_for(columns, room, lengths) if room > 0 else []
        shown = {column.key for column, _ in self.widths}
        self.left_out = tuple(column.key for column in columns if column.key not in shown)
        return self.widths != before

    def cells(self, line: Line, collapsed: Collection[str]) -> tuple[Cell, ...]:
        """The cells of a line; the groups of the keys `collapsed` are folded."""
        if line.group is not None:
            return group_cells(line.group, line.key in collapsed, self.widths, self.seen, self._names)
        return run_cells(line, self.widths, self.seen, self._names)


def _learn(longest: dict[str, int], key: str, text: str) -> bool:
    """Whether this is the longest text of a column so far."""
    width = len(text) if text.isascii() else cell_len(text)
    if width <= longest.get(key, 0):
        return False
    longest[key] = width
    return True
