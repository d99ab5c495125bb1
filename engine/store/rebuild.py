"""Making the database again from the run directories."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.files import sync_folder
from engine.rundir import RunDir
from engine.store.errors import StoreError
from engine.store.sqlite import advice
from engine.store.store import Store

LOCK_SECONDS = 5.0
"""How long a rebuild waits for others to close the database."""


@dataclass(frozen=True)
class RebuildReport:
    """What a rebuild found. `backup` is the database as it was before, None where there was none."""

    imported: tuple[str, ...]
    unreadable: tuple[tuple[Path, str], ...]
    backup: Path | None


def rebuild(
    database: Path, runs_folder: Path, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> RebuildReport:
    """Make `database` again from every folder in `runs_folder`; `on_progress` gets (done, total) folders.

    The new file is made beside the old one, which stays as `<name>.bak-<UTC time>`; when anything fails the
    old one is untouched. A run folder that cannot be read is reported, and what could be read of it is kept.
    Raises StoreError when somebody else has the database open or the disk refuses.
    """
    folders = _run_folders(runs_folder)
    imported, unreadable = [], []
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".rebuild-", dir=database.parent) as scratch,
            _held(database) as held,
        ):
            fresh = Path(scratch) / database.name
            with Store(f"sqlite:///{fresh}") as store:
                for done, folder in enumerate(folders):
                    on_progress(done, len(folders))
                    try:
                        imported.append(store.import_run(RunDir(folder)))
                    except StoreError as error:
                        unreadable.append((folder, str(error)))
                on_progress(len(folders), len(folders))
            _into_one_file(fresh)
            backup = _swap(fresh, database, held)
    except OSError as error:
        raise StoreError(f"{database}: cannot be rebuilt: {error}; the old one is untouched") from error
    return RebuildReport(tuple(imported), tuple(unreadable), backup)


def _run_folders(runs_folder: Path) -> list[Path]:
    try:
        return sorted(p for p in runs_folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise StoreError(f"{runs_folder}: cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _held(database: Path) -> Iterator[bool]:
    """Keep everybody else out of the old database; False when it is missing or damaged.

    Who had it open would go on writing into the file that is set aside. Leaving WAL mode needs a database
    that nobody else has open, and puts what is in the log into the file; with the exclusive locking mode
    the lock it takes stays until the connection closes.
    """
    if not database.is_file():
        yield False
        return
    try:
        with contextlib.closing(sqlite3.connect(database, LOCK_SECONDS, isolation_level=None)) as connection:
            try:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA journal_mode = DELETE").fetchone()
                connection.execute("BEGIN EXCLUSIVE")
                held = True
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                    raise
                held = False
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


def _swap(fresh: Path, database: Path, held: bool) -> Path | None:
    """Put `fresh` in the place of `database`, which gets a second name first and so is never gone."""
    backup = _second_name(database) if database.exists() else None
    if not held:
        # The log of a damaged database would be replayed into the new one.
        for suffix in ("-wal", "-shm"):
            log = database.with_name(database.name + suffix)
            if log.exists():
                log.rename(database.with_name(f"{(backup or log).name}{suffix}"))
    os.replace(fresh, database)
    sync_folder(database.parent)
    return backup


def _second_name(database: Path) -> Path:
    """Give the database a second name that says when, and a number where there is one of that second."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for number in itertools.count(1):
        backup = database.with_name(f"{database.name}.bak-{stamp}" + (f"-{number}" if number > 1 else ""))
        if backup.exists():
            continue
        try:
            os.link(database, backup)
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            shutil.copy2(database, backup)
        return backup
    raise AssertionError("numbers do not end")
