"""The compare screen: two to twelve runs side by side, against a pinned baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.message import Message
from textual.widgets import Static, TabbedContent, TabPane

from engine.report.compare import ComparedRun, CompareError, Comparison, Entry, compare
from engine.report.compare_formats import (
    PUBLISHED_TITLE,
    class_table,
    key_table,
    numbers_by_metric,
    numbers_table,
    published_table,
)
from engine.report.published import PublishedResult, published_results
from engine.report.short_names import ShortNames
from engine.store import RunSummary, Store, StoreError
from engine.tasks import TASKS
from engine.visible import one_line
from seg_tui.acting import Acting
from seg_tui.exports import ExportError, export_comparison
from seg_tui.live import Snapshot
from seg_tui.palette import BETTER, CURVE_PALETTES, WORSE, curve_color, legible
from seg_tui.screens.dialogs import Pick
from seg_tui.series import SCORES, Score, XKind, epoch_curve, mean_curve
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.chart import Chart
from seg_tui.widgets.curves import Curve
from seg_tui.widgets.text_pane import TextPane

TABS = {"numbers": "Numbers", "classes": "Classes", "config": "Config", "published": "Published"}
EXPORTS = (
    (".csv", "CSV      every number, for programs"),
    (".md", "Markdown tables for a README or a report"),
    (".tex", "LaTeX    tables for a paper"),
    (".png", "PNG      training and validation curves"),
)
LONGEST_NAME = 28
_OF_TEXT = 4.5
"""The contrast that WCAG 2.2 (success criterion 1.4.3) asks of text."""


@dataclass(frozen=True)
class Choice:
    """What of the comparison is looked at. `baseline` is a run's id, "" for the first."""

    baseline: str = ""
    fold_seeds: bool = False
    published: bool = False
    score: Score = SCORES[0]
    split: str = "val"
    x_kind: XKind = "epoch"


class Compared(Message):
    """The runs were read and compared."""

    def __init__(self, runs: Sequence[ComparedRun], comparison: Comparison) -> None:
        super().__init__()
        self.runs, self.comparison = tuple(runs), comparison

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Compared)


class NotCompared(Message):
    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem


class Exported(Message):
    """The end of an export: where the file is, or why there is none."""

    def __init__(self, line: str, failed: bool) -> None:
        super().__init__()
        self.line, self.failed = line, failed


