"""A log as long as it likes, read a window at a time: whole lines between two byte offsets."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from engine.visible import one_line

WINDOW_BYTES = 256 * 1024
_CHUNK = 1 << 20
_LONGEST_LINE = 64 * 1024
"""A longer line is cut into lines of this many bytes."""
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])|\x07")
"""Control sequences, commands of an operating system such as a title, two-character escapes (ECMA-48), and
bells."""


@dataclass(frozen=True)
class LogWindow:
    """The lines of a log from byte `start` to byte `end`; `torn` when the last has no end yet. `size` is that
    of the whole file when it was read."""

    start: int = 0
    end: int = 0
    size: int = 0
    lines: tuple[str, ...] = ()
    torn: bool = False

    @property
    def at_end(self) -> bool:
        return self.end >= self.size


def read_end(path: Path, length: int = WINDOW_BYTES) -> LogWindow:
    """The last lines, at most `length` bytes; an empty window where there is no log. Raises OSError."""
    size = _size(path)
    return read_from(path, max(0, size - length), length, whole=size > length)


def read_before(path: Path, window: LogWindow, length: int = WINDOW_BYTES) -> LogWindow:
    """The lines that end where `window` starts."""
    start = max(0, window.start - length)
    return read_from(path, start, window.start - start, whole=start > 0)


def read_after(path: Path, window: LogWindow, length: int = WINDOW_BYTES) -> LogWindow:
    """The lines that begin where `window` ends."""
    return read_from(path, window.end, length)


def grown(path: Path, window: LogWindow) -> list[LogWindow]:
    """What `window`, the end of a log so far, has become: itself with new lines, or itself and another one.

    Of a log that grew by far more than a window, or was begun anew, only the new end.
    """
    size = _size(path)
    if size == window.size:
        return [window]
    if size < window.end or size - window.end > 4 * WINDOW_BYTES:
        return [read_end(path)]
    own = window.end - window.start
    if window.torn or own < WINDOW_BYTES:
        return [read_from(path, window.start, own + size - window.end)]
    return [window, read_after(path, window, size - window.end)]


def read_from(path: Path, start: int, length: int, whole: bool = False) -> LogWindow:
    """Whole lines from byte `start` on; with `whole` the first, which may be the end of one, is left out.
    A last line without its end is given when nothing follows it."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(start)
            data = stream.read(length)
    except FileNotFoundError:
        return LogWindow()
    if whole:
        skipped = data.find(b"\n") + 1
        if 0 < skipped < len(data):
            start, data = start + skipped, data[skipped:]
    if start + len(data) < size and b"\n" in data:
        data = data[: data.rfind(b"\n") + 1]
    torn = bool(data) and not data.endswith(b"\n")
    return LogWindow(start, start + len(data), size, _lines(data), torn)


def find(path: Path, text: str, start: int, backwards: bool = False) -> int | None:
    """The offset of the line that holds `text`, whatever the case of A to Z: the first from byte `start` on,
    or the last before it. Goes around the end of the file once; None when no line does. Raises OSError."""
    wanted = text.encode().lower()  # as the bytes of the log, which know no case of other letters
    if not wanted or not (size := _size(path)):
        return None
    ahead, behind = (start, size), (0, start)
    for begin, end in (behind, ahead) if backwards else (ahead, behind):
        place = _find_in(path, wanted, begin, end, backwards)
        if place is not None:
            return _line_start(path, place)
    return None


def line_end(path: Path, offset: int) -> int:
    """The offset behind the line that begins at byte `offset`."""
    with open(path, "rb") as stream:
        stream.seek(offset)
        return offset + len(stream.readline(_LONGEST_LINE))


def _find_in(path: Path, wanted: bytes, begin: int, end: int, backwards: bool) -> int | None:
    """Where `wanted` first (or last) begins between two offsets; chunks overlap by its length."""
    overlap = len(wanted) - 1
    starts = list(range(begin, end, _CHUNK))
    with open(path, "rb") as stream:
        for start in reversed(starts) if backwards else starts:
            stream.seek(start)
            chunk = stream.read(min(_CHUNK + overlap, end - start + overlap)).lower()
            place = chunk.rfind(wanted) if backwards else chunk.find(wanted)
            if place >= 0:
                return start + place
    return None


def _line_start(path: Path, offset: int) -> int:
    """The offset at which the line of the byte at `offset` begins."""
    start = max(0, offset - _LONGEST_LINE)
    with open(path, "rb") as stream:
        stream.seek(start)
        before = stream.read(offset - start)
    newline = before.rfind(b"\n")
    return start if newline < 0 else start + newline + 1


def _lines(data: bytes) -> tuple[str, ...]:
    """The lines as text. A progress bar's carriage returns leave what it showed last; colours and whatever
    else would move a terminal's cursor are left out."""
    lines = []
    for raw in data.decode(errors="replace").removesuffix("\n").split("\n") if data else ():
        line = printable(raw.rstrip("\r").rpartition("\r")[2])
        lines += [line[i : i + _LONGEST_LINE] for i in range(0, max(1, len(line)), _LONGEST_LINE)]
    return tuple(lines)


def printable(line: str) -> str:
    """The line without a terminal's control sequences; what else cannot be shown is made visible."""
    return line if line.isprintable() else one_line(_ESCAPE.sub("", line).expandtabs(4))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
