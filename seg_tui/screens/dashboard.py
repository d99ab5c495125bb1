"""The dashboard: all runs, the one under the cursor at a glance, the devices, and what can be done to runs.

The keys; the same key means the same on every screen:

    n new                s stop             r resume           R rerun with edits
    enter open           p preview          c compare          l log
    d delete             t tag              o note             f folder            y copy id
    x menu: evaluate, ood, robustness, predict, sweep, pause, priority, rename, move, archive, protect
    z undo
    space mark           a mark all         u unmark
    / filter             S sort by          < > sort by the column beside           i other way round
    g group              left right fold    F follow latest
    v next view          V side pane        A start an agent
    f2 settings          f3 views           f4 columns       ? help             q quit
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.geometry import Size
from textual.widgets import Static

from engine.store import RunSummary
from seg_tui.acting import Acting
from seg_tui.live import Snapshot
from seg_tui.pane_reader import DetailLoaded, PaneReader
from seg_tui.row_reader import RowReader, RowsRead
from seg_tui.run_list import RunList
from seg_tui.standing import how_things_stand, why_empty
from seg_tui.table_views import TableViews
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.columns import column_named
from seg_tui.widgets.filter_line import FilterLine
from seg_tui.widgets.meters import Meters
from seg_tui.widgets.run_pane import VIEWS, RunPane
from seg_tui.widgets.run_table import RunTable

BESIDE_COLUMNS = 110
"""From this width on the pane is beside the table, else below it."""

LOW_LINES = 20
"""With fewer lines than this, runs come first: one line is left to the pane below them, one to the keys."""

TICK_SECONDS = 2.0
"""How often ages and heartbeats are looked at while nothing else happens."""


class Dashboard(Acting):
    """All runs of the workspace."""

    DEFAULT_CSS = """
    Dashboard {
        & > #body { height: 1fr; layout: horizontal; }
        & > #body > #table-side { width: 1fr; height: 1fr; }
        &.framed > #body > #table-side {
            border: round $foreground 21.4%; border-title-color: $foreground; border-title-style: bold;
        }
        & #empty { height: 1fr; color: $text-muted; padding: 1 2; }
        & > KeyBar { min-height: 2; }
        &.low > KeyBar { min-height: 1; }
        &.below > #body { layout: vertical; }
    }
    """
    # It has its own, and another class would style all of it anew at the start.
    HORIZONTAL_BREAKPOINTS = []  # noqa: RUF012
    VERTICAL_BREAKPOINTS = []  # noqa: RUF012
    AUTO_FOCUS = ""  # the table has the focus, and not for a moment the line of the filter
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "new", tooltip="New run"),
        Binding(
            "s",
            "stop",
            "stop",
            tooltip="Stop after the step, with a checkpoint; remove a queued run from the queue",
        ),
        Binding("r", "resume", "resume", tooltip="Requeue a stopped, failed or lost run; it resumes"),
        Binding("enter", "open", "open", tooltip="Open the run; on a group's header: fold it"),
        Binding(
            "x",
            "menu",
            "do…",
            tooltip="Evaluate, sweep, pause, rename, move, archive, protect: by name",
        ),
        Binding("p", "preview", "preview", tooltip="Predictions of the marked runs or of this one"),
        Binding("c", "compare", "compare", tooltip="Compare the marked runs"),
        Binding(
            "space",
            "runs('toggle_mark')",
            "mark",
            key_display="space",
            tooltip="Mark a run, or all of a group",
        ),
        Binding(
            "slash",
            "filter",
            "filter",
            key_display="/",
            tooltip="Show only runs that match a query",
            priority=True,  # what is typed right behind it is for the query, and no key of the table
        ),
        Binding("S", "sort", "sort", tooltip="Choose the sort column; or click its header"),
        Binding(
            "g", "runs('next_grouping')", "group", tooltip="Group by experiment, by all but the seed, or not"
        ),
        Binding("l", "log", "log", tooltip="The run's log"),
        Binding("R", "rerun", "rerun", tooltip="New run with this config"),
        Binding("d", "delete", "delete", tooltip="Delete runs with their files; asks first"),
        Binding("t", "tag", "tag", tooltip="Edit the tags"),
        Binding("o", "note", "note", tooltip="Edit the note"),
        Binding(
            "z", "undo", "undo", tooltip="Undo changes of tags, note, name, experiment, archive, protection"
        ),
        Binding("v", "view", "view", tooltip="Side pane: overview, classes, log, config"),
        Binding("V", "pane", "pane", tooltip="Show or hide the side pane"),
        Binding("a", "runs('toggle_all')", "all", tooltip="Mark all runs that match the filter; again: none"),
        Binding("u", "runs('unmark')", "unmark", tooltip="Unmark all"),
        Binding("F", "runs('toggle_follow')", "follow", tooltip="Keep the cursor on the newest run"),
        Binding("f", "folder", "folder", tooltip="Show the run's folder and copy its path"),
        Binding("y", "copy_id", "copy id", tooltip="Copy the run's id"),
        Binding("i", "runs('invert')", "invert", tooltip="Reverse the sort order"),
        Binding(
            "less_than_sign",
            "runs('sort_beside', -1)",
            "sort ←",
            key_display="<",
            tooltip="Sort by the previous column",
        ),
        Binding(
            "greater_than_sign",
            "runs('sort_beside', 1)",
            "sort →",
            key_display=">",
            tooltip="Sort by the next column",
        ),
        Binding("f3", "table_view", "views", tooltip="Saved views: columns, filter, order, groups"),
        Binding("f4", "columns", "columns", tooltip="Choose columns: config keys, tags, measurements"),
        Binding(
            "W",
            "explain",
            "why better",
            tooltip="What made the marked runs, a group, or all of this experiment, better",
        ),
        Binding("f2", "settings", "settings", tooltip="Theme, columns, refresh, curves, images"),
        Binding("question_mark", "app.help", "help", key_display="?", tooltip="All keys"),
        Binding("q", "app.quit", "quit", tooltip="Quit; runs continue"),
        Binding(
            "A",
            "agent",
            "agent",
            show=False,
            tooltip="Start an agent if none is running; it starts queued runs",
        ),
        Binding("escape", "back", "clear filter", show=False, tooltip="Close the filter; then unmark"),
    ]

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._now = now
        self._pane = RunPane(id="pane")
        self._reader = PaneReader(self._pane)
        self._table = RunTable(self._now, id="runs")
        self._nothing = Static("loading runs...", id="empty", markup=False)
        self._rows = RowReader(self._table)
        self._views = TableViews(self)
        self._has_runs, self._with_pane = False, True
        self._painted = 0.0

    def compose(self) -> ComposeResult:
        # A class of a screen that has widgets already styles them all anew.
        self._fit(self.app.size)
        yield TitleBar()
        yield TroubleLine()
        yield FilterLine(self.tui.store.get)
        with Container(id="body"):
            with Container(id="table-side") as side:
                side.border_title = "Runs"
                yield self._table
                yield self._nothing
            yield self._pane
        yield Meters()
        yield KeyBar()
        self._show_parts()

    @property
    def table(self) -> RunTable:
        return self._table

    @property
    def filter(self) -> FilterLine:
        return self.query_one(FilterLine)

    def on_mount(self) -> None:
        self._obey()
        self._views.open()
        self._say_title()
        self.table.focus()
        if (early := self.tui.live.newest).runs:  # its message comes after the first frame
            self.tui.snapshot = early
        self.watch(self.app, "snapshot", self._show_snapshot)
        self.watch(self.app, "settings", self._obey, init=False)
        self.set_interval(TICK_SECONDS, self._tick)

    def on_resize(self, event: events.Resize) -> None:
        self._fit(event.size)
        self.query_one(KeyBar).allow(1 if self.has_class("low") else 2)

    def _fit(self, size: Size) -> None:
        """Arrange the parts for a screen of that size."""
        below, low = size.width < BESIDE_COLUMNS, size.height < LOW_LINES
        self.set_class(low, "low")
        self.set_class(not below and not low, "framed")
        for widget in (self, self._pane):
            widget.set_class(below, "below")
        self._pane.set_class(below and low, "low")

    def _show_parts(self) -> None:
        """Show the runs, with the pane where it is wanted; while there are none, what there is to say."""
        self._nothing.display = not self._has_runs
        self._table.display = self._has_runs
        self._pane.display = self._has_runs and self._with_pane

    # ------------------------------------------------------------------ what is there

    def _show_snapshot(self, snapshot: Snapshot) -> None:
        if not snapshot.at:
            return
        self._painted = time.monotonic()
        self._has_runs = bool(snapshot.runs)
        self._show_parts()
        if snapshot.runs and self.focused is None:  # it was lost with the last run
            self.table.focus()
        if not snapshot.runs:
            self._nothing.update(
                "No runs yet: press n to start one.  "
                "Runs started by `seg-engine` or another dashboard appear here."
            )
        self._show_runs(snapshot)
        self.filter.refresh_matches(snapshot)
        self._reader.see(snapshot)

    def _show_runs(self, snapshot: Snapshot) -> None:
        matching = self.filter.matching
        self.table.show(snapshot, matching, why_empty(snapshot, matching, self.filter.why_none))
        self._say_title()

    def _tick(self) -> None:
        if time.monotonic() - self._painted < TICK_SECONDS / 2 or self.app.screen is not self:
            return
        self.table.tick()
        self._reader.tick()

    @on(RunTable.Changed)
    def _say_title(self) -> None:
        stands = how_things_stand(
            self.tui.snapshot, self.table.runs, self._views.name, bool(self.tui.read_only)
        )
        self.query_one(TitleBar).say(str(self.tui.workspace.root), stands)

    # ------------------------------------------------------------------ the run under the cursor

    @on(RunTable.CursorMoved)
    def _look_at(self, message: RunTable.CursorMoved) -> None:
        self._reader.look_at(message.run_id)

    @on(DetailLoaded)
    def _show_detail(self, message: DetailLoaded) -> None:
        self._reader.show(message)

    # ------------------------------------------------------------------ filter and order

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a query is typed "/" is a letter of it."""
        if not super().check_action(action, parameters):
            return False
        return action != "filter" or not self.filter.has_focus_within

    def action_filter(self) -> None:
        self.filter.open()

    @on(FilterLine.Changed)
    def _filter_changed(self) -> None:
        self._show_runs(self.tui.snapshot)

    @on(FilterLine.Left)
    def _filter_left(self) -> None:
        self.table.focus()

    def action_back(self) -> None:
        """Close the filter; without one unmark."""
        if self.filter.is_open:
            self.filter.close()
        else:
            self.table.change(RunList.unmark)

    def action_runs(self, change: str, *how: int) -> None:
        """`change` names a method of the list of runs that changes marks, order, groups or following."""
        self.table.change(lambda runs: getattr(runs, change)(*how))

    def action_table_view(self) -> None:
        self._views.ask_view()

    def action_columns(self) -> None:
        self._views.ask_columns()

    def action_sort(self) -> None:
        from seg_tui.screens.dialogs import Pick

        def sort(column: str | None) -> None:
            if column is not None:
                self.table.change(lambda runs: runs.sort_by(column))

        options = [(name, column_named(name).title) for name in self.table.runs.columns]
        title = "Sort by; choose it again to reverse"
        self.app.push_screen(Pick(title, options, self.table.runs.order.column), sort)

    @on(RunTable.FactsWanted)
    def _read_rows(self, message: RunTable.FactsWanted) -> None:
        self._rows.read(message)

    @on(RowsRead)
    def _show_rows(self, message: RowsRead) -> None:
        self._rows.take(message)

    @on(RunTable.SortWanted)
    def _sort_by(self, message: RunTable.SortWanted) -> None:
        self.table.change(lambda runs: runs.sort_by(message.column))

    # ------------------------------------------------------------------ the side pane

    def action_view(self) -> None:
        if not self._with_pane:
            self.tui.change_settings(pane=True)
        self._pane.show_view(VIEWS[(VIEWS.index(self._pane.view) + 1) % len(VIEWS)])

    def action_pane(self) -> None:
        self.tui.change_settings(pane=not self._with_pane)

    def _show_pane(self, wanted: bool) -> None:
        self._with_pane = wanted
        self._show_parts()

    def _obey(self) -> None:
        settings = self.tui.settings
        self._show_pane(settings.pane)
        self._views.obey()
        if settings.active_first != self.table.runs.order.active_first:
            self.table.change(lambda runs: runs.order_by(runs.order.with_active(settings.active_first)))
        self._reader.show_again()

    # ------------------------------------------------------------------ to other screens

    def action_open(self) -> None:
        line = self.table.runs.cursor_line
        if line is not None and line.group is not None:
            self.table.change(RunList.toggle_fold)
        elif line is not None:
            self.tui.go_to.run(line.key)

    @on(RunTable.OpenWanted)
    def _open_clicked(self, message: RunTable.OpenWanted) -> None:
        self.tui.go_to.run(message.run_id)

    def action_explain(self) -> None:
        line = self.table.runs.cursor_line
        if line is not None and line.group is not None and not self.table.runs.marked:
            ids = [run.id for run in line.group.runs]
        elif len(ids := self._ids()) == 1:
            every = (
                run for run in self.tui.snapshot.runs.values() if self.shows_archived or not run.archived
            )
            ids = [run.id for run in every if run.experiment == self.targets()[0].experiment]
        if ids:
            self.tui.go_to.explanation(ids)

    def targets(self) -> Sequence[RunSummary]:
        return self.table.runs.targets

    # ------------------------------------------------------------------ archived runs

    @property
    def has_archived(self) -> bool:
        return any(run.archived for run in self.tui.snapshot.runs.values())

    @property
    def shows_archived(self) -> bool:
        return self.table.runs.with_archived

    def action_toggle_archived(self) -> None:
        self.table.change(RunList.toggle_archived)
