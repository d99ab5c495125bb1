"""The dashboard: all runs, the one under the cursor at a glance, the devices, and what can be done to runs.

The keys; the same key means the same on every screen:

    n new                s stop             r resume           R rerun with edits
    enter open           p preview          c compare          l log
    d delete             t tag              o note             f folder            y copy id
    space mark           a mark all         u unmark
    / filter             S sort by          < > sort by the column beside           i other way round
    g group              left right fold    F follow latest
    v next view          V side pane        A start an agent
    f2 settings          ? help             q quit
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static
from textual.worker import get_current_worker

from engine.store import RunSummary, StoreError
from seg_tui.acting import Acting
from seg_tui.detail import Detail, load_detail
from seg_tui.live import Snapshot
from seg_tui.run_list import RunList
from seg_tui.run_order import GROUPINGS
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.columns import BY_KEY, COLUMNS, UNDER_WAY
from seg_tui.widgets.filter_line import FilterLine
from seg_tui.widgets.meters import Meters
from seg_tui.widgets.run_pane import VIEWS, RunPane
from seg_tui.widgets.run_table import RunTable

BESIDE_COLUMNS = 110
"""From this width on the pane is beside the table, else below it."""

SETTLE_SECONDS = 0.12
"""How long the cursor rests on a run before that is read."""

TICK_SECONDS = 2.0
"""How often ages and heartbeats are looked at while nothing else happens."""

HOW_TO_SEE_RUNS = "escape clears the filter, / edits it"


class DetailLoaded(Message):
    """The run under the cursor was read; `detail` is None when it could not be, and `problem` says why."""

    def __init__(self, run_id: str, detail: Detail | None, problem: str = "") -> None:
        super().__init__()
        self.run_id, self.detail, self.problem = run_id, detail, problem

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, DetailLoaded)


class Dashboard(Acting, Screen[None]):
    """All runs of the workspace."""

    DEFAULT_CSS = """
    Dashboard {
        & > #body { height: 1fr; layout: horizontal; }
        & > #body > #table-side { width: 1fr; height: 1fr; }
        & #empty { display: none; height: 1fr; color: $text-muted; padding: 1 2; }
        &.no-runs #empty { display: block; }
        &.no-runs RunTable, &.no-runs RunPane { display: none; }
        & > KeyBar { min-height: 2; }
        &.below > #body { layout: vertical; }
        &.no-pane RunPane { display: none; }
    }
    """
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
        Binding("p", "preview", "preview", tooltip="Predictions of the marked runs or of this one"),
        Binding("c", "compare", "compare", tooltip="Compare the marked runs"),
        Binding("space", "mark", "mark", key_display="space", tooltip="Mark a run, or all of a group"),
        Binding("slash", "filter", "filter", key_display="/", tooltip="Show only runs that match a query"),
        Binding("S", "sort", "sort", tooltip="Choose the sort column; or click its header"),
        Binding("g", "group", "group", tooltip="Group by experiment, by all but the seed, or not"),
        Binding("l", "log", "log", tooltip="The run's log"),
        Binding("R", "rerun", "rerun", tooltip="New run with this config"),
        Binding("d", "delete", "delete", tooltip="Delete runs with their files; asks first"),
        Binding("t", "tag", "tag", tooltip="Edit the tags"),
        Binding("o", "note", "note", tooltip="Edit the note"),
        Binding("v", "view", "view", tooltip="Side pane: overview, classes, log, config"),
        Binding("V", "pane", "pane", tooltip="Show or hide the side pane"),
        Binding("a", "mark_all", "all", tooltip="Mark all runs that match the filter; again: none"),
        Binding("u", "unmark", "unmark", tooltip="Unmark all"),
        Binding("F", "follow", "follow", tooltip="Keep the cursor on the newest run"),
        Binding("f", "folder", "folder", tooltip="Show the run's folder and copy its path"),
        Binding("y", "copy_id", "copy id", tooltip="Copy the run's id"),
        Binding("i", "invert", "invert", tooltip="Reverse the sort order"),
        Binding(
            "less_than_sign",
            "sort_beside(-1)",
            "sort ←",
            key_display="<",
            tooltip="Sort by the previous column",
        ),
        Binding(
            "greater_than_sign",
            "sort_beside(1)",
            "sort →",
            key_display=">",
            tooltip="Sort by the next column",
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
        self._detail: Detail | None = None
        self._run_id = ""
        self._seen: RunSummary | None = None
        self._painted = 0.0

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        yield FilterLine(self.tui.store.get)
        with Container(id="body"):
            with Container(id="table-side"):
                yield RunTable(self._now, id="runs")
                yield Static("loading runs...", id="empty", markup=False)
            yield RunPane(id="pane")
        yield Meters()
        yield KeyBar()

    @property
    def table(self) -> RunTable:
        return self.query_one(RunTable)

    @property
    def filter(self) -> FilterLine:
        return self.query_one(FilterLine)

    @property
    def pane(self) -> RunPane:
        return self.query_one(RunPane)

    def on_mount(self) -> None:
        settings = self.tui.settings
        self.add_class("no-runs")
        self.set_class(not settings.pane, "no-pane")
        self.table.choose_columns(settings.columns)
        self.table.change(lambda runs: runs.order_by(runs.order.with_active(settings.active_first)))
        self.table.focus()
        self.watch(self.app, "snapshot", self._show_snapshot)
        self.watch(self.app, "settings", self._obey, init=False)
        self.set_interval(TICK_SECONDS, self._tick)

    def on_resize(self, event: events.Resize) -> None:
        below = event.size.width < BESIDE_COLUMNS
        self.set_class(below, "below")
        self.pane.set_class(below, "below")

    # ------------------------------------------------------------------ what is there

    def _show_snapshot(self, snapshot: Snapshot) -> None:
        if not snapshot.at:
            return
        self._painted = time.monotonic()
        self.set_class(not snapshot.runs, "no-runs")
        if not snapshot.runs:
            self.query_one("#empty", Static).update(
                "No runs yet: press n to start one.  "
                "Runs started by `seg-engine` or another dashboard appear here."
            )
        self._show_runs(snapshot)
        self.filter.refresh_matches(snapshot)
        run = snapshot.runs.get(self._run_id)
        # Why a run waits depends on others.
        if run is not None and (run is not self._seen or run.status == "queued"):
            self._seen = run
            self._load(self._run_id)

    def _show_runs(self, snapshot: Snapshot) -> None:
        why = self.filter.why_none
        self.table.show(snapshot, self.filter.matching, (why, HOW_TO_SEE_RUNS) if why else ())
        self._say_title()

    def _tick(self) -> None:
        if time.monotonic() - self._painted < TICK_SECONDS / 2 or self.app.screen is not self:
            return
        self.table.tick()
        run = self.table.runs.cursor_run
        if run is not None and (run.status in UNDER_WAY or run.status == "queued"):
            self._load(run.id)

    def _say_title(self) -> None:
        runs = self.tui.snapshot.runs.values()
        active = sum(run.status in UNDER_WAY for run in runs)
        queued = sum(run.status == "queued" for run in runs)
        waits = self.tui.snapshot.unattended > 0
        marked, hidden = len(self.table.runs.marked), 0
        if marked:
            hidden = len(self.table.runs.marked - {run.id for run in self.table.runs.ordered})
        parts = [
            f"{marked} marked" + (f", {hidden} of them hidden" if hidden else "") if marked else "",
            "follows the newest" if self.table.runs.following else "",
            f"by {'all but the seed' if self.table.runs.grouping == 'variant' else self.table.runs.grouping}"
            if self.table.runs.grouping
            else "",
            f"{active} running" if active else "",
            f"{queued} queued" + (", no agent running: A starts one" if waits else "") if queued else "",
            "1 run" if len(runs) == 1 else f"{len(runs):,} runs",
        ]
        right = " · ".join(part for part in parts if part)
        self.query_one(TitleBar).say(str(self.tui.workspace.root), right)

    @on(RunTable.Changed)
    def _marks_changed(self) -> None:
        self._say_title()

    # ------------------------------------------------------------------ the run under the cursor

    @on(RunTable.CursorMoved)
    def _look_at(self, message: RunTable.CursorMoved) -> None:
        self._run_id = message.run_id
        self._seen = self.tui.snapshot.runs.get(message.run_id)
        if not message.run_id:
            self._detail = None
            self.pane.show(None, "no run selected")
            return
        if self._detail is None:
            self.call_after_refresh(self._load, message.run_id)  # the runs are to be seen first
        else:
            self._load(message.run_id, SETTLE_SECONDS)

    @work(thread=True, exclusive=True, group="detail")
    def _load(self, run_id: str, wait: float = 0.0) -> None:
        worker = get_current_worker()
        if wait:
            time.sleep(wait)
        if worker.is_cancelled:
            return
        before = self._detail if self._detail and self._detail.row.id == run_id else None
        try:
            tui = self.tui
            runs = tui.snapshot.runs
            detail = load_detail(tui.store.get(), tui.workspace, run_id, runs, before, glance=True)
        except (StoreError, OSError) as error:
            self.post_message(DetailLoaded(run_id, None, str(error)))
        else:
            self.post_message(DetailLoaded(run_id, detail))

    @on(DetailLoaded)
    def _show_detail(self, message: DetailLoaded) -> None:
        if message.run_id != self._run_id:
            return
        if message.detail is None and self.tui.trouble:
            return  # what is shown stays; the notice says why
        self._detail = message.detail
        self.pane.show(message.detail, message.problem, self.tui.settings.curves, self._now())

    # ------------------------------------------------------------------ filter and order

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a query is typed "/" is a letter of it."""
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

    def action_sort(self) -> None:
        from seg_tui.screens.dialogs import Pick

        def sort(column: str | None) -> None:
            if column is not None:
                self.table.change(lambda runs: runs.order_by(runs.order.by(column)))

        options = [(column.key, column.title) for column in COLUMNS]
        self.app.push_screen(
            Pick("Sort by; choose it again to reverse", options, self.table.runs.order.column), sort
        )

    @on(RunTable.SortWanted)
    def _sort_by(self, message: RunTable.SortWanted) -> None:
        self.table.change(lambda runs: runs.order_by(runs.order.by(message.column)))

    def action_sort_beside(self, step: int) -> None:
        keys = list(BY_KEY)
        beside = keys[(keys.index(self.table.runs.order.column) + step) % len(keys)]
        self.table.change(lambda runs: runs.order_by(runs.order.by(beside)))

    def action_invert(self) -> None:
        self.table.change(lambda runs: runs.order_by(runs.order.inverted()))

    def action_group(self) -> None:
        following = GROUPINGS[(GROUPINGS.index(self.table.runs.grouping) + 1) % len(GROUPINGS)]
        self.table.change(lambda runs: runs.group_by(following))

    def action_follow(self) -> None:
        self.table.change(lambda runs: runs.follow(not runs.following))

    # ------------------------------------------------------------------ marks and pane

    def action_mark(self) -> None:
        self.table.change(RunList.toggle_mark)

    def action_mark_all(self) -> None:
        self.table.change(RunList.toggle_all)

    def action_unmark(self) -> None:
        self.table.change(RunList.unmark)

    def action_view(self) -> None:
        self.set_class(False, "no-pane")
        self.pane.show_view(VIEWS[(VIEWS.index(self.pane.view) + 1) % len(VIEWS)])

    def action_pane(self) -> None:
        self.tui.change_settings(pane=self.has_class("no-pane"))

    def _obey(self) -> None:
        settings = self.tui.settings
        self.set_class(not settings.pane, "no-pane")
        self.table.choose_columns(settings.columns)
        if settings.active_first != self.table.runs.order.active_first:
            self.table.change(lambda runs: runs.order_by(runs.order.with_active(settings.active_first)))
        if self._detail is not None:
            self.pane.show(self._detail, "", settings.curves, self._now())

    # ------------------------------------------------------------------ to other screens

    def action_open(self) -> None:
        line = self.table.runs.cursor_line
        if line is not None and line.group is not None:
            self.table.change(RunList.toggle_fold)
        elif line is not None:
            self.tui.show_run(line.key)

    @on(RunTable.OpenWanted)
    def _open_clicked(self, message: RunTable.OpenWanted) -> None:
        self.tui.show_run(message.run_id)

    def targets(self) -> Sequence[RunSummary]:
        return self.table.runs.targets
