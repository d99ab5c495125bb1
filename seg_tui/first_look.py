"""The first look at the database, by a process of its own while this one imports and draws the dashboard.

Reading it needs SQLAlchemy, which takes as long to import as Textual: two processes import both in the time
of one. Where the first look fails, `Live` reads the database itself and says what is wrong.
"""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.host.processes import python_command, python_environment
from engine.workspace import Workspace, file_identity

if TYPE_CHECKING:
    from engine.store import RunSummary

WAIT_SECONDS = 2.0
"""How long a look waits for somebody who holds the database, before that is called trouble."""


@dataclass(frozen=True)
class Look:
    """All runs, and of which file; `read_only` and `workspace` as in a Snapshot."""

    file: tuple[int, int]
    runs: tuple[RunSummary, ...]
    read_only: str
    workspace: str


class FirstLook:
    """Begins at once; `take` it once."""

    def __init__(self, workspace: Workspace) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):  # without room for another process `Live` looks for itself
            self._process = subprocess.Popen(
                python_command("seg_tui.first_look", str(workspace.root), workspace.read_only),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=python_environment(),
            )

    def take(self) -> Look | None:
        """Wait for what it has seen; None where there is no database, and where it could not be read."""
        if self._process is None:
            return None
        told, _ = self._process.communicate()
        if self._process.returncode != 0:
            return None
        import pickle  # imported while the other process is at work

        from engine.store.summary_rows import unpacked

        file, rows, read_only, workspace = pickle.loads(told)
        return Look(file, tuple(map(unpacked, rows)), read_only, workspace)

    def abandon(self) -> None:
        """Let nobody wait for it any more."""
        if self._process is not None:
            self._process.kill()


def main() -> None:
    """Write what there is to see to stdout; end with status 1 where that is nothing."""
    gc.disable()  # it lives for a moment
    root, read_only = sys.argv[1:]
    workspace = Workspace(Path(root), read_only)
    if file_identity(workspace) is None:
        sys.exit(1)
    import pickle

    from engine.store.summary_rows import packed

    with workspace.open_store(WAIT_SECONDS, look=True) as store:
        rows = list(map(packed, store.changes().runs))
        told = file_identity(workspace), rows, store.read_only, store.workspace
    sys.stdout.buffer.write(pickle.dumps(told))


if __name__ == "__main__":
    main()
