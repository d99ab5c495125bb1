"""Whether there is such a run, and keeping others from it for as long as a transaction takes."""

from __future__ import annotations

import sqlalchemy as sa

from engine.store.errors import NoSuchRun
from engine.store.schema import runs
from engine.typed import typed

_LIST = 7_363_746
"""Key of the advisory lock on the list of runs."""


def exists(connection: sa.Connection, run_id: str) -> bool:
    return connection.execute(sa.select(runs.c.id).where(runs.c.id == run_id)).first() is not None


def require(connection: sa.Connection, run_id: str) -> None:
    """Raises NoSuchRun when there is none of this id."""
    if not exists(connection, run_id):
        raise no_run(run_id)


def hold(connection: sa.Connection, run_id: str) -> None:
    """Keep others from writing to a run until the transaction ends. Raises NoSuchRun when there is none.

    SQLite's writers have the whole database to themselves, PostgreSQL's only what they hold.
    """
    if connection.execute(sa.select(runs.c.id).where(runs.c.id == run_id).with_for_update()).first() is None:
        raise no_run(run_id)


def hold_list(connection: sa.Connection) -> None:
    """Keep others from adding and removing runs and experiments until the transaction ends. To be called
    before any run is held."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LIST)))


def no_run(run_id: str) -> NoSuchRun:
    return NoSuchRun(f"{run_id}: no such run in the database; `{typed('runs')}` lists them")
