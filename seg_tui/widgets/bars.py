"""The lines around a screen: its title, what ails the database, its keys."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual import events
from textual.widgets import Static


class TitleBar(Static):
    """Where one is, and on the right how things stand."""

    DEFAULT_CSS = """
    TitleBar { height: 1; background: $panel; color: $foreground; padding: 0 1; text-wrap: nowrap; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._left, self._right = "", ""

    def say(self, left: str, right: str) -> None:
        if (left, right) != (self._left, self._right):
            self._left, self._right = left, right
            self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.size.width - 2
        left = self._left
        room = width - len(self._right) - 2
        if len(left) > room:
            left = "…" + left[-max(1, room - 1) :] if room > 4 else ""
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("seg-tui", "bold")
        text.append(left.removeprefix("seg-tui") if left.startswith("seg-tui") else f" {left}")
        text.append(" " * max(1, width - text.cell_len - len(self._right)) + self._right)
        self.update(text)


class TroubleLine(Static):
    """Why the database cannot be read; nothing at all while it can."""

    DEFAULT_CSS = """
    TroubleLine {
        display: none; height: auto; padding: 0 1;
        background: $warning; color: $background; text-style: bold;
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

    def _draw(self) -> None:
        keys = tuple(
            (active.binding.key, self.app.get_key_display(active.binding), active.binding.description)
            for active in self.screen.active_bindings.values()
            if active.binding.show and active.enabled
        )
        if (keys, self.size.width) != (self._said, self._width):
            self._said, self._width = keys, self.size.width
            self.update(key_text(keys, max(20, self.size.width - 2), self._most))


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
