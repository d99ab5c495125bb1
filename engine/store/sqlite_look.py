"""Looking at a SQLite database that is somebody else's to write.

A reader of a database in write-ahead mode wants two files beside it, the log and its index, and makes them
where they are missing. Where a writer has made them, and this user can make none, SQLite reads through them,
held apart from the writer by its own locks. In any other case a private copy is read, and made anew when the
original has changed: in a folder that several people write, an index that a reader leaves behind would shut
the owner out; and to tell SQLite that the file never changes ("immutable") is a lie once a writer comes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import sqlalchemy as sa

from engine.host.access import why_unreadable
from engine.store.database import Database
from engine.store.errors import StoreError
from engine.store.migrate import HEAD, revision_of
from engine.store.sqlite import SqliteDatabase, advice, make_engine

SETTLED_SECONDS = 0.02
"""How long a file must have rested before it is copied: the kernel's times of change are some milliseconds
coarse, so that of two changes at once the second may not show."""

State = tuple[tuple[int, int, int] | None, ...]
"""Inode, length and time of change (ns) of a database and what is beside it; None where there is no file."""


class SqliteLook(Database):
    """A file that can be read only. A transaction sees all that was committed before it began."""

    errors = (sqlite3.Error,)

    def __init__(self, path: Path, timeout: float, why: str) -> None:
        self.path, self.timeout, self.label, self.read_only = path, timeout, str(path), why
        self._lock = threading.Lock()
        self._copy: _Copy | None = None
        self._live: sa.Engine | None = None

    @classmethod
    def open(cls, path: Path, timeout: float, why: str) -> Self:
        """`why` says why it is not written. Raises StoreError when it cannot be read either."""
        if unreadable := why_unreadable(path):
            raise StoreError(f"{path}: cannot be read: {unreadable}")
        database = cls(path, timeout, why)
        try:
            with database.explained(), database.reader.begin():
                pass
        except BaseException:
            database.close()
            raise
        return database

    @property
    def reader(self) -> sa.Engine:
        with self._lock:
            if self._live is None and self._copy is None and _is_open_elsewhere(self.path):
                self._live = self._open_live()
            if self._live is not None:
                return self._live
            if self._copy is None or self._copy.state != state_of(self.path):
                self._close()
                if _is_open_elsewhere(self.path) and (live := self._open_live()) is not None:
                    self._live = live
                    return live
                self._copy = _Copy(self.path, self.timeout)
            return self._copy.database.reader

    def _open_live(self) -> sa.Engine | None:
        """The database itself; None where SQLite cannot read it as it lies, or its tables are older ones."""
        url = sa.URL.create(
            "sqlite", database=f"file:{quote(str(self.path))}", query={"uri": "true", "mode": "ro"}
        )
        engine = make_engine(url, self.timeout)
        try:
            with engine.begin() as connection:
                if revision_of(connection, self.label) == HEAD:
                    return engine
        except sa.exc.OperationalError:
            pass
        engine.dispose()
        return None

    def advice(self, error: BaseException | None) -> str:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return f"cannot be read ({error}); {self.read_only}"
        return advice(error, self.path, self.timeout)

    def faults(self, connection: sa.Connection) -> list[str]:
        return SqliteDatabase.faults_of(connection)

    def insert(
        self, connection: sa.Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
    ) -> None:
        raise StoreError(f"{self.label}: is open for reading only: {self.read_only}")

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._live is not None:
            self._live.dispose()
        if self._copy is not None:
            self._copy.close()
        self._live = self._copy = None


class _Copy:
    """A private copy of a database as it was at one moment, `state`, with the tables of this version."""

    def __init__(self, path: Path, timeout: float) -> None:
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="seg-look-")
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be copied to be looked at: {error.strerror or error}"
            ) from error
        try:
            copy = Path(self._folder.name) / path.name
            self.state = copy_at_rest(path, copy, timeout)
            self.database = SqliteDatabase(copy, timeout)
            self.database.label = str(path)
            self.database.bring_up_to_date()
        except BaseException:
            self._folder.cleanup()
            raise

    def close(self) -> None:
        self.database.close()
        self._folder.cleanup()


def copy_at_rest(path: Path, copy: Path, timeout: float) -> State:
    """Copy a database, with what has been written ahead of it, between two changes; returns its state then.

    Raises StoreError when there was no such moment for `timeout` s, or something cannot be read or written.
    """
    deadline = time.monotonic() + timeout
    while True:
        before = state_of(path)
        newest = max((state[2] for state in before if state is not None), default=0)
        if abs(time.time_ns() - newest) < SETTLED_SECONDS * 1e9:
            time.sleep(SETTLED_SECONDS)
        try:
            for source, target in zip(_parts(path), _parts(copy), strict=True):
                target.unlink(missing_ok=True)
                if source.exists():
                    shutil.copyfile(source, target)
        except FileNotFoundError:
            pass  # it went away just now: the state has changed
        except OSError as error:
            why = next((why for part in _parts(path) if (why := why_unreadable(part))), error.strerror)
            raise StoreError(f"{path}: cannot be copied to be looked at: {why}") from error
        if before[0] is not None and state_of(path) == before:
            return before
        if time.monotonic() > deadline:
            raise StoreError(f"{path}: changed for {timeout:g} s faster than it can be copied; try again")


def state_of(path: Path) -> State:
    states: list[tuple[int, int, int] | None] = []
    for part in _parts(path):
        try:
            status = part.stat()
            states.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            states.append(None)
    return tuple(states)


def _parts(path: Path) -> list[Path]:
    """The files that make up a database: itself, what was written ahead, what a broken-off change undoes."""
    return [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-journal"))]


def _is_open_elsewhere(path: Path) -> bool:
    """Whether SQLite can read the database through the files that a writer has made beside it, and can make
    none of its own there."""
    beside = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    return all(os.access(part, os.R_OK) for part in beside) and not os.access(path.parent, os.W_OK)
