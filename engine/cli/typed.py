"""Commands that one is to type next."""

from __future__ import annotations

import shlex
from pathlib import Path

from engine.cli.usage import PROGRAM

_before: list[str] = []


def typed_with(workspace: Path | None) -> None:
    """Remember the workspace that this command was given as an option: the next one needs it, too."""
    _before[:] = [] if workspace is None else ["-w", str(workspace)]


def typed(*words: str) -> str:
    """The line for a shell."""
    return shlex.join([PROGRAM, *_before, *words])
