"""Text that is repainted only when it says something else."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


class Still(Static):
    """Lines that are cut with "…" where they are too long.

    Textual lays out the screen anew at each `update` of a `Static`; `show` asks for that only when the number
    of lines is another.
    """

    DEFAULT_CSS = """
    Still { text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._shown = Text()

    def show(self, text: Text) -> None:
        if text != self._shown:
            taller = text.plain.count("\n") != self._shown.plain.count("\n")
            appears = bool(text.plain) != bool(self._shown.plain)
            self._shown = text
            self.update(text, layout=taller or appears)
