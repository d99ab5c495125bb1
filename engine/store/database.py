"""Opening the SQLite file: connections, transactions, the schema's version, and errors people can act on."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json, to_json

from engine.store.errors import StoreError

HEAD = "0007"
"""The newest migration. Known here so that opening a database that is up to date needs no Alembic, whose
import takes longer than all else that `seg-engine runs` does."""

MIGRATIONS = Path(__file__).with_name("migrations")

ROOM_TO_OPEN = 1 << 16
"""Bytes that opening a database may take beside it."""

_SQLITE_PREFIX = "sqlite:///"

_NETWORK_FILE_SYSTEMS = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs",
}  # fmt: skip


def database_path(url: str) -> Path:
    """The file of a `sqlite:///PATH` URL; PATH is taken as it is, without escapes. Raises StoreError."""
    path = url.removeprefix(_SQLITE_PREFIX)
    if path == url or not path:
        raise StoreError(f"{url}: is no database this program opens; it must be {_SQLITE_PREFIX}PATH")
    return Path(path)


def open_database(path: Path, timeout: float) -> sa.Engine:
    """Open the database, making or migrating it first.

    Any number of processes may do so at once: one makes the tables, the others wait for it at most
    `timeout` seconds. Raises StoreError.
    """
    if not path.parent.is_dir():
        raise StoreError(f"{path.parent}: no such folder; make it, or choose another workspace")
    engine = _make_engine(path, timeout)
    try:
        with explained(path, timeout):
            _set_journal_mode(engine, path, timeout)
            with engine.begin() as connection:
                revision = _revision(connection, path)
            if revision != HEAD:
                _migrate(engine, path)
    except BaseException:
        engine.dispose()
        raise
    return engine


def writer(engine: sa.Engine) -> sa.Engine:
    """The same connections, whose transactions take the write lock when they begin.

    A transaction that reads first and wants to write later fails at once, without waiting, when somebody
    else wrote in between.
    """
    return engine.execution_options(begin="BEGIN IMMEDIATE")


@contextlib.contextmanager
def explained(path: Path, timeout: float) -> Iterator[None]:
    """Turn errors of the database into a StoreError whose one line says what to do."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        raise StoreError(f"{path}: {_advice(original, path, timeout)}") from error


def _advice(error: BaseException | None, path: Path, timeout: float) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the higher bits only refine it
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"another program has held the database for more than {timeout:g} s; try again when it is done"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return f"is damaged or no database ({error}); `seg-engine db rebuild` makes it again from runs/"
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return f"cannot be opened for writing ({error}); {path.parent} and the file must be yours to write"
    # Opening needs room for the log's index, for want of which SQLite only says that the disk failed.
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path.parent)):
        return "the disk is full; free some space and try again, nothing of this change was written"
    return str(error)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < ROOM_TO_OPEN
    except OSError:
        return False


def _make_engine(path: Path, timeout: float) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": timeout},
        json_serializer=lambda value: to_json(value).decode(),
        json_deserializer=from_json,
    )

    @sa.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: Any) -> None:
        # Python's driver would begin transactions where it sees fit; here they begin when told to.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        # NORMAL: the file survives a power cut whole, but the last transactions may be gone. Those of the
        # journals come again, as the offset is lost with the rows; FULL would sync at each of them.
        connection.execute("PRAGMA synchronous = NORMAL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _set_journal_mode(engine: sa.Engine, path: Path, timeout: float) -> None:
    """Write-ahead log on a local disk: readers and the writer do not wait for each other.

    The log's index is shared memory, which does not reach over a network; there the rollback journal is
    right. Changing the mode fails at once where others are at it too, without the usual wait: try again.
    """
    wanted = "delete" if is_on_network(path) else "wal"
    deadline = time.monotonic() + timeout
    with contextlib.closing(engine.raw_connection()) as connection:
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
                raise StoreError(f"{path}: does not take the journal mode {wanted}; it stays {mode}")
            time.sleep(0.02)


def is_on_network(path: Path, mounts: str | None = None) -> bool:
    """Whether a file lies on a network file system. `mounts` is the text of /proc/self/mountinfo (Linux)."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text()
        except OSError:
            return False
    place = path.absolute().parent.resolve() / path.name
    nearest, kind = -1, ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4].replace("\\040", " ")
        # Of two mounts on one point the later hides the earlier.
        if place.is_relative_to(point) and len(point) >= nearest:
            nearest, kind = len(point), right.split()[0]
    return kind in _NETWORK_FILE_SYSTEMS


def _revision(connection: sa.Connection, path: Path) -> str | None:
    """The migration the tables are at, None for an empty file."""
    names = sa.inspect(connection).get_table_names()
    if not names:
        return None
    if "alembic_version" not in names:
        raise StoreError(f"{path}: is a database of another program; choose another workspace")
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _migrate(engine: sa.Engine, path: Path) -> None:
    """Bring the tables to HEAD in one transaction, so that a crash leaves them as they were."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with writer(engine).begin() as connection:
        revision = _revision(connection, path)
        if revision == HEAD:
            return  # somebody else was faster
        if revision is not None and revision not in known:
            raise StoreError(
                f"{path}: was made by a newer version of this program (its schema is {revision}, this one's "
                f"is {HEAD}); update seg-engine, or choose another workspace"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
