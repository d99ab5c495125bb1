"""What a run's worker printed, followed as it grows."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from engine.run.directory import RunDir
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.log_pager import LogLines, LogPager
from seg_tui.widgets.panes import pane

READ_SECONDS = 1.0


class LogScreen(Screen[None]):
    """A run's whole log, with search; it stays at the end until one scrolls up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.pop_screen", "back", key_display="esc"),
        Binding("q", "app.pop_screen", "back", show=False),
        Binding("question_mark", "app.help", "help", key_display="?", tooltip="All keys"),
    ]

    def __init__(self, run: RunDir, name: str) -> None:
        super().__init__()
        self._run, self._run_name = run, name

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        yield pane(LogPager(self._run.log), self._run.log.name, around_focus=True)
        yield KeyBar(1)

    def on_mount(self) -> None:
        self.query_one(TitleBar).say(f"log of {self._run_name}", self._run.id)
        self.query_one(LogLines).focus()
        self.set_interval(READ_SECONDS, self.query_one(LogPager).refresh_end)
