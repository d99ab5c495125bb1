"""The lines around a screen: its title, what ails the database, its keys."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.widgets import Static
from textual.worker import Worker

from seg_tui.widgets.column_widths import fitted
from seg_tui.widgets.still import Still

SPIN_SECONDS = 0.15
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
AWAITED = frozenset(
    {"actions", "compare", "draw", "explain", "export", "filter", "find", "look", "origin", "queue", "run"}
)
"""The groups of workers that somebody waits for; others read what changes by itself."""


class TitleBar(Still):
    """Where one is, and on the right how things stand. What takes longer than two turns of the spinner, which
    is 0.3 s, shows that it goes on."""

    DEFAULT_CSS = """
    TitleBar { height: 1; background: $panel; color: $foreground; padding: 0 1; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._left, self._right = "", ""
        self._turns: dict[Worker[Any], int] = {}
        self._spins = ""

    def on_mount(self) -> None:
        if self.app.animation_level != "none":
            self.set_interval(SPIN_SECONDS, self._turn)

    def _turn(self) -> None:
        if not self.screen.is_active:
            return
        at_work = [worker for worker in self.app.workers if worker.is_running and worker.group in AWAITED]
        self._turns = {worker: self._turns.get(worker, -1) + 1 for worker in at_work}
        turn = max(self._turns.values(), default=0)
        spins = SPINNER[turn % len(SPINNER)] + " " if turn >= 2 else ""
        if spins != self._spins:
            self._spins = spins
            self._draw()

    def say(self, left: str, right: str) -> None:
        self._left, self._right = left, right
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        self.show(title_text(self._left, self._spins + self._right, max(20, self.size.width)))


def title_text(left: str, right: str, width: int) -> Text:
    """Both in exactly `width` characters. `left`, often a path, is cut first and at its beginning, `right` at
    its end."""
    name = "seg-tui"
    right = fitted(right, min(cell_len(right), width - len(name) - 1))
    room = width - len(name) - cell_len(right) - 3
    if cell_len(left) > room:
        while left and cell_len(left) > room - 1:
            left = left[1:]
        left = f"…{left}" if left else ""
    text = Text(name, "bold", no_wrap=True, overflow="ellipsis")
    text.append(f" {left}", "not bold")
    text.append(" " * (width - text.cell_len - cell_len(right)) + right, "not bold")
    return text


class TroubleLine(Static):
    """Why the database cannot be read; nothing at all while it can."""

    DEFAULT_CSS = """
    TroubleLine {
        display: none; height: auto; padding: 0 1;
        background: $warning; color: auto; text-style: bold;
        &:ansi { color: $background; }
        &.shown { display: block; }
    }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False, id="trouble")

    def on_mount(self) -> None:
        self.watch(self.app, "trouble", self._say)

    def _say(self, trouble: str) -> None:
        self.set_class(bool(trouble), "shown")
        self.update(f"! {trouble}  (trying again)" if trouble else "")


class KeyBar(Static):
    """The keys of the screen, as many as fit into `lines`; what does not fit is said to be behind "?"."""

    DEFAULT_CSS = """
    KeyBar {
        height: auto; background: $panel; color: $foreground; padding: 0 1; text-wrap: nowrap;
        link-color: $foreground; link-style: none; link-background: $panel;
        link-color-hover: $background; link-background-hover: $primary; link-style-hover: none;
    }
    """

    def __init__(self, lines: int = 2) -> None:
        super().__init__("", markup=False)
        self._most = lines
        self._said: tuple[tuple[str, str, str], ...] = ()
        self._width = 0

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda screen: self._draw())
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def allow(self, lines: int) -> None:
        """Take at most so many lines from now on."""
        self._most, self._width = lines, 0
        self._draw()

    def _draw(self) -> None:
        keys = tuple(
            (active.binding.key, self.app.get_key_display(active.binding), active.binding.description)
            for active in self.screen.active_bindings.values()
            if active.binding.show and active.enabled
        )
        if (keys, self.size.width) != (self._said, self._width):
            self._said, self._width = keys, self.size.width
            self.update(key_text(keys, max(20, self.size.width), self._most))


def key_text(keys: tuple[tuple[str, str, str], ...], width: int, lines: int) -> Text:
    """Key and word of each, packed into lines of `width`; each can be clicked."""
    more = "… ? all keys"
    rows: list[list[tuple[str, str, str]]] = [[]]
    used = 0
    for position, (key, shown, word) in enumerate(keys):
        length = len(shown) + 1 + len(word)
        last = len(rows) == lines
        rest = position < len(keys) - 1
        room = width - (len(more) + 2 if last and rest else 0)
        if used + length > room:
            if last:
                rows[-1].append(("question_mark", "", more))
                break
            rows.append([])
            used = 0
        rows[-1].append((key, shown, word))
        used += length + 2
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, row in enumerate(rows):
        text.append("\n" if number else "")
        for position, (key, shown, word) in enumerate(row):
            click = Style.from_meta({"@click": f"app.simulate_key('{key}')"})
            text.append("  " if position else "")
            if shown:
                text.append(shown, Style(bold=True) + click)
                text.append(" ")
            text.append(word, Style(dim=True) + click)
    return text
