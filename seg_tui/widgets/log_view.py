"""Lines of a log: any number of them, only those seen are drawn, the newest kept in sight."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from seg_tui.widgets.columns import fitted


class LogView(ScrollView, can_focus=True):
    """Shows `lines`; stays at the end when it was there."""

    DEFAULT_CSS = """
    LogView { height: 1fr; background: $background; padding: 0 1; overflow-x: hidden; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[str] = ["nothing was printed"]

    @property
    def lines(self) -> list[str]:
        return list(self._lines)

    def show(self, lines: Sequence[str]) -> None:
        at_end = self.is_vertical_scroll_end
        shown = ["".join(c if c.isprintable() else " " for c in line.expandtabs(4)) for line in lines]
        self._lines = shown or ["nothing was printed"]
        self.virtual_size = Size(0, len(self._lines))
        if at_end:
            self.scroll_end(animate=False, immediate=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width, number = self.scrollable_content_region.width, self.scroll_offset.y + y
        text = self._lines[number] if number < len(self._lines) else ""
        return Strip([Segment(fitted(text, width), self.rich_style)], width)
