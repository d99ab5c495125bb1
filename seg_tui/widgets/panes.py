"""Parts of a screen that have a quiet border with a title where there is room, and boxes over a screen that
always have one. `app.tcss` says how they look."""

from __future__ import annotations

from typing import TypeVar

from rich.text import Text
from textual.widget import Widget

PaneT = TypeVar("PaneT", bound=Widget)


def pane(widget: PaneT, title: str, around_focus: bool = False) -> PaneT:
    """The widget as a pane with that title, which is taken word for word, and which stands out while the pane
    has the focus; with `around_focus` also while something in it has."""
    widget.border_title = Text(title)
    widget.add_class("pane")
    widget.set_class(around_focus, "around-focus")
    return widget


def box(widget: PaneT, title: str, keys: str) -> PaneT:
    """The widget as a box over a screen, with its title above and the keys that it takes below."""
    widget.border_title, widget.border_subtitle = Text(title), Text(keys)
    widget.add_class("box")
    return widget
