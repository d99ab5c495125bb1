"""Moving the runs of a workspace from one database to another, with all their rows or not at all.

What is to be told at ends, which no run folder knows, comes along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from engine.store.dialects import NextChange
from engine.store.errors import StoreError
from engine.store.insert import settle_experiments
from engine.store.lookup import hold_list
from engine.store.schema import OF_RUNS, experiments, notices, runs
from engine.store.store import Store

_AT_ONCE = 2000
_SHOWN = 3

_OF_NOTICES = [column.name for column in notices.columns if column.name != "id"]
_ONE_NOTICE = ("scope", "subject", "occasion", "channel", "target")
"""What makes two notices of a workspace the same."""

Row = Sequence[Any]


def copy_runs(
    source: Store,
    target: Store,
    replace: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, int]:
    """Copy the runs of `source`'s workspace into `target`, where they belong to its workspace.

    One snapshot of the source, one transaction in the target: whoever looks there sees none of it or all.
    With `replace` the runs that the target's workspace had are removed in the same transaction. Notices that
    the target has already stay as they are there. Returns the rows copied, by table; `on_progress` gets
    (done, total) rows. Raises StoreError when the target has one of the runs already, or does not have every
    row in the end.
    """
    with source.database.read() as reading, target.database.write() as writing:
        hold_list(writing)
        if replace:
            writing.execute(runs.delete().where(runs.c.workspace == target.workspace))
        _refuse_known(reading, writing, source, target)
        wanted = _counts(reading, source.workspace)
        before = _counts(writing, target.workspace)
        told = _new_notices(reading, writing, source.workspace, target.workspace)
        done, total = 0, sum(wanted.values()) + len(told)

        def counted(rows: Iterable[Row]) -> Iterator[Row]:
            nonlocal done
            for row in rows:
                if done % _AT_ONCE == 0:
                    on_progress(done, total)
                done += 1
                yield row

        target.database.insert(writing, *_moved_runs(reading, writing, source, target, counted))
        for table in OF_RUNS:
            rows = counted(_stored(reading, table, source.workspace))
            target.database.insert(writing, table.name, table.c.keys(), rows)
        target.database.insert(writing, notices.name, _OF_NOTICES, counted(told))
        settle_experiments(writing)
        on_progress(done, total)
        arrived = _counts(writing, target.workspace)
        if any(arrived[name] != before[name] + count for name, count in wanted.items()):
            raise StoreError(
                f"{target.label}: took {arrived} rows beside {before}, not {wanted}; nothing was copied"
            )
    return wanted | {notices.name: len(told)}


def _refuse_known(reading: sa.Connection, writing: sa.Connection, source: Store, target: Store) -> None:
    ids = list(reading.execute(sa.select(runs.c.id).where(runs.c.workspace == source.workspace)).scalars())
    known: list[str] = []
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        known += writing.execute(sa.select(runs.c.id).where(runs.c.id.in_(some))).scalars()
    if known:
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        shown = ", ".join(sorted(known)[:_SHOWN])
        raise StoreError(f"{target.label}: has {shown}{more} already; nothing was copied")


def _counts(connection: sa.Connection, workspace: str) -> dict[str, int]:
    """How many rows each table has of a workspace."""
    mine = sa.select(runs.c.id).where(runs.c.workspace == workspace)
    chosen = {runs: runs.c.workspace == workspace} | {table: table.c.run_id.in_(mine) for table in OF_RUNS}
    return {
        table.name: int(
            connection.execute(sa.select(sa.func.count()).select_from(table).where(only)).scalar_one()
        )
        for table, only in chosen.items()
    }


def _moved_runs(
    reading: sa.Connection,
    writing: sa.Connection,
    source: Store,
    target: Store,
    counted: Callable[[Iterable[Row]], Iterator[Row]],
) -> tuple[str, list[str], Iterator[Row]]:
    """The runs as the target is to have them: with its experiments, its workspace and its next numbers."""
    names = runs.c.keys()
    experiment, workspace, changed = (names.index(n) for n in ("experiment_id", "workspace", "changed"))
    there = _experiments_there(reading, writing, source.workspace)
    first = int(writing.execute(sa.select(NextChange())).scalar_one())
    rises = writing.dialect.name == "sqlite"  # on a server it is the number of the transaction

    def moved() -> Iterator[Row]:
        stored = _stored(reading, runs, source.workspace, runs.c.changed)
        for number, row in enumerate(stored):
            values = list(row)
            values[experiment] = there[values[experiment]]
            values[workspace] = target.workspace
            values[changed] = first + number if rises else first
            yield values

    return runs.name, names, counted(moved())


def _experiments_there(reading: sa.Connection, writing: sa.Connection, workspace: str) -> dict[int, int]:
    """Number of an experiment in the source -> that of the one of its name in the target, made if need be."""
    used = sa.exists().where(runs.c.experiment_id == experiments.c.id, runs.c.workspace == workspace)
    there: dict[str, int] = {
        name: number for number, name in writing.execute(sa.select(experiments.c.id, experiments.c.name))
    }
    numbers = {}
    for row in reading.execute(sa.select(experiments).where(used).order_by(experiments.c.id)):
        if row.name not in there:
            new = experiments.insert().values(name=row.name, created_at=row.created_at)
            there[row.name] = int(writing.execute(new.returning(experiments.c.id)).scalar_one())
        numbers[row.id] = there[row.name]
    return numbers


def _stored(
    connection: sa.Connection, table: sa.Table, workspace: str, *order: sa.ColumnElement[Any]
) -> Iterator[Row]:
    """All rows of a workspace as they are stored: JSON as the text it was written as."""
    columns = [sa.cast(c, sa.Text) if isinstance(c.type, sa.JSON) else c for c in table.c]
    mine = runs.c.workspace == workspace
    if table is not runs:
        mine = table.c.run_id.in_(sa.select(runs.c.id).where(mine))
    chosen = sa.select(*columns).where(mine).order_by(*order)
    yield from connection.execution_options(yield_per=_AT_ONCE).execute(chosen)


def _new_notices(
    reading: sa.Connection, writing: sa.Connection, workspace: str, target_workspace: str
) -> list[Row]:
    """The notices of a workspace that the target lacks, as it is to have them; it numbers them itself."""
    chosen = sa.select(*(notices.c[name] for name in _OF_NOTICES)).order_by(notices.c.id)
    there = writing.execute(chosen.where(notices.c.workspace == target_workspace)).mappings()
    known = {tuple(row[name] for name in _ONE_NOTICE) for row in there}
    found = reading.execute(chosen.where(notices.c.workspace == workspace)).mappings()
    new = (row for row in found if tuple(row[name] for name in _ONE_NOTICE) not in known)
    return [tuple((dict(row) | {"workspace": target_workspace}).values()) for row in new]
