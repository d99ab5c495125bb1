"""How a benchmark ends that was given something wrong, such as a KEY=VALUE."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import EngineError
from engine.exits import tell


def told_in_lines(main: Callable[[], int | None]) -> int:
    """Run a benchmark; returns its exit status, 2 after a line for each thing that its user can mend. Other
    errors are faults and keep their traceback."""
    try:
        return main() or 0
    except EngineError as error:
        return tell(error)
