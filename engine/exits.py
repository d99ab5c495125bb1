"""How the programs end: their exit statuses, and what they say of the error that ended them.

An `EngineError`, and what the operating system refuses, is told in lines that people can act on. Any other
error is a fault: its traceback is printed as Python prints it, followed by one line that says whose fault it
is. A fault is never told as bad input.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from typing import TypeVar

from engine.errors import EngineError
from engine.visible import block, one_line

DONE = 0
FAILED = 1
"""The run failed, or a check found faults."""
BAD_USE = 2
"""Wrong use or bad input, or the operating system refused something."""
STOPPED = 3
"""Stopped; the run can be resumed."""
FAULT = 70
"""A fault of the program or of a plugin (EX_SOFTWARE of sysexits.h)."""
INTERRUPTED = 130

MOST_LINES = 10
"""Of a list that may be long so many lines are printed, and how many there are beside them."""

_OWN_MISTAKES = (errno.EBADF, errno.EFAULT, errno.ECHILD, errno.ESPIPE, errno.ENOTSOCK)
"""Error numbers that only a mistake in a program brings about: no file, disk or right is missing."""

_Line = TypeVar("_Line")


def tell(error: BaseException) -> int:
    """Say on stderr what ended a program; returns its exit status."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, EngineError):
        if error.several_lines:
            return complain(block(str(error), indent=""))
        return complain(*map(one_line, error.problems), more=error.more)
    if isinstance(error, MemoryError):
        return complain(one_line(str(error) or "memory ran out"))
    if isinstance(error, OSError) and is_of_the_system(error):
        from engine.host.access import explain

        return complain(one_line(explain(error)))
    traceback.print_exception(error)
    complain(one_line(whose_fault(error) if is_fault(error) else summary(error)))
    return FAULT if is_fault(error) else FAILED


def complain(*problems: str, more: int = 0) -> int:
    """Print the first problems, and how many there are beside them; returns the exit status of bad use."""
    shown = first_few(problems, more)
    for problem in shown:
        print(f"error: {problem}", file=sys.stderr)
    rest = len(problems) - len(shown) + more
    if rest:
        print(f"error: and {rest:,} more problems", file=sys.stderr)
    return BAD_USE


def first_few(lines: Sequence[_Line], more: int = 0) -> Sequence[_Line]:
    """The first `MOST_LINES` of a list that has `more` beside it; all where only one would be left out."""
    return lines if len(lines) + more <= MOST_LINES + 1 else lines[:MOST_LINES]


def is_of_the_system(error: OSError) -> bool:
    """Whether an error is the operating system's refusal of something that people can mend: a file that is
    missing, a right, a full disk. A closed descriptor, or an OSError that Python made up, is a fault."""
    return error.strerror is not None and error.errno not in _OWN_MISTAKES


def is_fault(error: BaseException) -> bool:
    """Whether an error is a fault of the program or of a plugin: not told to be mended, nor the machine's."""
    if isinstance(error, OSError):
        return not is_of_the_system(error)
    from_the_device = type(error).__module__.partition(".")[0] == "torch"  # such as a GPU that fell out
    return not (isinstance(error, EngineError | MemoryError | KeyboardInterrupt) or from_the_device)


def whose_fault(error: BaseException, evidence: str = "the lines above") -> str:
    """The line beside the traceback of a fault: of a plugin with its place, else of seg-engine. `evidence` is
    what to report it with."""
    from engine.plugins import place_in_plugin

    if place := place_in_plugin(error):
        return f"{place}: this is a fault of the plugin, not of seg-engine"
    return f"this is a fault of seg-engine{_version()}, not of your input; please report it with {evidence}"


def summary(error: BaseException) -> str:
    """An error in a line: the engine's own words as they are, any other with its type."""
    kind = type(error).__name__
    line = (str(error).strip() or kind).splitlines()[0]
    return line if isinstance(error, EngineError) or line == kind else f"{kind}: {line}"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f" {version('seg-engine')}"
    except PackageNotFoundError:
        return ""
