"""Whether there is such a run."""

from __future__ import annotations

import sqlalchemy as sa

from engine.store.errors import NoSuchRun
from engine.store.schema import runs


def exists(connection: sa.Connection, run_id: str) -> bool:
    return connection.execute(sa.select(runs.c.id).where(runs.c.id == run_id)).first() is not None


def require(connection: sa.Connection, run_id: str) -> None:
    """Raises NoSuchRun when there is none of this id."""
    if not exists(connection, run_id):
        raise no_run(run_id)


def no_run(run_id: str) -> NoSuchRun:
    return NoSuchRun(f"{run_id}: no such run in the database; `seg-engine runs` lists them")
