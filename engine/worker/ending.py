"""How an attempt at a run ended. Imports no torch, which may be what failed."""

from __future__ import annotations

import traceback

from engine.exits import is_fault, summary, whose_fault
from engine.run.events import Failed, FailureCause, Stopped

Ending = Failed | Stopped | None
"""The event that is still to be put on the record; None for a task that has finished and said so."""


def failure(error: BaseException, cause: FailureCause = "exception") -> Failed:
    """The end that an error makes: its one-line message, and its traceback."""
    trace = "".join(traceback.format_exception(error))
    told = [summary(error)]
    if is_fault(error):
        told.append(whose_fault(error, "its traceback"))
    return Failed(cause=cause, message="; ".join(told), traceback=trace)
