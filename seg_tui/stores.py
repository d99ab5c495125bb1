"""The database for screens: opened once for all of them, and anew when the file is another one."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.store import StoreError
from engine.workspace import Workspace, file_identity

if TYPE_CHECKING:
    from engine.store import Store

WAIT_SECONDS = 5.0
"""How long somebody who wants to change something waits for others that hold the database."""


def unchanged(workspace: Workspace) -> Workspace:
    """The workspace for a dashboard that changes nothing."""
    return replace(workspace, read_only="--read-only changes nothing")


class SharedStore:
    """Hands out one open Store to any thread."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._file: tuple[int, int] | None = None

    def get(self, make: bool = False) -> Store:
        """The database as it is now; with `make` an empty one where there is none. Raises StoreError."""
        with self._lock:
            if make and self._workspace.on_server:
                self._workspace.identity(make=True)
            file = file_identity(self._workspace)
            if file is None and not make:
                raise StoreError(f"{self._workspace.database}: does not exist")
            if self._store is None or file != self._file:
                self._close()
                self._store = self._workspace.open_store(WAIT_SECONDS, look=not make)
                self._file = file_identity(self._workspace)
            return self._store

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None
