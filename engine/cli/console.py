"""The two streams of the command line: results on stdout, everything else on stderr.

Results stay clean for pipes that way: `seg-engine runs --json | jq` never meets a notice or a progress bar.
Colours appear on a terminal only and not with NO_COLOR set (https://no-color.org).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from engine.visible import one_line, unguarded, visible, visible_json


class Stream(Console):
    """Prints text as it is: no markup, no emoji codes, no guessing at what may be a number.

    What text holds for a terminal to act on is made `visible`, so that styles are the program's own.
    """

    def __init__(self, stderr: bool) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        self._noted: set[str] = set()

    def note(self, text: str) -> None:
        """Say what a person should know, once: several looks, and a run's own record, may come upon it."""
        if text not in self._noted:
            self._noted.add(text)
            self.say(f"note: {text}")

    def has_noted(self, text: str) -> bool:
        """Whether a note has been said."""
        return text in self._noted

    def say(self, text: str | Text = "") -> None:
        """Print lines whole: the terminal may wrap them, a pipe gets all of them.

        A str is one line, whatever names it holds, with blank lines before and behind it; a Text is a block,
        whose maker sees to its lines.
        """
        if isinstance(text, str):
            inner = text.strip("\n")
            text = text.replace(inner, one_line(inner)) if inner else text
        self.print(text, soft_wrap=True)

    @property
    def file(self) -> IO[str]:
        """The stream itself, as `render` guards the text and a guarded stream would show styles as text."""
        return unguarded(super().file)

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)

    @property
    def table_width(self) -> int | None:
        """Columns that a table may take; None, in a file or a pipe, for as many as it likes."""
        return self.width if self.is_terminal else None

    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError, which Rich would turn into an exit; `main` deals with it


output = Stream(stderr=False)
notices = Stream(stderr=True)


def fall_silent() -> None:
    """Send the streams nowhere whose reader, such as `head`, has seen enough: what is still written, and
    Python when it closes them, would complain again."""
    streams = select.poll()
    for descriptor in (1, 2):
        streams.register(descriptor, 0)
    for descriptor, event in streams.poll(0):
        if event & select.POLLERR:  # a pipe without a reader
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


@contextlib.contextmanager
def silent_without_reader() -> Iterator[None]:
    """Within it, a stream whose reader is gone ends the block and no more: what follows is not shown."""
    try:
        yield
    except BrokenPipeError:
        fall_silent()


def print_json(value: Any, indent: int | None = 1) -> None:
    """Print JSON values for programs, at once; every character that is not plain ASCII is escaped."""
    separators = (",", ":") if indent is None else None  # a line of JSON is as the journal has it
    try:
        text = json.dumps(value, indent=indent, separators=separators, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), indent=indent, separators=separators)
    print(visible_json(text), flush=True)


def _finite(value: Any) -> Any:
    """JSON has no word for NaN and infinity: null stands for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with a rate and a time left on a terminal, nothing elsewhere; gives a function (done, total)."""
    if not notices.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=notices, transient=True) as bar:
        task = bar.add_task(what, total=None, visible=False)
        yield lambda done, total: bar.update(task, total=total, completed=done, visible=True)


@contextlib.contextmanager
def download_bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar with size, rate and time left on a terminal, nothing elsewhere; gives a function (bytes here,
    bytes in all)."""
    if not notices.is_terminal:
        yield lambda here, total: None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn(what),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=notices, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda here, total: bar.update(task, total=total, completed=here)
