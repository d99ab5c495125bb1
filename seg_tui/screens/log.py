"""What a run's worker printed, followed as it grows."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from engine.rundir import RunDir
from seg_tui.detail import log_tail
from seg_tui.widgets.bars import KeyBar, TitleBar, TroubleLine
from seg_tui.widgets.log_view import LogView

READ_SECONDS = 1.0
LOG_BYTES = 1024 * 1024


class LogScreen(Screen[None]):
    """The end of a run's log; end and a new line keep it at the end, scrolling up stops that."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "back"),
        Binding("F", "follow", "follow", tooltip="Go to the end and stay there"),
        Binding("question_mark", "app.help", "help"),
    ]

    class LogRead(Message):
        """The log was read; `lines` is its end."""

        def __init__(self, lines: tuple[str, ...]) -> None:
            super().__init__()
            self.lines = lines

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LogScreen.LogRead)

    def __init__(self, run: RunDir, name: str) -> None:
        super().__init__()
        self._run, self._run_name = run, name
        self._stamp: tuple[int, int] | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield TroubleLine()
        yield LogView()
        yield KeyBar(1)

    def on_mount(self) -> None:
        self.query_one(TitleBar).say(f"log of {self._run_name}", str(self._run.log))
        self.set_interval(READ_SECONDS, self._read)
        self._read()

    @work(thread=True, exclusive=True, group="log")
    def _read(self) -> None:
        try:
            status = self._run.log.stat()
            stamp = (status.st_size, status.st_mtime_ns)
        except OSError:
            stamp = (0, 0)
        if stamp != self._stamp:
            self._stamp = stamp
            self.post_message(self.LogRead(log_tail(self._run, LOG_BYTES)))

    @on(LogRead)
    def show(self, message: LogRead) -> None:
        self.query_one(LogView).show(message.lines)

    def action_follow(self) -> None:
        self.query_one(LogView).scroll_end(animate=False)
