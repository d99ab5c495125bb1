"""The compare screen: two to twelve runs side by side, against a pinned baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static
from textual.worker import get_current_worker

from engine.report.compare import ComparedRun, Comparison
from engine.store import RunSummary
from seg_tui.acting import Acting
from seg_tui.compare.choice import Choice
from seg_tui.compare.drawing import Drawing
from seg_tui.compare.reading import Compared, NotCompared, compare_runs
from seg_tui.compare.tables import ComparedTables
from seg_tui.exports import ExportError, export_comparison
from seg_tui.live import Snapshot
from seg_tui.screens.dialogs import Pick
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.chart import Chart

EXPORTS = (
    (".csv", "CSV      every number, for programs"),
    (".md", "Markdown tables for a README or a report"),
    (".tex", "LaTeX    tables for a paper"),
    (".png", "PNG      training and validation curves"),
)


class CompareScreen(Acting):
    """Curves over each other, and tables of all in which the runs differ."""

    DEFAULT_CSS = """
    CompareScreen {
        & > #problem { display: none; color: $text-error; padding: 0 1; height: auto; }
        & > #problem.shown { display: block; }
        & > Chart { height: 9fr; margin: 0 1; }
        &.-wide.-high > Chart { margin: 0; }
        & > TabbedContent { height: 11fr; }
        & TabPane { padding: 0; height: 1fr; }
        & ContentSwitcher { height: 1fr; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", key_display="esc"),
        Binding("q", "back", "back", show=False),
        Binding("b", "baseline", "baseline", tooltip="Pin the next run as the baseline"),
        Binding("f", "choose('toggle_fold')", "fold seeds", tooltip="Seeds as mean ± sd, or each run alone"),
        Binding("m", "choose('next_score')", "metric", tooltip="Curves: Dice, loss, mIoU or learning rate"),
        Binding("M", "choose('other_split')", "val/train", tooltip="Curves: validation or training"),
        Binding("T", "choose('other_x')", "epoch/time", tooltip="X axis: epochs or training time"),
        Binding("v", "tables('go_on')", "next table", tooltip="Next table; 1 to 8 select one"),
        Binding("P", "published", "published", tooltip="Numbers of the study and of other networks"),
        Binding("x", "export", "export", tooltip="Export this view as CSV, Markdown, LaTeX or PNG"),
        Binding("p", "preview", "preview", tooltip="Predictions of these runs side by side"),
        Binding("y", "copy_id", "copy ids", tooltip="Copy the runs' ids"),
        Binding("question_mark", "app.help", "help", key_display="?", tooltip="All keys"),
        Binding("up", "tables('scroll_lines', -1)", show=False),
        Binding("down", "tables('scroll_lines', 1)", show=False),
        Binding("pageup", "tables('scroll_lines', -10)", show=False),
        Binding("pagedown", "tables('scroll_lines', 10)", show=False),
        *(
            Binding(str(place), f"tables('go_to', {place})", f"table {place}", show=False)
            for place in range(1, 9)
        ),
    ]

    def __init__(self, run_ids: tuple[str, ...]) -> None:
        super().__init__()
        self.run_ids = run_ids
        self.choice = Choice()
        self.runs: tuple[ComparedRun, ...] = ()
        self.comparison: Comparison | None = None
        self._seen: dict[str, RunSummary | None] = {}

    def targets(self) -> Sequence[RunSummary]:
        return [run for run_id in self.run_ids if (run := self.tui.snapshot.runs.get(run_id))]

    @property
    def tables(self) -> ComparedTables:
        return self.query_one(ComparedTables)

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        yield Static(id="problem", markup=False)
        yield Chart(empty="reading the runs...", classes="pane")
        yield ComparedTables()
        yield KeyBar(2)

    def on_mount(self) -> None:
        self.tables.offer_published(self.choice.published)
        self.query_one(Chart).focus()
        self.watch(self.app, "snapshot", self._on_snapshot)
        if not self._seen:
            self._compare_anew()

    # ------------------------------------------------------------------ reading

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        """Read again when one of the runs has changed; those that are gone are left out."""
        if not snapshot.there:
            return
        seen = {run_id: snapshot.runs.get(run_id) for run_id in self.run_ids}
        if any(seen[run_id] is not self._seen.get(run_id) for run_id in self.run_ids) or not self._seen:
            self._seen = seen
            self.run_ids = tuple(run_id for run_id, run in seen.items() if run is not None)
            if not self.run_ids:
                self.once_on_top(self._leave)
                return
            self._compare_anew()

    def _leave(self) -> None:
        self.notify("the compared runs no longer exist", severity="warning", markup=False)
        self.app.pop_screen()

    def _compare_anew(self) -> None:
        self._compare(self.run_ids, self.runs, self.choice)

    @work(thread=True, exclusive=True, group="compare")
    def _compare(self, run_ids: Sequence[str], before: Sequence[ComparedRun], choice: Choice) -> None:
        worker = get_current_worker()
        found = compare_runs(self.tui.store.get, run_ids, before, choice)
        if not worker.is_cancelled:  # something else is wanted by now, which may have been found sooner
            self.post_message(found)

    @on(Compared)
    def keep(self, message: Compared) -> None:
        self.runs, self.comparison = message.runs, message.comparison
        self.query_one("#problem").remove_class("shown")
        self._fill()

    @on(NotCompared)
    def tell_problem(self, message: NotCompared) -> None:
        problem = self.query_one("#problem", Static)
        problem.update(message.problem)
        problem.add_class("shown")

    # ------------------------------------------------------------------ showing

    def _fill(self) -> None:
        if self.comparison is None:
            return
        drawing = Drawing(self.comparison, self.runs, self.choice, self.tui.settings.curves)
        self.query_one(TitleBar).say(*drawing.heading)
        chart = self.query_one(Chart)
        chart.display = drawing.has_curves
        chart.empty = "these runs have not finished an epoch yet"
        chart.show(drawing.curves(), self.choice.x_kind, self.choice.title)
        self.tables.show(self.comparison, drawing.styles(self.background_colors[1].hex6))

    # ------------------------------------------------------------------ keys

    def _choose(self, choice: Choice) -> None:
        """Look at something else, which may have to be computed first."""
        again = choice.computed != self.choice.computed
        self.choice = choice
        self.tables.offer_published(choice.published)
        if again:
            self._compare_anew()
        else:
            self._fill()

    def action_choose(self, change: str) -> None:
        """`change` names a method of the choice."""
        self._choose(getattr(self.choice, change)())

    def action_baseline(self) -> None:
        if self.comparison is not None:
            entries = self.comparison.entries
            following = entries[(self.comparison.baseline + 1) % len(entries)]
            self._choose(replace(self.choice, baseline=following.ids[0]))

    def action_published(self) -> None:
        self._choose(self.choice.toggle_published())
        self.tables.active = "published" if self.choice.published else "numbers"

    def action_tables(self, change: str, *how: int) -> None:
        """Look at another table or another part of one: `change` names a method of the tables."""
        getattr(self.tables, change)(*how)

    def action_back(self) -> None:
        self.app.pop_screen()

    # ------------------------------------------------------------------ export

    def action_export(self) -> None:
        if self.comparison is None:
            self.notify("nothing has been compared yet", severity="warning", markup=False)
            return

        def answered(suffix: str | None) -> None:
            if suffix and self.comparison is not None:
                self._export(self.comparison, self.runs, suffix, self.choice.score.field)

        self.app.push_screen(Pick("Export this view as", EXPORTS), answered)

    @work(thread=True, group="export")
    def _export(self, comparison: Comparison, runs: Sequence[ComparedRun], suffix: str, field: str) -> None:
        from seg_tui.messages import ActionEnded

        tui = self.tui  # which tells of it, whatever screen is shown by then
        folder = tui.workspace.root / "exports"
        try:
            path = export_comparison(folder, comparison, runs, suffix, field, tui.now())
        except ExportError as error:
            tui.post_message(ActionEnded(f"not exported: {error}", refused=True))
        else:
            tui.post_message(ActionEnded(f"exported: {path}", refused=False))
