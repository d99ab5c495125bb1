"""Text from outside, shown so that a terminal displays it instead of acting on it.

Names, notes, file names, class names and messages come from colleagues, archives and imported runs. Whatever
reaches a terminal passes `visible`: the two streams of every program through `guard_streams`, styled output
in `engine.cli.console`, the dashboard in `seg_tui.safe_lines`.
"""

from __future__ import annotations

import io
import os
import re
import sys
import unicodedata
from collections.abc import Callable
from typing import Any, TextIO, cast

_INVISIBLE = frozenset(
    (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xE0000, 0xE1000))
)
"""Characters of other categories that take no room or look like nothing."""


def visible(text: str) -> str:
    """The text with a visible character in place of each that a terminal obeys, hides or cannot be sent.

    These are the control characters (C0, DEL, C1) but new line and tab, bidirectional and other format
    characters, line and paragraph separators, characters without width, lone surrogates and unassigned code
    points. C0 and DEL become their Unicode pictures (ESC is "␛"), all others "�". The number of characters
    stays the same.

    >>> visible("a\x1b]0;title\x07")
    'a␛]0;title␇'
    """
    # The test costs next to nothing, and nearly all text passes it.
    return text if text.isprintable() else text.translate(_LINES)


def one_line(text: str) -> str:
    """`visible` text that stays on its line: for names, which may be followed by more on the same line."""
    return text if text.isprintable() else text.translate(_LINE)


def block(text: str, indent: str = "    ") -> str:
    """Text of several lines in which all but the first are indented, so that none of them can be taken for a
    line of the program's own."""
    return f"\n{indent}".join(one_line(line) for line in text.splitlines())


SEVERAL_LINES = "has a line break or a tab; it must stay on one line"


def is_one_line(text: str) -> bool:
    """Whether a text has neither line breaks of any kind nor tabs, as the name of a run must."""
    return "\t" not in text and len(f"{text}.".splitlines()) == 1


def visible_json(text: str) -> str:
    """JSON in which each character that `visible` would replace is escaped; its value stays the same."""
    return text if text.isprintable() else text.translate(_JSON)


class _Table(dict[int, str]):
    """For `str.translate`: what stands for each character, found out when it is first met. `kept` are control
    characters that stay."""

    def __init__(self, stand_in: Callable[[str], str], kept: str) -> None:
        super().__init__({ord(character): character for character in kept})
        self._stand_in = stand_in

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = self._stand_in(character) if _is_unsafe(character) else character
        return self[code]


def _picture(character: str) -> str:
    code = ord(character)
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else "�"


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _is_unsafe(character: str) -> bool:
    # Blanks of other widths (Zs) and private use (Co, such as the icons of terminal fonts) only look odd.
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp") or ord(character) in _INVISIBLE


_LINES, _LINE, _JSON = _Table(_picture, "\n\t"), _Table(_picture, ""), _Table(_escape, "\n")


def text_problem(text: str) -> str:
    """Why no database can keep a text, "" when it can: PostgreSQL takes no NUL, and none of them bytes that
    are not valid UTF-8, which Python reads as lone surrogates."""
    if "\0" in text:
        return "holds the character NUL, which no database keeps"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "is not valid UTF-8 text; type it in a terminal that is set to UTF-8"
    return ""


_CARRIAGE_RETURNS = re.compile(r"\r+\n?")


class GuardedStream(io.TextIOBase):
    """A text stream that writes `visible` text only.

    `unguarded` is the stream behind it, for those who check their text themselves and add styles to it.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        self.unguarded.write(visible(_CARRIAGE_RETURNS.sub("\n", text) if "\r" in text else text))
        return len(text)

    def flush(self) -> None:
        self.unguarded.flush()

    def isatty(self) -> bool:
        return self.unguarded.isatty()

    def fileno(self) -> int:
        return self.unguarded.fileno()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Leave the stream behind it open: whoever opened it closes it."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.unguarded.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.unguarded.errors


def guard_streams() -> None:
    """Let nothing but `visible` text through stdout and stderr from here on: prints, usage errors, warnings
    and tracebacks. Does nothing the second time."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if isinstance(stream, GuardedStream):
            continue
        if stream is None:  # closed by who started the program, so that the next file would take its place
            stream = open(os.devnull, "w")  # noqa: SIM115  (it stays open)
        if hasattr(stream, "reconfigure"):
            # A terminal that is not UTF-8 shows "?" for a block of a curve; it is no reason to end.
            stream.reconfigure(errors="replace")
        setattr(sys, name, GuardedStream(stream))


def unguarded(stream: Any) -> TextIO:
    """The stream behind a guarded one, or the stream itself."""
    return cast(TextIO, stream.unguarded if isinstance(stream, GuardedStream) else stream)
