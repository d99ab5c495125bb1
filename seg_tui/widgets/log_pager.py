"""A whole log, however long: the part in sight and some around it are in memory; followed, and searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input, Static

from engine.report.tables import data_size
from seg_tui.logfile import (
    WINDOW_BYTES,
    LogWindow,
    find,
    grown,
    line_end,
    read_after,
    read_before,
    read_end,
    read_from,
)

MOST_WINDOWS = 8
"""More than this many windows of the log are never in memory."""
_NEAR = 100
"""Lines from an end of what is in memory at which more is read."""


class WindowsRead(Message):
    """The log between two bytes, as windows that follow each other. `above` counts lines that came before
    what was shown (below 0: that went), `found` is the line of a match among them."""

    def __init__(self, windows: Sequence[LogWindow], above: int = 0, found: int | None = None) -> None:
        super().__init__()
        self.windows, self.above, self.found = tuple(windows), above, found


class SearchEnded(Message):
    """`offset` is where the line found begins, None when no line holds the text."""

    def __init__(self, offset: int | None, windows: Sequence[LogWindow], found: int | None) -> None:
        super().__init__()
        self.offset, self.windows, self.found = offset, tuple(windows), found


class LogUnreadable(Message):
    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem


class LogLines(ScrollView, can_focus=True):
    """The lines in memory."""

    DEFAULT_CSS = """
    LogLines { height: 1fr; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1; }
    LogLines > .log--match { background: $warning; color: auto; }
    LogLines:ansi > .log--match { color: $background; }
    LogLines > .log--found { background: $boost; text-style: bold; }
    LogLines > .log--bad { color: $text-error; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--match", "log--found", "log--bad"}

    class Scrolled(Message):
        """What is in sight has changed; `up` towards the top."""

        def __init__(self, up: bool) -> None:
            super().__init__()
            self.up = up

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.search = ""
        self.found: int | None = None

    def set_lines(self, lines: list[str]) -> None:
        self.lines = lines
        widest = max(map(cell_len, lines), default=0)
        self.virtual_size = Size(widest, len(lines))
        self.refresh()

    def watch_show_vertical_scrollbar(self, shown: bool) -> None:
        """A bar that comes after the view was scrolled would stand at its top until the next scroll."""
        if shown:
            self.vertical_scrollbar.position = self.scroll_y

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Scrolled(new_value < old_value))

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        place, width = top + y, self.scrollable_content_region.width
        if place >= len(self.lines):
            return Strip.blank(width, self.rich_style)
        text = Text(self.lines[place], self.rich_style, end="", no_wrap=True)
        lowered = text.plain.lower()
        if "error" in lowered or lowered.startswith("traceback"):
            text.stylize(self.get_component_rich_style("log--bad", partial=True))
        if place == self.found:
            text.stylize(self.get_component_rich_style("log--found"))
        if self.search:
            text.highlight_words(
                [self.search], self.get_component_rich_style("log--match"), case_sensitive=False
            )
        # Rich leaves out the style of a text that has no spans.
        strip = Strip(text.render(self.app.console)).apply_style(self.rich_style)
        return strip.crop_extend(left, left + width, self.rich_style)


