"""A pane of text that is set anew for each width, and only when it says something else."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import ScrollableContainer
from textual.widgets import Static


class TextPane(ScrollableContainer):
    """Scrolls text that is made for the pane's width; of class `wide`, text that is as wide as it is. What
    is scrolled to stays when the text changes."""

    DEFAULT_CSS = """
    TextPane {
        padding: 0 1; overflow-x: hidden; overflow-y: auto; scrollbar-gutter: stable;
        scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1;
    }
    TextPane > Static { width: 100%; }
    TextPane.wide { overflow-x: auto; }
    TextPane.wide > Static { width: auto; min-width: 100%; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._make: Callable[[int], Text] = lambda width: Text()
        self._shown: Text | None = None
        self._at_end = False
        self.updates = 0
        """How often the text became another."""

    def compose(self) -> ComposeResult:
        yield Static(markup=False)

    def show(self, make: Callable[[int], Text], at_end: bool = False) -> None:
        """Show what `make` makes of the width in cells, now and after each resize; the first text of all with
        its end in sight if wanted."""
        self._make, self._at_end = make, at_end
        self._set()

    def on_resize(self) -> None:
        self._set()

    def _set(self) -> None:
        width = self.scrollable_content_region.width
        if not self.is_mounted or width <= 0:
            return
        text = self._make(width)
        if self._shown is not None and text == self._shown and text.spans == self._shown.spans:
            return
        first, self._shown = not self._shown, text
        self.updates += 1
        self.query_one(Static).update(text)
        if first and self._at_end:
            self.call_after_refresh(self.scroll_end, animate=False, x_axis=False)


def hint(told: str, width: int) -> Text:
    """Faint words in lines of `width` cells, for panes of class `wide`, which wrap nothing."""
    return Text("\n".join(textwrap.wrap(told, max(20, width), break_on_hyphens=False)), "dim")
