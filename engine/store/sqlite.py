"""SQLite: the database of a workspace as one file."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from engine.host.access import REFUSALS, why_unreadable, why_unwritable
from engine.run.files import open_shared
from engine.store.database import Database
from engine.store.errors import StoreError
from engine.store.filesystem import file_system
from engine.store.migrate import HEAD, migrate, refuse_older, revision_of
from engine.store.values import JSON, without_nul
from engine.typed import typed

ROOM_TO_OPEN = 1 << 16
"""Bytes that opening a database may take beside it."""


class SqliteDatabase(Database):
    """An open file. Any number of processes may have it open at once."""

    errors = (sqlite3.Error,)

    def __init__(self, path: Path, timeout: float) -> None:
        self.path, self.timeout, self.label = path, timeout, str(path)
        self._reader = make_engine(sa.URL.create("sqlite", database=str(path)), timeout)
        # A transaction that reads first and wants to write later fails at once, without waiting, when
        # somebody else wrote in between: those that write take the lock when they begin.
        self._writer = self._reader.execution_options(begin="BEGIN IMMEDIATE")

    @classmethod
    def open(cls, path: Path, timeout: float) -> Self:
        """Open the file, making or migrating it first: one process does, the others wait at most `timeout` s.

        Raises StoreError.
        """
        if not path.parent.is_dir():
            raise StoreError(f"{path.parent}: no such folder; create it or choose another workspace")
        if why := why_read_only(path):
            raise StoreError(f"{path}: cannot be opened for writing: {why}")
        database = cls(path, timeout)
        try:
            with database.explained():
                database._set_journal_mode()
                database.bring_up_to_date()
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def open_unchanged(cls, path: Path, timeout: float, read_only: str) -> Self:
        """Open a file of this version and write nothing to it, for the reason `read_only`.

        Raises StoreError, also where there is no file, or one of an older version.
        """
        if not path.is_file():
            raise StoreError(f"{path}: does not exist")
        database = cls(path, timeout)
        sa.event.listen(database._reader, "connect", _only_query)
        try:
            with database.explained(), database.reader.begin() as connection:
                refuse_older(revision_of(connection, database.label), database.label, read_only)
        except BaseException:
            database.close()
            raise
        database.read_only = read_only
        return database

    def bring_up_to_date(self) -> None:
        """Make the tables, or bring those of an older version to HEAD. Raises StoreError."""
        with self.reader.begin() as connection:
            revision = revision_of(connection, self.label)
        if revision != HEAD:
            with self.writer.begin() as connection:
                migrate(connection, self.label)

    def _set_journal_mode(self) -> None:
        """Write-ahead log on a local disk: readers and the writer do not wait for each other.

        The log's index is shared memory, which does not reach over a network; there the rollback journal is
        right, if the locks do. Changing the mode fails at once where others are at it too, without the usual
        wait: try again.
        """
        where = file_system(self.path.parent)
        if where.locks_stay_here:
            raise StoreError(
                f"{self.path}: lies on {where.name}, where a lock does not reach other machines and "
                "two that write would spoil it; keep the database on a server "
                "(SEG_DATABASE_URL=postgresql://..., run folders are safe here), or choose a workspace on a "
                "local disk"
            )
        _make_file(self.path)
        wanted = "delete" if where.on_network else "wal"
        deadline = time.monotonic() + self.timeout
        with contextlib.closing(self.reader.raw_connection()) as connection:
            while True:
                try:
                    mode = connection.cursor().execute("PRAGMA journal_mode").fetchone()
                    if mode == (wanted,):
                        return
                    mode = connection.cursor().execute(f"PRAGMA journal_mode = {wanted}").fetchone()
                    if mode == (wanted,):
                        return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                        raise
                if time.monotonic() > deadline:
                    raise StoreError(f"{self.path}: does not take the journal mode {wanted}; it stays {mode}")
                time.sleep(0.02)

    def advice(self, error: BaseException | None) -> str:
        return advice(error, self.path, self.timeout)

    def faults(self, connection: sa.Connection) -> list[str]:
        return self.faults_of(connection)

    @staticmethod
    def faults_of(connection: sa.Connection) -> list[str]:
        """What SQLite finds damaged in the database of a connection."""
        found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
        orphans = len(connection.exec_driver_sql("PRAGMA foreign_key_check").all())
        faults = [line for line in found if line != "ok"]
        return faults + ([f"{orphans} rows belong to no run"] if orphans else [])

    def insert(
        self, connection: sa.Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
    ) -> None:
        names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
        own: Any = connection.connection.driver_connection
        own.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)


def make_engine(url: sa.URL, timeout: float) -> sa.Engine:
    """An engine whose transactions begin when they are told to."""
    engine = sa.create_engine(url, connect_args={"timeout": timeout}, **JSON)
    sa.event.listen(engine, "connect", _configure)
    sa.event.listen(engine, "begin", _begin)
    sa.event.listen(engine, "before_cursor_execute", without_nul, retval=True)
    return engine


def companions(path: Path) -> list[Path]:
    """What SQLite keeps beside a database: the log that it writes ahead, the log's index, what it undoes."""
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal")]


