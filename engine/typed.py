"""Commands of seg-engine that a text tells its reader to type."""

from __future__ import annotations

import shlex
from pathlib import Path

PROGRAM = "seg-engine"

_before: list[str] = []


def typed_with(workspace: Path | None) -> None:
    """Remember the workspace that this program was given as an option: a command that is typed next needs
    it, too."""
    _before[:] = [] if workspace is None else ["-w", str(workspace)]


def typed(*words: str) -> str:
    """The line for a shell, for every command that looks into a workspace; without words only what comes
    before the command."""
    return shlex.join([PROGRAM, *_before, *words])