class CompareScreen(Acting):
    """Curves over each other, and tables of all in which the runs differ."""

    DEFAULT_CSS = """
    CompareScreen {
        & > #problem { display: none; color: $error; padding: 0 1; height: auto; }
        & > #problem.shown { display: block; }
        & > Chart { height: 9fr; margin: 0 1; }
        & > TabbedContent { height: 11fr; }
        & TabPane { padding: 0; height: 1fr; }
        & ContentSwitcher { height: 1fr; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", key_display="esc"),
        Binding("q", "back", "back", show=False),
        Binding("b", "baseline", "baseline", tooltip="Pin the next run as the baseline"),
        Binding("f", "fold", "fold seeds", tooltip="Seeds as mean ± sd, or each run alone"),
        Binding("m", "metric", "metric", tooltip="Curves: Dice, loss, mIoU or learning rate"),
        Binding("M", "split", "val/train", tooltip="Curves: validation or training"),
        Binding("T", "x_axis", "epoch/time", tooltip="X axis: epochs or training time"),
        Binding("v", "tab", "next table", tooltip="Next table; 1 to 4 select one"),
        Binding("P", "published", "published", tooltip="The study's own numbers as reference rows"),
        Binding("x", "export", "export", tooltip="Export this view as CSV, Markdown, LaTeX or PNG"),
        Binding("p", "preview", "preview", tooltip="Predictions of these runs side by side"),
        Binding("y", "copy_id", "copy ids", tooltip="Copy the runs' ids"),
        Binding("question_mark", "app.help", "help", key_display="?", tooltip="All keys"),
        Binding("up", "scroll_table(-1)", show=False),
        Binding("down", "scroll_table(1)", show=False),
        Binding("pageup", "scroll_table(-10)", show=False),
        Binding("pagedown", "scroll_table(10)", show=False),
        *(Binding(str(place), f"nth_tab({place})", f"table {place}", show=False) for place in range(1, 5)),
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

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        yield Static(id="problem", markup=False)
        yield Chart(empty="these runs have not finished an epoch yet")
        with TabbedContent(initial="numbers"):
            for name, title in TABS.items():
                with TabPane(title, id=name):
                    yield TextPane(id=f"{name}-text", classes="wide")
        yield KeyBar(2)

    def on_mount(self) -> None:
        self._choose()
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
                self.notify("the compared runs no longer exist", severity="warning", markup=False)
                self.app.pop_screen()
                return
            self._compare_anew()

    def _compare_anew(self) -> None:
        self._compare(self.run_ids, self.runs, self.choice)

    @work(thread=True, exclusive=True, group="compare", exit_on_error=False)
    def _compare(self, run_ids: Sequence[str], before: Sequence[ComparedRun], choice: Choice) -> None:
        try:
            runs = read_runs(self.tui.store.get(), run_ids, before)
            baseline = choice.baseline if choice.baseline in run_ids else ""
            published: tuple[PublishedResult, ...] = ()
            if choice.published:
                published = published_results([run.row.recipe for run in runs])
            self.post_message(Compared(runs, compare(runs, baseline, choice.fold_seeds, published)))
        except (StoreError, CompareError, OSError) as error:
            self.post_message(NotCompared(str(error)))

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
        comparison = self.comparison
        if comparison is None:
            return
        entries, base = comparison.entries, comparison.entries[comparison.baseline]
        self.query_one(TitleBar).say(
            f"compare {len(self.runs)} runs", f"baseline {base.letter} {self._short(base.title)}"
        )
        curves = [curve for place, entry in enumerate(entries) for curve in self._curves(place, entry)]
        choice = self.choice
        title = f"{choice.score.title} {'' if len(choice.score.splits) == 1 else self._split}".rstrip()
        chart = self.query_one(Chart)
        # What looks at another's network has no epochs; its numbers are in the tables.
        chart.display = any(TASKS[run.row.task].learns for run in self.runs)
        chart.show(curves, choice.x_kind, title)
        styles = self._styles(comparison)
        self._text("numbers", lambda width: _numbers(comparison, styles, width))
        self._text("classes", lambda width: _classes(comparison, styles))
        self._text("config", lambda width: _config(comparison))
        self._text("published", lambda width: _published(comparison))

    def _short(self, title: str) -> str:
        """What an entry is called where there is little room: so that it can be told from the others."""
        entries = self.comparison.entries if self.comparison else ()
        return ShortNames(name for entry in entries for name in (entry.title, entry.label)).fit(
            title, LONGEST_NAME
        )

    @property
    def _split(self) -> str:
        splits = self.choice.score.splits
        return self.choice.split if self.choice.split in splits else splits[0]

    def _curves(self, place: int, entry: Entry) -> list[Curve]:
        """The curve of an entry; of several seeds their mean, with each of them faint behind it, or over the
        time each of them."""
        choice = self.choice
        name, color = f"{entry.letter} {self._short(entry.title)}", self._color(place)
        epochs = {run.row.id: run.epochs for run in self.runs}
        each = [
            epoch_curve(epochs[run_id], self._split, choice.score.field, choice.x_kind, name, color)
            for run_id in entry.ids
        ]
        if len(each) == 1:
            return each
        # The seconds of two runs never agree, so over the time there is no mean, only each run.
        if choice.x_kind == "time":
            seeds = [f"{entry.letter} {self._short(entry.label)} seed {row.seed}" for row in entry.rows]
            return [replace(curve, name=seed) for curve, seed in zip(each, seeds, strict=True)]
        faint = [replace(curve, behind=True) for curve in each]
        scored = [curve for curve in each if any(y is not None for y in curve.y)]
        if 0 < len(scored) < len(each):
            name += f" (n={len(scored)})"
        return [mean_curve(scored, name, color), *faint]

    def _color(self, place: int) -> str:
        """Beyond the palette's colours, muted ones."""
        palette = self.tui.settings.curves
        color = curve_color(place, palette)
        if place < len(CURVE_PALETTES[palette]):
            return color
        return Color.parse(color).blend(Color.parse("#808080"), 0.6).hex6

    def _styles(self, comparison: Comparison) -> dict[str, str]:
        """What verdicts and letters look like, for the tables."""
        background = self.background_colors[1].hex6
        styles = {
            "better": legible(BETTER, background, 4.5),
            "worse": legible(WORSE, background, 4.5),
            "": "dim",
        }
        for place, entry in enumerate(comparison.entries):
            styles[entry.letter] = f"bold {legible(self._color(place), background)}"
        return styles

    def _text(self, name: str, make: Callable[[int], Text]) -> None:
        self.query_one(f"#{name}-text", TextPane).show(make)

    # ------------------------------------------------------------------ keys

    def _choose(self, again: bool = False, **changes: object) -> None:
        """Look at something else; `again` when that has to be computed."""
        self.choice = replace(self.choice, **changes)  # type: ignore[arg-type]
        tabs = self.query_one(TabbedContent)
        if self.choice.published:
            tabs.show_tab("published")
        else:
            tabs.hide_tab("published")
        if again:
            self._compare_anew()
        else:
            self._fill()

    def action_baseline(self) -> None:
        if self.comparison is not None:
            entries = self.comparison.entries
            following = entries[(self.comparison.baseline + 1) % len(entries)]
            self._choose(again=True, baseline=following.ids[0])

    def action_fold(self) -> None:
        self._choose(again=True, fold_seeds=not self.choice.fold_seeds)

    def action_published(self) -> None:
        self._choose(again=True, published=not self.choice.published)
        self.query_one(TabbedContent).active = "published" if self.choice.published else "numbers"

    def action_metric(self) -> None:
        place = SCORES.index(self.choice.score)
        self._choose(score=SCORES[(place + 1) % len(SCORES)])

    def action_split(self) -> None:
        self._choose(split="train" if self.choice.split == "val" else "val")

    def action_x_axis(self) -> None:
        self._choose(x_kind="time" if self.choice.x_kind == "epoch" else "epoch")

    def action_tab(self) -> None:
        shown = self._shown_tabs()
        active = self.query_one(TabbedContent).active
        self.query_one(TabbedContent).active = shown[(shown.index(active) + 1) % len(shown)]

    def action_nth_tab(self, place: int) -> None:
        shown = self._shown_tabs()
        if place <= len(shown):
            self.query_one(TabbedContent).active = shown[place - 1]

    def action_scroll_table(self, lines: int) -> None:
        """Scroll the table while the chart has the focus."""
        pane = self.query_one(f"#{self.query_one(TabbedContent).active}-text", TextPane)
        pane.scroll_relative(y=lines, animate=False)

    def _shown_tabs(self) -> list[str]:
        return [name for name in TABS if name != "published" or self.choice.published]

    def action_back(self) -> None:
        self.app.pop_screen()

    # ------------------------------------------------------------------ export

    def action_export(self) -> None:
        def answered(suffix: str | None) -> None:
            if suffix and self.comparison is not None:
                self._export(self.comparison, self.runs, suffix, self.choice.score.field)

        self.app.push_screen(Pick("Export this view as", EXPORTS), answered)

    @work(thread=True, group="export", exit_on_error=False)
    def _export(self, comparison: Comparison, runs: Sequence[ComparedRun], suffix: str, field: str) -> None:
        folder = self.tui.workspace.root / "exports"
        try:
            path = export_comparison(folder, comparison, runs, suffix, field, self.tui.now())
        except ExportError as error:
            self.post_message(Exported(str(error), failed=True))
        else:
            self.post_message(Exported(str(path), failed=False))

    @on(Exported)
    def tell_export(self, message: Exported) -> None:
        title, severity = ("not exported", "error") if message.failed else ("exported", "information")
        self.notify(message.line, title=title, severity=severity, markup=False)  # type: ignore[arg-type]


