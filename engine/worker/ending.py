"""How an attempt at a run ended. Imports no torch, which may be what failed."""

from __future__ import annotations

import traceback

from engine.run.checkpoint_file import first_line
from engine.run.events import Failed, FailureCause, Stopped

Ending = Failed | Stopped | None
"""The event that is still to be put on the record; None for a task that has finished and said so."""


def failure(error: BaseException, cause: FailureCause = "exception") -> Failed:
    """The end that an error makes: its one-line message, and its traceback."""
    trace = "".join(traceback.format_exception(error))
    # This program's own errors speak for themselves.
    own = type(error).__module__.startswith("engine.") or type(error).__module__ == "__main__"
    line = first_line(error)
    return Failed(cause=cause, message=line if own else f"{type(error).__name__}: {line}", traceback=trace)
