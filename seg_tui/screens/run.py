"""The run screen: everything of one run, live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import TabbedContent, TabPane

from engine.report.reproduction import reproduction_line
from engine.report.run import failure, heading
from engine.report.run_facts import facts
from engine.run.directory import RunDir
from engine.run.telemetry import Sample, read_samples
from engine.store import RunRow, RunSummary, StoreError
from engine.tasks import TASKS, USUAL
from seg_tui.acting import Acting
from seg_tui.detail import Detail, Results, load_detail, load_results
from seg_tui.live import Snapshot
from seg_tui.run_text import (
    FileEntry,
    config_text,
    events_text,
    files_text,
    images_text,
    list_files,
    page_of,
    results_text,
)
from seg_tui.series import Score, epochs_in_order
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.chart_grid import ChartGrid, LoadGrid
from seg_tui.widgets.class_table import ClassTable, Scored
from seg_tui.widgets.clipped import Clipped
from seg_tui.widgets.log_pager import LogPager
from seg_tui.widgets.panes import pane
from seg_tui.widgets.text_pane import TextPane

MOST_OF_HEADING = 6
"""So many lines above the tabs say how the run fares and what people call it."""

TICK_SECONDS = 1.0
"""How often heartbeat and log are looked at while the run is under way."""

TABS = {
    "curves": "Curves",
    "classes": "Classes",
    "images": "Images",
    "results": "Results",
    "events": "Events",
    "log": "Log",
    "failure": "Failure",
    "config": "Config",
    "files": "Files",
    "system": "System",
    "load": "Load",
}
OF_TASKS = ("curves", "classes", "images", "results")
"""Tabs that a run has only where its task shows something in them."""
SPEEDS = (
    Score("images_per_second", "images/s"),
    Score("data_wait", "waits for data, %", ("train",), 100),
    Score("peak_memory_bytes", "peak memory, MiB", ("train",), 2**-20),
)


class RunRead(Message):
    """The run was read, and what only some tabs show; None when it was not asked for."""

    def __init__(
        self,
        detail: Detail,
        files: tuple[FileEntry, ...] | None,
        samples: tuple[Sample, ...] | None,
        results: Results | None,
    ) -> None:
        super().__init__()
        self.detail, self.files, self.samples, self.results = detail, files, samples, results


class RunUnreadable(Message):
    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem


class RunScreen(Acting):
    """One run. A failed one opens at its traceback."""

    DEFAULT_CSS = """
    RunScreen {
        & #run-heading { padding: 0 1; }
        & TabbedContent { height: 1fr; }
        & TabPane { padding: 0; height: 1fr; }
        & ContentSwitcher { height: 1fr; }
        & #system-facts { height: auto; max-height: 60%; }
        & #system-page { height: 1fr; }
        &.-wide #speeds { grid-size: 3; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", key_display="esc"),
        Binding("q", "back", "back", show=False),
        Binding("v", "tab(1)", "next tab", tooltip="Next tab; 1 to 9 select one"),
        Binding("s", "stop", "stop", tooltip="Stop after the step, with a checkpoint"),
        Binding("r", "resume", "resume", tooltip="Requeue a stopped, failed or lost run; it resumes"),
        Binding(
            "x",
            "menu",
            "do…",
            tooltip="Evaluate, sweep, pause, rename, move, archive, protect: by name",
        ),
        Binding("p", "preview", "preview", tooltip="The run's predictions"),
        Binding("l", "to_tab('log')", "log", tooltip="The run's log"),
        Binding("R", "rerun", "rerun", tooltip="New run with this config"),
        Binding("d", "delete", "delete", tooltip="Delete the run with its files; asks first"),
        Binding("t", "tag", "tag", tooltip="Edit the tags"),
        Binding("o", "note", "note", tooltip="Edit the note"),
        Binding(
            "z", "undo", "undo", tooltip="Undo changes of tags, note, name, experiment, archive, protection"
        ),
        Binding("f", "folder", "folder", tooltip="Show the run's folder and copy its path"),
        Binding("y", "copy_id", "copy id", tooltip="Copy the run's id"),
        Binding("question_mark", "app.help", "help", key_display="?", tooltip="All keys"),
        *(Binding(str(place), f"nth_tab({place})", "", show=False) for place in range(1, 10)),
    ]

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id
        self.detail: Detail | None = None
        self.files: tuple[FileEntry, ...] | None = None
        self.samples: tuple[Sample, ...] = ()
        self.results: Results | None = None
        self._summary: RunSummary | None = None
        self._reading = self._read_again = False

    @property
    def run_dir(self) -> RunDir:
        return self.tui.workspace.run_dir(self.run_id)

    def targets(self) -> Sequence[RunSummary]:
        run = self.tui.snapshot.runs.get(self.run_id)
        return [] if run is None else [run]

    def compose(self) -> ComposeResult:
        run = self.tui.snapshot.runs.get(self.run_id)
        yield TitleBar()
        yield TroubleLine()
        yield pane(Clipped(MOST_OF_HEADING, id="run-heading"), "Status")
        with TabbedContent(initial=_first_tab(run)):
            with TabPane(TABS["curves"], id="curves"):
                yield ChartGrid()
            with TabPane(TABS["classes"], id="classes"):
                yield pane(ClassTable(id="class-table"), "Dice of each class")
            with TabPane(TABS["images"], id="images"):
                yield pane(TextPane(id="images-text"), "Images by Dice")
            with TabPane(TABS["results"], id="results"):
                yield pane(TextPane(id="results-text"), "What was measured")
            with TabPane(TABS["events"], id="events"):
                yield pane(TextPane(id="events-text"), "What happened")
            with TabPane(TABS["log"], id="log"):
                yield pane(LogPager(self.run_dir.log), self.run_dir.log.name, around_focus=True)
            with TabPane(TABS["failure"], id="failure"):
                yield pane(TextPane(id="failure-text", classes="wide"), "Why it failed")
            with TabPane(TABS["config"], id="config"):
                yield pane(TextPane(id="config-text"), "Every key")
            with TabPane(TABS["files"], id="files"):
                yield pane(TextPane(id="files-text"), "Files")
            with TabPane(TABS["system"], id="system"), Vertical(id="system-page"):
                yield pane(TextPane(id="system-facts"), "Device, data and time")
                yield ChartGrid(SPEEDS, id="speeds")
            with TabPane(TABS["load"], id="load"):
                yield LoadGrid()
        yield KeyBar(2)

    def on_mount(self) -> None:
        name = self._run_name()
        self.query_one(TitleBar).say(f"run {name}", self.run_id)
        self._summary = self.tui.snapshot.runs.get(self.run_id)
        self._offer_tabs(self._summary)
        self.watch(self.app, "snapshot", self._on_snapshot, init=False)
        self.set_interval(TICK_SECONDS, self._tick)
        self.read()

    def _run_name(self) -> str:
        run = self.tui.snapshot.runs.get(self.run_id)
        return run.name if run is not None else self.run_id

    # ------------------------------------------------------------------ reading

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        run = snapshot.runs.get(self.run_id)
        if run is None and self._summary is not None and snapshot.there:
            name, self._summary = self._summary.name, None
            self.once_on_top(lambda: self._leave(name))
        elif run is not self._summary or self.tab == "results":  # others measure its network
            self._summary = run
            self.read()

    def _leave(self, name: str) -> None:
        """The run is gone, unless its database was only rebuilt."""
        if self.run_id not in self.tui.snapshot.runs:
            self.notify(f"{name} no longer exists", severity="warning", markup=False)
            self.app.pop_screen()

    def _tick(self) -> None:
        """Heartbeat and log change without the database's knowing."""
        if self.detail is None or not self.detail.row.ended:
            self.read()
        if self.tab == "log":  # a worker may have its last words when its run has ended
            self.query_one(LogPager).refresh_end()

    def read(self) -> None:
        """Read the run in a thread; while that goes on, a further request waits for its end."""
        if self._reading:
            self._read_again = True
            return
        self._reading = True
        self._read(self.detail, self.tab)

    @work(thread=True, group="run")
    def _read(self, before: Detail | None, tab: str) -> None:
        try:
            store = self.tui.store.get()
            tui = self.tui
            detail = load_detail(store, tui.workspace, self.run_id, tui.snapshot.runs, before)
            files = list_files(self.run_dir) if tab == "files" else None
            samples = read_samples(self.run_dir.samples) if tab == "load" else None
            results = load_results(store, self.run_id) if tab == "results" else None
        except (StoreError, OSError) as error:
            self.post_message(RunUnreadable(str(error)))
        else:
            self.post_message(RunRead(detail, files, samples, results))

    @on(RunRead)
    def keep(self, message: RunRead) -> None:
        self.detail = message.detail
        self.files = message.files if message.files is not None else self.files
        self.samples = message.samples if message.samples is not None else self.samples
        self.results = message.results if message.results is not None else self.results
        self._offer_tabs(self.detail.row, bool(self.detail.reproduction))
        self._fill()
        self._read_done()

    @on(RunUnreadable)
    def tell_problem(self, message: RunUnreadable) -> None:
        self.query_one("#run-heading", Clipped).say(Text(message.problem, "bold red"))
        self._read_done()

    def _read_done(self) -> None:
        self._reading = False
        if self._read_again:
            self._read_again = False
            self.read()

    # ------------------------------------------------------------------ showing

    def _fill(self) -> None:
        """Show the detail in the heading and in the tab that is open; the others wait until they are."""
        detail = self.detail
        if detail is None:
            return
        page = page_of(detail, self.run_dir.path, self.tui.now())
        # Its first line, id and name, is in the title bar; the last may be a note of many lines.
        _, state, *lines = heading(page).split("\n")
        if page.reproduction is not None:
            lines.insert(0, reproduction_line(page.reproduction))
        elif isinstance(detail.reproduction, str) and detail.reproduction:
            lines.insert(0, Text(detail.reproduction, "yellow"))
        text = Text("\n").join([state, *lines])
        head = self.query_one("#run-heading", Clipped)
        if head.text != text.plain:
            head.say(text)
        row, palette = detail.row, self.tui.settings.curves
        match self.tab:
            case "curves":
                self.query_one("#curves ChartGrid", ChartGrid).show(detail.epochs, palette)
            case "classes":
                scored: list[Scored] = list(detail.evaluations)
                if not TASKS[row.task].evaluates:
                    scored = [epoch for epoch in epochs_in_order(detail.epochs) if epoch.split == "val"]
                self.query_one(ClassTable).show_classes(scored, row.best_epoch, row.colors)
            case "results" if self.results is not None:
                found, folder, now = self.results, self.run_dir.path, self.tui.now()
                self._text("results", lambda width: results_text(detail, found, folder, now, width))
            case "images":
                self._text("images", lambda width: images_text(detail, width))
            case "events":
                self._text("events", lambda width: events_text(detail.events, width))
            case "failure":
                # What went wrong is the last line of a traceback.
                self.query_one("#failure-text", TextPane).show(
                    lambda width: failure(row, width) or Text("the run has not failed", "dim"), at_end=True
                )
            case "config":
                self._text("config", lambda width: config_text(row, width))
            case "files" if self.files is not None:
                files = self.files
                self._text("files", lambda width: files_text(self.run_dir.path, files, width))
            case "system":
                self.query_one("#system-facts", TextPane).show(
                    lambda width: facts(row, page.epochs, page.events, page.now)
                )
                self.query_one("#speeds", ChartGrid).display = TASKS[row.task].learns
                self.query_one("#speeds", ChartGrid).show(detail.epochs, palette)
            case "load":
                self.query_one(LoadGrid).show(self.samples, palette)

    def _text(self, name: str, make: Callable[[int], Text]) -> None:
        self.query_one(f"#{name}-text", TextPane).show(make)

    def _offer_tabs(self, run: RunSummary | RunRow | None, reproduces: bool = False) -> None:
        """Only those that the run can have something in: what looks at another's network has no epochs."""
        tabs = self.query_one(TabbedContent)
        shown = TASKS[USUAL if run is None else run.task].tabs
        offered = {"failure": _has_failed(run), **{name: name in shown for name in OF_TASKS}}
        offered["results"] |= reproduces
        for name, is_offered in offered.items():
            if is_offered:
                tabs.show_tab(name)
            else:
                tabs.hide_tab(name)

    # ------------------------------------------------------------------ tabs

    @property
    def tab(self) -> str:
        """The id of the tab that is open."""
        return self.query_one(TabbedContent).active

    @on(TabbedContent.TabActivated)
    def fill_tab(self) -> None:
        self._fill()
        if self.tab in ("files", "load", "results"):
            self.read()
        focusable = {
            "curves": "#curves Chart",
            "classes": "#class-table",
            "log": "LogLines",
            "system": "#system-facts",
            "load": "LoadGrid Chart",
        }
        found = self.query(focusable.get(self.tab, f"#{self.tab}-text"))
        seen = [widget for widget in found if not widget.has_class("vacant")]
        (seen or [found.first()])[0].focus(scroll_visible=False)

    def action_to_tab(self, tab: str) -> None:
        self.query_one(TabbedContent).active = tab

    def action_nth_tab(self, place: int) -> None:
        shown = self._shown_tabs()
        if place <= len(shown):
            self.action_to_tab(shown[place - 1])

    def action_tab(self, by: int) -> None:
        shown = self._shown_tabs()
        self.action_to_tab(shown[(shown.index(self.tab) + by) % len(shown)])

    def _shown_tabs(self) -> list[str]:
        tabs = self.query_one(TabbedContent)
        return [
            pane.id for pane in tabs.query(TabPane) if pane.id is not None and tabs.get_tab(pane.id).display
        ]

    def action_back(self) -> None:
        self.app.pop_screen()


def _has_failed(run: RunSummary | RunRow | None) -> bool:
    return run is not None and run.status in ("failed", "lost")


def _first_tab(run: RunSummary | None) -> str:
    """A failed run opens at its traceback, others at what they are for."""
    if _has_failed(run):
        return "failure"
    return TASKS[USUAL if run is None else run.task].first_tab
