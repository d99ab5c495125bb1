"""Holding the rows of a run against its journal, and making them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from engine.run.events import AnyEvent
from engine.store.cleared import NO_END
from engine.store.database import Database
from engine.store.ingest import fold
from engine.store.insert import settle_experiments, unheard
from engine.store.lookup import hold, hold_list, no_run
from engine.store.rows import END_STATUSES
from engine.store.schema import FOLDED, experiments, runs

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig

_OF_STATUS = ("status", "cause", "message", "traceback", "ended_at", "phase", "eta_seconds")
_OF_PEOPLE = (
    "id",
    "experiment_id",
    "name",
    "note",
    "created_at",
    "priority",
    "paused",
    "after",
    "archived",
    "protected",
    "trial",
)
_OF_THE_QUEUE = ("queued_at", "claimed_by", "changed", "workspace", "untold")
_NOT_COMPARED = {*_OF_STATUS, *_OF_PEOPLE, *_OF_THE_QUEUE, "config", "variant", "journal_offset"}


@dataclass(frozen=True)
class RunRows:
    """All that the database has of a run: its row by column; those of its other tables by table and key."""

    run: Mapping[str, Any]
    children: Mapping[str, Mapping[tuple[Any, ...], Mapping[str, Any]]]


class Checks:
    """Looking for bit rot in a database, and mending it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def faults(self) -> list[str]:
        """What the database itself finds damaged; none when it is sound."""
        with self._database.read() as connection:
            return self._database.faults(connection)

    def rows_of_run(self, run_id: str) -> RunRows:
        """Everything of one run, as it is at one moment."""
        with self._database.read() as connection:
            run = connection.execute(sa.select(runs).where(runs.c.id == run_id)).mappings().first()
            if run is None:
                raise no_run(run_id)
            return RunRows(dict(run), {table.name: _rows(connection, table, run_id) for table in FOLDED})

    def experiments_of_another_age(self) -> list[tuple[str, float, float | None]]:
        """Experiments that are not as old as their oldest run: name, `created_at` and what it should be, None
        where no run is left."""
        oldest = sa.func.min(runs.c.created_at)
        found = (
            sa.select(experiments.c.name, experiments.c.created_at, oldest)
            .join_from(experiments, runs, isouter=True)
            .group_by(experiments.c.id)
            .having(sa.or_(oldest.is_(None), oldest != experiments.c.created_at))
            .order_by(experiments.c.name)
        )
        with self._database.read() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(found)]

    def settle_experiments(self) -> None:
        """Make every experiment as old as its oldest run, and remove those without runs."""
        with self._database.write() as connection:
            hold_list(connection)
            settle_experiments(connection)

    def refold(self, run_id: str, config: RunConfig, journal: Sequence[AnyEvent], offset: int) -> None:
        """Make a run's rows again from its config and its whole journal, which ends at byte `offset`.

        What people call it and want of it stays, and so does its status unless the journal belies that.
        """
        with self._database.write() as connection:
            mine = runs.c.id == run_id
            hold(connection, run_id)
            before = dict(connection.execute(sa.select(runs).where(mine)).mappings().one())
            for table in FOLDED:
                connection.execute(table.delete().where(table.c.run_id == run_id))
            kept = {name: before[name] for name in (*_OF_PEOPLE, *_OF_THE_QUEUE)}
            blank = {column.name: None for column in runs.c if column.nullable}
            fresh = blank | unheard(config) | NO_END | kept | {"status": "queued"}
            del fresh["changed"]  # it counts on by itself
            connection.execute(runs.update().where(mine).values(fresh))
            fold(connection, before | fresh, journal, offset)
            folded = connection.execute(sa.select(runs).where(mine)).mappings().one()
            if not belied(before, dict(folded)):
                status = {name: before[name] for name in _OF_STATUS}
                connection.execute(runs.update().where(mine).values(status))


def _rows(
    connection: sa.Connection, table: sa.Table, run_id: str
) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    keys = [column.name for column in table.primary_key]
    found = connection.execute(sa.select(table).where(table.c.run_id == run_id)).mappings()
    return {tuple(row[name] for name in keys): dict(row) for row in found}


def unlike(found: RunRows, folded: RunRows) -> list[str]:
    """In what the rows of a run differ from those that its journal gives, a line for each kind."""
    names = [column.name for column in runs.c if column.name not in _NOT_COMPARED]
    odd = [name for name in names if found.run[name] != folded.run[name]]
    lines = [f"{name} is {found.run[name]!r}, the journal gives {folded.run[name]!r}" for name in odd[:3]]
    if len(odd) > 3:
        lines.append(f"and so do {len(odd) - 3} other columns")
    for table, right in folded.children.items():
        there = found.children[table]
        wrong = sum(there.get(key) != row for key, row in right.items())
        extra = len(there.keys() - right.keys())
        if wrong:
            lines.append(f"{wrong} of {len(right)} rows in {table} are missing or wrong")
        if extra:
            lines.append(f"{extra} rows in {table} are of no event")
    return lines


def belied(said: Mapping[str, Any], folded: Mapping[str, Any]) -> str:
    """Why the status that a run has cannot be true after its journal, "" when it can.

    `folded` is the run as its whole journal gives it. A journal may be silent about a later attempt, whose
    worker never wrote anything; and it does not know what is wanted of the run.
    """
    status, told = said["status"], folded["status"]
    both = f"is {status}, its journal says {told}"
    if (status == "finished") != (told == "finished") or (status == "running" and told in END_STATUSES):
        return both
    latest = (said["claimed_by"] or {}).get("attempt", 0) <= folded["attempt"]
    if told not in END_STATUSES or status not in END_STATUSES or not latest:
        return ""
    if (status, said["cause"]) in (("stopped", "stopped"), ("failed", "dependency")):
        return ""  # it was queued again and left the queue
    if (status, said["cause"]) != (told, folded["cause"]):
        return f"is {status} ({said['cause']}), its journal says {told} ({folded['cause']})"
    odd = [name for name in ("ended_at", "message", "traceback") if said[name] != folded[name]]
    if odd:
        return f"{odd[0]} is {said[odd[0]]!r}, the journal gives {folded[odd[0]]!r}"
    return ""
