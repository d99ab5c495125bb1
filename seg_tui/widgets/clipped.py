"""A text of a few lines at most, which says so where it is cut."""

from __future__ import annotations

from rich.text import Text
from textual.geometry import Size
from textual.widget import Widget

NARROWEST = 10


class Clipped(Widget):
    """Takes as many lines as its text needs, up to `most`; what does not fit ends in `sign`."""

    DEFAULT_CSS = """
    Clipped { height: auto; }
    """

    def __init__(self, most: int, sign: str = "…", id: str | None = None) -> None:
        super().__init__(id=id)
        self._most, self._sign = most, sign
        self._text = Text()

    @property
    def text(self) -> str:
        """All of it, cut or not."""
        return self._text.plain

    def say(self, text: Text | str) -> None:
        self._text = Text(text) if isinstance(text, str) else text
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines(width)) if self._text else 0

    def render(self) -> Text:
        return Text("\n", no_wrap=True).join(self._lines(self.size.width))

    def _lines(self, width: int) -> list[Text]:
        width = max(NARROWEST, width)
        lines = list(self._text.wrap(self.app.console, width, overflow="fold"))
        if len(lines) > self._most:
            lines = lines[: self._most]
            last = lines[-1]
            last.rstrip()
            last.truncate(width - len(self._sign) - 1)
            last.append(f" {self._sign}", "not dim")
        return lines
