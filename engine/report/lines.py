"""Lines of text below each other, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from engine.visible import one_line


def quoted(value: str) -> str:
    return value if value and " " not in value else f'"{value}"'


def as_lines(lines: Iterable[Text]) -> Text:
    """Lines below each other, each of which stays one whatever it holds."""
    return Text("\n", no_wrap=True, overflow="ignore").join(map(_on_one_line, lines))


def _on_one_line(line: Text) -> Text:
    if line.plain.isprintable():
        return line
    shown = line.copy()
    shown.plain = one_line(line.plain)  # as long as before, so that the styles stay in place
    return shown
