"""Opening what a URL names: a file of SQLite's, or a database on a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path

from engine.run.files import behind_links
from engine.store.database import POSTGRESQL, SQLITE, Database
from engine.store.errors import StoreError
from engine.store.sqlite import SqliteDatabase, why_no_room, why_read_only
from engine.store.sqlite_look import SqliteLook


def open_database(
    url: str, timeout: float, upgrade: bool, look: bool = False, read_only: str = ""
) -> Database:
    """Open what `url` names, making its tables where there are none; wait for others at most `timeout` s.

    Tables of an older version are brought up to date; those on a server only if `upgrade` says so, as
    everybody else who uses it needs this version from then on. Who only wants to `look` may open what is not
    theirs to write or lies on a full disk; it is then `read_only`. A reason why nothing is to be written,
    `read_only`, opens what is there and makes and migrates nothing. Raises StoreError.
    """
    if url.startswith(SQLITE) and url != SQLITE:
        path = behind_links(Path(url.removeprefix(SQLITE)))
        if (look or read_only) and (why := why_read_only(path) or why_no_room(path)):
            return SqliteLook.open(path, timeout, why)
        if read_only:
            return SqliteDatabase.open_unchanged(path, timeout, read_only)
        return SqliteDatabase.open(path, timeout)
    if url.startswith(POSTGRESQL):
        from engine.store.postgres import PostgresDatabase  # most people have no server

        return PostgresDatabase.open(
            url, timeout, upgrade and not read_only, look or bool(read_only), read_only
        )
    # Nothing of the URL is repeated: of one that cannot be read nobody knows where its password is.
    raise StoreError(
        f"the URL of the database names none that this program opens; it must be {SQLITE}PATH or "
        f"{POSTGRESQL[0]}USER@HOST/DATABASE"
    )
