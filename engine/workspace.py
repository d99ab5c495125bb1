"""The workspace: the folder that holds `experiments.db`, `runs/` and, unless it is shared, `cache/`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.rundir import RunDir

if TYPE_CHECKING:
    from engine.store import Store

WORKSPACE_VARIABLE = "SEG_WORKSPACE"
CACHE_VARIABLE = "SEG_CACHE"
DATABASE_NAME = "experiments.db"


@dataclass(frozen=True)
class Workspace:
    """Says where things lie; creates nothing until it is asked to."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / DATABASE_NAME

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.database}"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        """Where data sets are cached. SEG_CACHE names a folder that several workspaces share."""
        shared = os.environ.get(CACHE_VARIABLE)
        return Path(shared).expanduser().absolute() if shared else self.root / "cache"

    def run_dir(self, run_id: str) -> RunDir:
        return RunDir(self.runs / run_id)

    def open_store(self) -> Store:
        """Open the database, making or migrating it first. Raises StoreError."""
        from engine.store import Store  # the front end starts faster when it needs no database

        return Store(self.database_url)


def find_workspace(chosen: Path | None = None) -> Workspace:
    """`chosen`, else the folder named by SEG_WORKSPACE, else the current folder."""
    root = chosen or Path(os.environ.get(WORKSPACE_VARIABLE) or ".")
    return Workspace(root.expanduser().absolute())
