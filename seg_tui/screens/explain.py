"""The screen that answers what made some runs better: their score against each key in which they differ."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.widgets import OptionList, Static, TabbedContent, TabPane
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from engine.data.faults import counted
from engine.report.explain import MEASURES, Explanation, Factor
from engine.report.explain_text import heading, levels_table, notes, percent, settings_table, trend
from engine.report.speed import SpeedPlot, speed_table
from engine.report.tables import thin_bar
from engine.store import RunSummary
from engine.visible import one_line
from seg_tui.acting import Acting
from seg_tui.compare.speed import not_measured
from seg_tui.explain.pictures import ExplainPicture
from seg_tui.explain.reading import Explained, NotExplained, explain_these
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.panes import pane
from seg_tui.widgets.text_pane import TextPane

if TYPE_CHECKING:
    from seg_tui.live import Snapshot

TABS = {"keys": "Keys", "all": "All keys", "configs": "Configs", "speed": "Speed"}
FOCUSED = {"keys": "#factors", "all": "#parallel", "configs": "#configs-text", "speed": "#speed-text"}
_MARKS = "● config  ★ best  ━ mean  ⡇ ± seeds"
_LINES = "each line is a config; the best third lies on top"
_BAR = 10
_SIDE_BY_SIDE = 4
"""How many configs are compared by their curves."""


class ExplainScreen(Acting):
    """The keys by importance, and the score against the one under the cursor."""

    DEFAULT_CSS = """
    ExplainScreen {
        & > #problem { color: $text-muted; padding: 1 2; height: 1fr; }
        & TabbedContent { height: 1fr; display: none; }
        &.explained TabbedContent { display: block; }
        &.explained > #problem { display: none; }
        & TabPane { padding: 0; height: 1fr; }
        & ContentSwitcher { height: 1fr; }
        & #by-key { layout: horizontal; height: 1fr; }
        & #of-all { width: 46; height: 1fr; background: $surface; }
        & #factors { height: auto; max-height: 60%; background: $surface; border: none; padding: 0 1; }
        & #factors > .option-list--option-disabled { color: $text-muted; }
        & #notes { height: 1fr; margin-top: 1; }
        & #of-key { width: 1fr; height: 1fr; padding: 0 1; }
        & #key-line { height: 1; }
        & #key-title { width: auto; text-style: bold; margin-right: 3; }
        & #key-marks { width: 1fr; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
        & #levels { height: auto; max-height: 40%; }
        & #all-title { height: 1; padding: 0 1; color: $text-muted; }
        & #parallel { margin: 0 1; }
        &.-narrow #by-key { layout: vertical; }
        &.-narrow #of-all { width: 1fr; height: auto; max-height: 6; }
        &.-narrow #factors { max-height: 6; }
        &.-narrow #notes { display: none; }
        &.-narrow #levels, &.-low #levels { display: none; }
        &.-wide.-high { #of-all, #factors { background: $background; } #of-all { width: 48; } }
        &.-wide.-high #levels { margin-top: 1; }
        &.-wide.-high { #key-title, #all-title { display: none; } #parallel { margin: 0; } }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", key_display="esc"),
        Binding("q", "back", "back", show=False),
        Binding("v", "tab", "next view", tooltip="Keys, all keys, configs, speed; 1 to 4 select one"),
        Binding("m", "measure", "measure", tooltip="Explain Dice, mIoU, last or train Dice, loss or memory"),
        Binding("U", "unfinished", "unfinished", tooltip="Count runs that have not finished, too"),
        Binding("c", "compare_best", "compare best", tooltip="Compare the best configs' runs"),
        Binding("y", "copy_id", "copy ids", tooltip="Copy the runs' ids"),
        Binding("question_mark", "app.help", "help", key_display="?", tooltip="All keys"),
        *(Binding(str(n), f"nth_tab({n})", "", show=False) for n in range(1, len(TABS) + 1)),
    ]

    def __init__(self, run_ids: tuple[str, ...]) -> None:
        super().__init__()
        self.run_ids = run_ids
        self.measure, self.unfinished = "dice", False
        self.explanation: Explanation | None = None
        self.speed: SpeedPlot | None = None
        self._seen: list[RunSummary | None] = []

    def targets(self) -> Sequence[RunSummary]:
        return [run for run_id in self.run_ids if (run := self.tui.snapshot.runs.get(run_id))]

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        yield Static("reading the runs...", id="problem", markup=False)
        with TabbedContent(initial="keys"):
            with TabPane(TABS["keys"], id="keys"), Container(id="by-key"):
                with pane(Vertical(id="of-all"), "Keys by importance", around_focus=True):
                    yield OptionList(id="factors", compact=True, markup=False)
                    yield TextPane(id="notes")
                with pane(Vertical(id="of-key"), "", around_focus=True):
                    with Horizontal(id="key-line"):
                        yield Static(id="key-title", markup=False)
                        yield Static(_MARKS, id="key-marks", markup=False)
                    yield ExplainPicture(id="scatter")
                    yield TextPane(id="levels")
            with TabPane(TABS["all"], id="all"), pane(Vertical(), f"All keys: {_LINES}", around_focus=True):
                yield Static(_LINES, id="all-title", markup=False)
                parallel = ExplainPicture(id="parallel")
                parallel.can_focus = True
                yield parallel
            with TabPane(TABS["configs"], id="configs"):
                yield pane(TextPane(id="configs-text", classes="wide"), "Configs, best first")
            with TabPane(TABS["speed"], id="speed"):
                yield pane(TextPane(id="speed-text", classes="wide"), "Score against speed")
        yield KeyBar(2)

    def on_mount(self) -> None:
        self.query_one(TitleBar).say("what made it better?", counted(len(self.run_ids), "run"))
        self.watch(self.app, "snapshot", self._on_snapshot)

    # ------------------------------------------------------------------ reading

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        """Read again when one of the runs has changed; those that are gone are left out."""
        seen = [snapshot.runs.get(run_id) for run_id in self.run_ids]
        if snapshot.there and not (
            len(seen) == len(self._seen) and all(a is b for a, b in zip(seen, self._seen, strict=True))
        ):
            self._seen = seen
            self._read_again()

    def _read_again(self) -> None:
        there = [run.id for run in self._seen if run is not None]
        self._read(there, self.measure, self.unfinished)

    @work(thread=True, exclusive=True, group="explain")
    def _read(self, run_ids: Sequence[str], measure: str, unfinished: bool) -> None:
        worker = get_current_worker()
        found = explain_these(self.tui.store.get, run_ids, measure, unfinished)
        if not worker.is_cancelled:  # something else is wanted by now, which may have been found sooner
            self.post_message(found)

    @on(Explained)
    def keep(self, message: Explained) -> None:
        before, self.explanation, self.speed = self.explanation, message.explanation, message.speed
        self.add_class("explained")
        self._fill(message.explanation, before)

    @on(NotExplained)
    def tell_problem(self, message: NotExplained) -> None:
        self.explanation = None
        self.remove_class("explained")
        hint = "\n\nm explains another measure, U counts unfinished runs"
        self.query_one("#problem", Static).update(message.problem + hint)
        self.query_one(TitleBar).say(
            "what made it better?", f"{MEASURES[self.measure].title} of {counted(len(self.run_ids), 'run')}"
        )

    # ------------------------------------------------------------------ showing

    def _fill(self, explanation: Explanation, before: Explanation | None) -> None:
        """Show an explanation; the cursor stays on its key, which may be of another importance now."""
        self.query_one(TitleBar).say("what made it better?", heading(explanation))
        factors = self.query_one("#factors", OptionList)
        place, keys = factors.highlighted or 0, [factor.key for factor in explanation.factors]
        known = before is not None and place < len(before.factors)
        key = before.factors[place].key if before is not None and known else ""
        here = keys.index(key) if key in keys else min(place, len(keys) - 1)
        factors.clear_options()
        factors.add_options(
            Option(_line(factor.importance, factor.title, trend(factor))) for factor in explanation.factors
        )
        if explanation.noise is not None:
            factors.add_option(Option(_line(explanation.noise, "(seed)", ""), disabled=True))
        factors.highlighted = here
        if self.focused is None:
            self.focus_tab()
        self._show_factor(explanation.factors[here])
        self.query_one("#parallel", ExplainPicture).show(explanation, None, self.tui.settings.curves)
        self.query_one("#notes", TextPane).show(lambda width: _notes(explanation, width))
        self.query_one("#configs-text", TextPane).show(lambda width: _configs(explanation, width))
        self.query_one("#speed-text", TextPane).show(self._speed_text)

    @on(OptionList.OptionHighlighted, "#factors")
    def _look_at(self, message: OptionList.OptionHighlighted) -> None:
        if self.explanation is not None and message.option_index < len(self.explanation.factors):
            self._show_factor(self.explanation.factors[message.option_index])

    def _show_factor(self, factor: Factor) -> None:
        explanation = self.explanation
        if explanation is None:
            return
        of = f", of the {factor.runs} runs that have it" if factor.runs < explanation.runs else ""
        title = f"{explanation.metric.title} against {one_line(factor.key)}{' (log)' * factor.is_log}{of}"
        self.query_one("#key-title", Static).update(title)
        self.query_one("#of-key").border_title = Text(title)
        self.query_one("#scatter", ExplainPicture).show(explanation, factor, self.tui.settings.curves)
        self.query_one("#levels", TextPane).show(lambda width: levels_table(explanation, factor, width))

    def _speed_text(self, width: int) -> Text:
        if self.speed is None:
            return not_measured(width)
        return speed_table(self.speed, None)

    # ------------------------------------------------------------------ keys

    def action_tab(self) -> None:
        tabs, names = self.query_one(TabbedContent), list(TABS)
        tabs.active = names[(names.index(tabs.active) + 1) % len(names)]

    def action_nth_tab(self, place: int) -> None:
        self.query_one(TabbedContent).active = list(TABS)[place - 1]

    @on(TabbedContent.TabActivated)
    def focus_tab(self) -> None:
        active = self.query_one(TabbedContent).active
        # A tab that has no focus in it gives way to the one that has.
        self.query_one(FOCUSED[active]).focus(scroll_visible=False)

    def action_measure(self) -> None:
        names = list(MEASURES)
        self.measure = names[(names.index(self.measure) + 1) % len(names)]
        self._read_again()

    def action_unfinished(self) -> None:
        self.unfinished = not self.unfinished
        self._read_again()

    def action_compare_best(self) -> None:
        """The first run of each of the best configs, side by side."""
        if self.explanation is None or len(self.explanation.settings) < 2:
            self.notify("there are no two configs to compare", severity="warning", markup=False)
            return
        best = self.explanation.settings[:_SIDE_BY_SIDE]
        self.tui.go_to.comparison([setting.ids[0] for setting in best])

    def action_back(self) -> None:
        self.app.pop_screen()


def _line(importance: float | None, title: str, trend: str) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{percent(importance):>5}  ", "bold")
    line.append(thin_bar(importance, _BAR).ljust(_BAR))
    line.append(f"  {one_line(title)}")
    return line.append(f"  {trend}" if trend else "")


def _configs(explanation: Explanation, width: int) -> Text:
    table = settings_table(explanation, None, most=len(explanation.settings))
    return Text("\n", no_wrap=True).join([table, Text(), _notes(explanation, width)])


def _notes(explanation: Explanation, width: int) -> Text:
    lines = [
        Text(line, note.style)
        for note in notes(explanation)
        for line in textwrap.wrap(note.plain, max(20, width)) or [""]
    ]
    return Text("\n", no_wrap=True).join(lines)
