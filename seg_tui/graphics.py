"""Pixels instead of cells, where the terminal has them and the setting `images` asks for them.

textual-image speaks the two protocols. The terminal is asked for its cell size and whether it knows the
protocol; both have to happen before the app reads the terminal's answers itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual.widget import Widget

if TYPE_CHECKING:
    from PIL import Image

    from seg_tui.widgets.kitty_image import KittyImage
    from seg_tui.widgets.sixel_image import SixelImage

MOST_CELLS = {"kitty": 297, "sixel": 10_000}
"""Cells down or across that an image may take: Kitty's placeholders count no further."""


@dataclass(frozen=True)
class Graphics:
    """How the terminal shows images: `cell` is the height and width of a cell in pixels, `make` makes a
    widget that shows one."""

    name: str
    cell: tuple[int, int]
    make: Callable[[], SixelImage | KittyImage]

    def widget(self) -> Widget:
        """A widget of the class `pixels`, which takes images through `put`."""
        widget = self.make()
        widget.add_class("pixels")
        return widget

    def put(self, widget: Widget, image: Image.Image) -> None:
        """Show an image in a widget that `widget` made."""
        cast("SixelImage | KittyImage", widget).image = image

    def holds(self, lines: int, cols: int) -> bool:
        """Whether an image may take so many cells."""
        return max(lines, cols) <= MOST_CELLS[self.name]


def open_graphics(name: str) -> tuple[Graphics | None, str]:
    """What the setting `images` says; without it, or where the terminal cannot, None and a line on why.

    Asks the terminal, so it has to be called before the app runs.
    """
    if name == "halfcell":
        return None, ""
    from textual_image._terminal import get_cell_size
    from textual_image.renderable import sixel, tgp

    from seg_tui.widgets.kitty_image import KittyImage
    from seg_tui.widgets.sixel_image import SixelImage

    knows = {"kitty": tgp.query_terminal_support, "sixel": sixel.query_terminal_support}[name]
    if not knows():
        return None, f"images: this terminal does not report support for {name}; using half-block cells"
    size = get_cell_size()
    return Graphics(name, (size.height, size.width), KittyImage if name == "kitty" else SixelImage), ""