def why_read_only(path: Path) -> str:
    """Why this user can look at a database and not write it; "" where it can be written, or is missing."""
    if not path.exists():
        return ""
    for place in (path, path.parent, *companions(path)):
        if why := why_unwritable(place):
            return why
    return ""


def why_no_room(path: Path) -> str:
    """Why a database that is there cannot be opened as usual, which takes room beside it; "" where it can."""
    is_full = path.exists() and _is_full(path.parent)
    return "the disk is full; free some space and try again" if is_full else ""


def _make_file(path: Path) -> None:
    """Make the file where it is missing: SQLite itself would let only its owner write it, whatever the umask.
    The files beside it get its mode.

    A file that is there is never opened here. To close it would give up the locks of all connections that
    this process has to it (fcntl(2)); the next process to close its own would take itself for the last one,
    and delete the write-ahead log that the others go on with (sqlite.org/howtocorrupt.html, 2.2).
    """
    if os.path.exists(path):
        if why_unwritable(path):
            raise StoreError(f"{path}: {_refused(os.strerror(errno.EACCES), path)}")
        return
    try:
        os.close(open_shared(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in REFUSALS:
            raise StoreError(f"{path}: {_refused(error.strerror, path)}") from error
        # What else is wrong SQLite finds as well, and has words for.


def _refused(reason: object, path: Path) -> str:
    """What to say where somebody may not open a database for writing."""
    why = why_unreadable(path) or why_read_only(path) or why_unwritable(path.parent)
    if not why:
        why = f"{path.parent} and the file must be writable"
    return f"cannot be opened for writing ({reason}); {why}"


def advice(error: BaseException | None, path: Path, timeout: float) -> str:
    """What to say of an error of SQLite's about the file `path`."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the higher bits only refine it
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return (
            f"another program has locked the database for more than {timeout:g} s; try again when it is done"
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return f"is damaged or not a database ({error}); `{typed('db', 'rebuild')}` rebuilds it from runs/"
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return _refused(error, path)
    # Opening needs room for the log's index, for want of which SQLite only says that the disk failed.
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path.parent)):
        return "the disk is full; free some space and try again, nothing of this change was written"
    return str(error)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < ROOM_TO_OPEN
    except OSError:
        return False


def _configure(connection: sqlite3.Connection, record: Any) -> None:
    # Python's driver would begin transactions where it sees fit; here they begin when told to.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    # NORMAL: the file survives a power cut whole, but the last transactions may be gone. Those of the
    # journals come again, as the offset is lost with the rows; FULL would sync at each of them.
    connection.execute("PRAGMA synchronous = NORMAL")


def _only_query(connection: sqlite3.Connection, record: Any) -> None:
    """SQLite itself refuses changes of the database's content."""
    connection.execute("PRAGMA query_only = ON")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
