"""Errors that people can mend. Everything else is a fault of the program; see `engine.exits`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class Notice(UserWarning):
    """A line that is worth knowing and no error, for programs that use the Python interface."""


class EngineError(Exception):
    """Something that its reader can mend: the message says what is wrong, where, and what would be right.

    `problems` holds a line for each thing that is wrong, but for `more` that are not put into words. A class
    whose message is one text of several lines that belong together says so by `several_lines`.
    """

    several_lines: ClassVar[bool] = False

    def __init__(self, problems: str | Sequence[str] = "", more: int = 0) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        self.more = more
        super().__init__("\n".join(self.problems))
