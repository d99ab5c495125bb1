"""The two streams of the command line: results on stdout, everything else on stderr.

Results stay clean for pipes that way: `seg-engine runs --json | jq` never meets a notice or a progress bar.
Colours appear on a terminal only and not with NO_COLOR set (https://no-color.org).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.text import Text


class Stream(Console):
    """Prints text as it is: no markup, no emoji codes, no guessing at what may be a number."""

    def __init__(self, stderr: bool) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def say(self, text: str | Text = "") -> None:
        """Print lines whole: the terminal may wrap them, a pipe gets all of them."""
        self.print(text, soft_wrap=True)

    @property
    def table_width(self) -> int | None:
        """Columns that a table may take; None, in a file or a pipe, for as many as it likes."""
        return self.width if self.is_terminal else None

    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError, which Rich would turn into an exit; `main` deals with it


output = Stream(stderr=False)
notices = Stream(stderr=True)


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