def read_runs(store: Store, run_ids: Sequence[str], before: Sequence[ComparedRun]) -> list[ComparedRun]:
    """The runs with their epochs; those of `before` whose journal has not grown keep theirs."""
    known = {run.row.id: run for run in before}
    runs = []
    for run_id in run_ids:
        row = store.run(run_id)
        old = known.get(run_id)
        same = old is not None and old.row.journal_seq == row.journal_seq
        if old is not None and same:
            runs.append(replace(old, row=row))
        else:
            runs.append(
                ComparedRun(row, tuple(store.results.epochs(run_id)), metrics=store.results.metrics(run_id))
            )
    return runs


# ---------------------------------------------------------------------- tables


def _numbers(comparison: Comparison, styles: dict[str, str], width: int) -> Text:
    """Every number: one line a metric where the runs fit beside each other, else one line a run."""
    table = numbers_by_metric(comparison, styles)
    if max(map(len, table.plain.splitlines())) > width:
        names = ShortNames(entry.label for entry in comparison.entries)
        entries = [
            replace(entry, label=names.fit(entry.label, max(12, width // 5))) for entry in comparison.entries
        ]
        table = numbers_table(replace(comparison, entries=tuple(entries)), None, styles)
    notes = [Text(f"note: {one_line(note)}", "yellow") for note in comparison.notes]
    return Text("\n").join([table, *([Text()] if notes else []), *notes])


def _classes(comparison: Comparison, styles: dict[str, str]) -> Text:
    if not comparison.classes:
        return Text("no scores by class: the runs share no class, or none has been scored yet", "dim")
    base = comparison.entries[comparison.baseline]
    heading = Text(f"Dice by class at each run's best epoch, largest drop from {base.letter} first", "dim")
    return Text("\n").join([heading, class_table(comparison, None, styles)])


def _config(comparison: Comparison) -> Text:
    if not comparison.config:
        return Text("no config key differs", "dim")
    return key_table(comparison, None)


def _published(comparison: Comparison) -> Text:
    if not comparison.published:
        return Text("the study's own numbers are hidden; P shows them", "dim")
    return Text("\n").join([Text(PUBLISHED_TITLE, "dim"), published_table(comparison.published, None)])
