"""The workspace: the folder that holds `experiments.db`, `runs/` and, unless it is shared, `cache/`.

The database may be on a server instead, which several workspaces then share. Each has a name there, made when
it gets its first run and kept in `workspace.id`, that every machine which mounts the folder agrees on.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.run.files import expanded

if TYPE_CHECKING:
    from engine.run.directory import RunDir
    from engine.store import Store

WORKSPACE_VARIABLE = "SEG_WORKSPACE"
CACHE_VARIABLE = "SEG_CACHE"
DATABASE_VARIABLE = "SEG_DATABASE_URL"
DATABASE_NAME = "experiments.db"


@dataclass(frozen=True)
class Workspace:
    """Says where things lie; creates nothing until it is asked to. `read_only` is "", or why its database is
    to be changed by nobody who opens it here."""

    root: Path
    read_only: str = ""

    @property
    def database(self) -> Path:
        return self.root / DATABASE_NAME

    @property
    def on_server(self) -> bool:
        """Whether the database is on a server: SEG_DATABASE_URL says where."""
        return bool(os.environ.get(DATABASE_VARIABLE))

    @property
    def file_url(self) -> str:
        """The URL of the workspace's own file."""
        return f"sqlite:///{self.database}"

    @property
    def database_url(self) -> str:
        return os.environ.get(DATABASE_VARIABLE) or self.file_url

    @property
    def identity_file(self) -> Path:
        return self.root / "workspace.id"

    def identity(self, make: bool = False) -> str:
        """What the workspace is called on a server; "" before it has a name, unless one is to be made."""
        with contextlib.suppress(FileNotFoundError):
            return self.identity_file.read_text().strip()
        if not make:
            return ""
        name = f"{_user()}@{socket.gethostname()}:{self.root}#{secrets.token_hex(3)}"
        fresh = self.identity_file.with_name(f".workspace.id.{os.getpid()}.{secrets.token_hex(3)}")
        fresh.write_text(name + "\n")
        try:
            os.link(fresh, self.identity_file)  # of several who make one at once the first does
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            fresh.replace(self.identity_file)
        fresh.unlink(missing_ok=True)
        return self.identity_file.read_text().strip()

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        """Where data sets are cached. SEG_CACHE names a folder that several workspaces share."""
        shared = os.environ.get(CACHE_VARIABLE)
        return expanded(Path(shared)).absolute() if shared else self.root / "cache"

    def run_dir(self, run_id: str) -> RunDir:
        from engine.run.directory import RunDir  # its reader, Pydantic, takes longer than all of this module

        return RunDir(self.runs / run_id)

    def open_store(self, timeout: float = 30.0, look: bool = False, upgrade: bool = False) -> Store:
        """Open the database, making or migrating it first. Raises StoreError.

        Only to `look` gives a workspace no name on a server that has none there yet, and opens for reading
        what this user may not write. Of a workspace that is `read_only` everything is opened for reading, and
        a database of an older version is refused, as it would have to be changed.
        """
        from engine.store import Store, StoreError  # the front end starts faster when it needs no database

        if self.on_server and self.database_url.startswith("sqlite:"):
            raise StoreError(
                f"{DATABASE_VARIABLE}: must be the URL of a server, postgresql://USER@HOST/DATABASE; a file "
                "is always the workspace's own"
            )
        name = self.identity(make=not look and not self.read_only) if self.on_server else ""
        return Store(self.database_url, timeout, name, upgrade, look, self.read_only)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in some containers
        return str(os.getuid())


def find_workspace(chosen: Path | None = None) -> Workspace:
    """`chosen`, else the folder named by SEG_WORKSPACE, else the current folder."""
    root = chosen or Path(os.environ.get(WORKSPACE_VARIABLE) or ".")
    return Workspace(expanded(root).absolute())


def file_identity(workspace: Workspace) -> tuple[int, int] | None:
    """Which file the database is, None while there is none. Raises OSError when it cannot be asked.

    A server is always there, or says why not when it is asked. What makes another of it is the name that the
    workspace gets with its first run.
    """
    try:
        status = (workspace.identity_file if workspace.on_server else workspace.database).stat()
    except FileNotFoundError:
        return (0, 0) if workspace.on_server else None
    return status.st_dev, status.st_ino
