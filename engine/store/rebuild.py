"""Making the database again from the run directories: the file, or a workspace's part of one on a server."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.run.directory import RunDir, is_run_folder
from engine.run.files import behind_links, sync_folder
from engine.run.scratch import scratch_folder
from engine.store.copy import copy_runs
from engine.store.errors import StoreError, UnfitRun
from engine.store.schema import notices
from engine.store.sqlite import advice
from engine.store.store import Store

REBUILDING = ".rebuild-"

LOCK_SECONDS = 5.0
"""How long a rebuild waits for others to close the database."""


@dataclass(frozen=True)
class RebuildReport:
    """What a rebuild found. `backup` is the database as it was before, None where there was none; of a server
    what it had of the workspace. `keeps_notices` is False where it is not known any more what was to be told
    at the end of runs, and what has been told."""

    imported: tuple[str, ...]
    unreadable: tuple[tuple[Path, str], ...]
    backup: Path | None
    keeps_notices: bool = True


def rebuild(
    database: Path, runs_folder: Path, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> RebuildReport:
    """Make `database` again from every folder in `runs_folder`; `on_progress` gets (done, total) folders.

    The new file is made beside the old one, where a link leads to that, too. The old one stays there as
    `<name>.bak-<UTC time>`; when anything fails it is untouched. A run folder that cannot be read is reported
    and left out as a whole.
    Raises StoreError when somebody else has the database open or the disk refuses.
    """
    folders, database = _run_folders(runs_folder), behind_links(database)
    try:
        with (
            scratch_folder(database.parent, REBUILDING) as scratch,
            _held(database) as held,
        ):
            fresh = scratch / database.name
            with Store(f"sqlite:///{fresh}") as store:
                imported, unreadable = _import(store, folders, on_progress)
                kept = held is not None and _keep_notices(held, store)
            _into_one_file(fresh)
            backup = _swap(fresh, database, is_held=held is not None)
    except OSError as error:
        raise StoreError(f"{database}: cannot be rebuilt: {error}; the old one is unchanged") from error
    except sqlite3.Error as error:  # which the Store does not explain, nor who holds an old one
        raise StoreError(f"{database}: cannot be rebuilt: {advice(error, database, LOCK_SECONDS)}") from error
    return RebuildReport(imported, unreadable, backup, keeps_notices=kept or backup is None)


def rebuild_on_server(
    server: Store,
    database: Path,
    runs_folder: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> RebuildReport:
    """Make what a server has of the store's workspace again from every folder in `runs_folder`.

    What it had before stays as a file, `<name of database>.bak-<UTC time>`; the server changes in one
    transaction, and nothing of other workspaces does. Raises StoreError.
    """
    folders = _run_folders(runs_folder)
    try:
        with scratch_folder(database.parent, REBUILDING) as scratch:
            before, fresh = scratch / "before.db", scratch / "fresh.db"
            with Store(f"sqlite:///{before}") as store:
                had = copy_runs(server, store)["runs"]
            _into_one_file(before)
            backup = _second_name(database, of=before) if had else None
            with Store(f"sqlite:///{fresh}") as store:
                imported, unreadable = _import(store, folders, on_progress)
                copy_runs(store, server, replace=True)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{server.label}: cannot be rebuilt: {error}; it is unchanged") from error
    return RebuildReport(imported, unreadable, backup)


def _import(
    store: Store, folders: list[Path], on_progress: Callable[[int, int], None]
) -> tuple[tuple[str, ...], tuple[tuple[Path, str], ...]]:
    """Import every folder; returns the ids of those that could be read, and the others with what is wrong."""
    imported, unreadable = [], []
    for done, folder in enumerate(folders):
        on_progress(done, len(folders))
        try:
            imported.append(store.journals.import_run(RunDir(folder)))
        except UnfitRun as error:
            unreadable.append((folder, str(error)))
    on_progress(len(folders), len(folders))
    return tuple(imported), tuple(unreadable)


def _keep_notices(old: sqlite3.Connection, store: Store) -> bool:
    """Take over what is to be told when runs end, and what has been told, which no run folder knows; returns
    whether that could be read. Databases from before there were notices have none."""
    columns = [column.name for column in notices.columns]
    try:
        if old.execute("SELECT 1 FROM sqlite_master WHERE name = 'notices'").fetchone() is None:
            return True
        rows = old.execute(f"SELECT {', '.join(columns)} FROM notices").fetchall()
    except sqlite3.Error:
        return False
    with store.database.write() as connection:
        store.database.insert(connection, "notices", columns, rows)
    return True


def _run_folders(runs_folder: Path) -> list[Path]:
    try:
        return sorted(path for path in runs_folder.iterdir() if is_run_folder(path))
    except OSError as error:
        raise StoreError(f"{runs_folder}: cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _held(database: Path) -> Iterator[sqlite3.Connection | None]:
    """Keep everybody else out of the old database; None when it is missing or damaged.

    Who had it open would go on writing into the file that is set aside. Leaving WAL mode needs a database
    that nobody else has open, and puts what is in the log into the file; with the exclusive locking mode
    the lock it takes stays until the connection closes.
    """
    if not database.is_file():
        yield None
        return
    try:
        opened = sqlite3.connect(database, timeout=LOCK_SECONDS, isolation_level=None)
        with contextlib.closing(opened) as connection:
            try:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA journal_mode = DELETE").fetchone()
                connection.execute("BEGIN EXCLUSIVE")
                held: sqlite3.Connection | None = connection
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                    raise
                held = None
            yield held
    except sqlite3.Error as error:
        raise StoreError(f"{database}: {advice(error, database, LOCK_SECONDS)}") from error


def _into_one_file(database: Path) -> None:
    """Leave no log beside the database, so that the file alone is all of it."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    descriptor = os.open(database, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _swap(fresh: Path, database: Path, is_held: bool) -> Path | None:
    """Put `fresh` in the place of `database`, which gets a second name first and so is never gone."""
    backup = _second_name(database, of=database) if database.exists() else None
    if not is_held:
        # The log of a damaged database would be replayed into the new one.
        for suffix in ("-wal", "-shm"):
            log = database.with_name(database.name + suffix)
            if log.exists():
                log.rename(database.with_name(f"{(backup or log).name}{suffix}"))
    os.replace(fresh, database)
    sync_folder(database.parent)
    return backup


def _second_name(database: Path, of: Path) -> Path:
    """Give `of` a second name, the database's with the time, and a number where one is of that second."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for number in itertools.count(1):
        backup = database.with_name(f"{database.name}.bak-{stamp}" + (f"-{number}" if number > 1 else ""))
        if backup.exists():
            continue
        try:
            os.link(of, backup)
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            shutil.copy2(of, backup)
        return backup
    raise AssertionError("numbers do not end")