class LogPager(Vertical):
    """A log with follow (the end stays in sight as it grows) and search."""

    DEFAULT_CSS = """
    LogPager > #log-state { height: 1; padding: 0 1; color: $text-muted; }
    LogPager > #log-search { display: none; height: 1; border: none; padding: 0 1; }
    LogPager > #log-search.shown { display: block; }
    LogPager > LogLines { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "slash",
            "search",
            "search",
            key_display="/",
            tooltip="Search the whole log, ignoring case",
            priority=True,  # what is typed right behind it is searched for, and no key of the log
        ),
        Binding("escape", "close_search", "close search", key_display="esc"),
        Binding("n", "found(1)", "next match", show=False, tooltip="Next match"),
        Binding("N", "found(-1)", "previous match", show=False, tooltip="Previous match"),
        Binding("F", "follow", "follow", tooltip="Follow the end of the log, or stop following"),
        Binding("home", "top", "top", show=False, tooltip="First line"),
        Binding("end", "bottom", "end", show=False, tooltip="Last line, and follow"),
    ]

    follow: reactive[bool] = reactive(True)

    def __init__(self, path: Path, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.path = path
        self.windows: tuple[LogWindow, ...] = ()
        self.matched: int | None = None
        """Where the line of the last match begins."""
        self._problem = ""
        self._reading = False

    def compose(self) -> ComposeResult:
        yield Static(id="log-state", markup=False)
        yield LogLines()
        yield Input(placeholder="search the whole log", id="log-search")

    def on_mount(self) -> None:
        self.refresh_end()

    def on_show(self) -> None:
        """Lines that came while it was hidden were scrolled to in no room at all."""
        self._stay_at_end()

    def _stay_at_end(self) -> None:
        if self.follow:
            # By force: before its bar is there, the view would not scroll.
            self.view.scroll_end(animate=False, immediate=True, force=True)

    @property
    def view(self) -> LogLines:
        return self.query_one(LogLines)

    # ------------------------------------------------------------------ keys

    def action_search(self) -> None:
        box = self.query_one("#log-search", Input)
        box.add_class("shown")
        self.screen.set_focus(box)  # now, not when the keys that wait were dealt with

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While one types what to search for, "/" is a letter and escape closes the line; else escape means
        what it means on the screen."""
        box = self.query_one("#log-search", Input)
        if action == "close_search":
            return box.has_class("shown")
        return action != "search" or self.screen.focused is not box

    @on(Input.Submitted, "#log-search")
    def search_for(self, event: Input.Submitted) -> None:
        event.stop()
        event.input.remove_class("shown")
        self.view.focus()
        self.view.search, self.view.found, self.matched = event.value, None, None
        if event.value:
            self.action_found(-1)
        self._tell()
        self.view.refresh()

    def action_close_search(self) -> None:
        self.query_one("#log-search", Input).remove_class("shown")
        self.view.focus()

    def action_found(self, by: int) -> None:
        if self.view.search:
            self.follow = False
            self._find(self.view.search, self.matched, by < 0)
        else:
            self.notify("Press / to search first.", severity="warning", markup=False)

    def action_follow(self) -> None:
        self.follow = not self.follow
        if self.follow:
            self.action_bottom()

    def action_top(self) -> None:
        self.follow = False
        self._read_start()

    def action_bottom(self) -> None:
        self.follow = True
        self._read_last()

    # ------------------------------------------------------------------ reading, in threads

    def refresh_end(self) -> None:
        """Take in what the log has grown by, when its end is in sight."""
        if not self.windows:
            self._read_last()
        elif self.follow and not self._reading:
            self._read_growth(self.windows)

    @work(thread=True, exclusive=True, group="log")
    def _read_last(self) -> None:
        self._try(lambda: WindowsRead([read_end(self.path)]))

    @work(thread=True, exclusive=True, group="log")
    def _read_start(self) -> None:
        self._try(lambda: WindowsRead([read_from(self.path, 0, WINDOW_BYTES)], found=0))

    @work(thread=True, exclusive=True, group="log")
    def _read_growth(self, windows: tuple[LogWindow, ...]) -> None:
        def read() -> Message | None:
            new = grown(self.path, windows[-1])
            if new == [windows[-1]] and not self._problem:
                return None
            kept = windows[:-1] if new[0].start == windows[-1].start else ()
            return WindowsRead([*kept, *new][-MOST_WINDOWS:])

        self._try(read)

    @work(thread=True, exclusive=True, group="log")
    def _read_more(self, windows: tuple[LogWindow, ...], above: bool) -> None:
        def read() -> Message:
            if above:
                more = read_before(self.path, windows[0])
                return WindowsRead([more, *windows][:MOST_WINDOWS], len(more.lines))
            all_of = [*windows, read_after(self.path, windows[-1])]
            gone = sum(len(window.lines) for window in all_of[:-MOST_WINDOWS])
            return WindowsRead(all_of[-MOST_WINDOWS:], -gone)

        self._try(read)

    @work(thread=True, exclusive=True, group="log")
    def _find(self, text: str, matched: int | None, backwards: bool) -> None:
        def search() -> Message:
            if matched is None:
                start = read_end(self.path, 1).size
            else:
                start = matched if backwards else line_end(self.path, matched)
            offset = find(self.path, text, start, backwards)
            if offset is None:
                return SearchEnded(None, (), None)
            window = read_from(self.path, offset, WINDOW_BYTES)
            before = read_before(self.path, window)
            return SearchEnded(offset, [before, window], len(before.lines))

        self._try(search)

    def _try(self, read: Callable[[], Message | None]) -> None:
        self._reading = True
        message: Message | None
        try:
            if self.path.parent.is_dir():
                message = read()
            else:
                message = LogUnreadable(f"{self.path.parent} is not on this machine")
        except OSError as error:
            message = LogUnreadable(f"{self.path}: cannot be read: {error.strerror or error}")
        if message is None:
            self._reading = False
        else:
            self.post_message(message)

    # ------------------------------------------------------------------ what came of it

    @on(WindowsRead)
    def keep_windows(self, message: WindowsRead) -> None:
        message.stop()
        self._keep(message.windows)
        if message.found is not None:
            self.view.scroll_to(y=message.found, animate=False)
        elif message.above:
            self.view.scroll_to(y=self.view.scroll_y + message.above, animate=False, force=True)
            if self.view.found is not None:
                self.view.found += message.above
        else:
            self._stay_at_end()

    @on(SearchEnded)
    def keep_match(self, message: SearchEnded) -> None:
        message.stop()
        self._reading = False
        if message.offset is None or message.found is None:
            self.notify(f"no match in the log for {self.view.search!r}", severity="warning")
            return
        self.matched = message.offset
        self._keep(message.windows)
        self.view.found = message.found
        self.view.scroll_to(y=max(0, message.found - self.view.size.height // 3), animate=False)

    @on(LogUnreadable)
    def tell_problem(self, message: LogUnreadable) -> None:
        message.stop()
        self._reading = False
        self._problem = message.problem
        self._tell()

    @on(LogLines.Scrolled)
    def read_on(self, event: LogLines.Scrolled) -> None:
        """Scrolled away from the end it follows no more; near an end of what is in memory it reads more."""
        event.stop()
        view = self.view
        if event.up and view.scroll_y < view.max_scroll_y - 1:
            self.follow = False
        if self.windows and not self._reading:
            if view.scroll_y < _NEAR and self.windows[0].start > 0 and not self.follow:
                self._reading = True
                self._read_more(self.windows, above=True)
            elif view.scroll_y > view.max_scroll_y - _NEAR and not self.windows[-1].at_end:
                self._reading = True
                self._read_more(self.windows, above=False)

    def watch_follow(self) -> None:
        if self.is_mounted:
            self._tell()

    def _keep(self, windows: Sequence[LogWindow]) -> None:
        self._reading, self._problem = False, ""
        self.windows = tuple(windows)
        self.view.set_lines([line for window in windows for line in window.lines])
        self._tell()

    def _tell(self) -> None:
        """The line above: what is in memory, of how much, and what it does."""
        parts = [self._problem] if self._problem else []
        if self.windows and self.windows[-1].size:
            first, last = self.windows[0], self.windows[-1]
            part = f"{data_size(last.end - first.start)} of {data_size(last.size)}"
            parts.append(data_size(last.size) if first.start == 0 and last.at_end else part)
        elif not self._problem:
            parts.append("the log is empty: no worker has written to it yet")
        parts.append("following" if self.follow else "not following (F)")
        if self.view.search:
            parts.append(f"search {self.view.search!r}: n next, N previous")
        self.query_one("#log-state", Static).update(Text("  ".join(parts), overflow="ellipsis", no_wrap=True))
