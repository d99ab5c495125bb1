"""The end of a text, under a title."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.text import Text
from textual.widget import Widget

from seg_tui.logfile import printable
from seg_tui.widgets.column_widths import fitted


class Tail(Widget):
    """A title and the last lines that there is room for."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title, self._style, self._whole = "", "", False
        self._lines: tuple[str, ...] = ()

    def show(self, title: str, lines: Sequence[str], style: str, whole: bool = False) -> None:
        """Show other lines; nothing is repainted when they are the same. Those that are wider than there is
        room are cut, or `whole` in several lines."""
        shown = (title, tuple(lines), style, whole)
        if shown != (self._title, self._lines, self._style, self._whole):
            self._title, self._lines, self._style, self._whole = shown
            self.refresh()

    def render(self) -> Text:
        width, height = self.size
        text = Text(self._title, style="bold", no_wrap=True)
        most = max(1, height - 1)
        last = self._lines[-most:]
        for line in wrapped(last, max(1, width))[-most:] if self._whole else last:
            text.append("\n" + fitted(printable(line), width).rstrip(), f"not bold {self._style}")
        return text


def wrapped(lines: Sequence[str], width: int) -> list[str]:
    """Each line in as many of `width` characters as it needs."""
    return [part for line in lines for part in textwrap.wrap(printable(line), width) or [""]]
