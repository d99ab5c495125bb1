"""What a fold gathers before it writes, and the table of what each type of event does to it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa

from engine.run.event import Event
from engine.store.schema import events as events_table

Row = dict[str, Any]
E = TypeVar("E", bound=Event)

_HEAD = {"seq", "t", "attempt", "event"}


class _Rows:
    """New rows of one table, and which of the old ones make way besides those with the same key."""

    def __init__(self, table: sa.Table) -> None:
        self.table = table
        self._keys = [column.name for column in table.primary_key]
        self._new: dict[tuple[Any, ...], Row] = {}
        self._anew = False
        self._last_epoch: int | None = None

    def put(self, row: Row) -> None:
        self._new[tuple(row[key] for key in self._keys)] = row

    def clear(self) -> None:
        self._new.clear()
        self._anew = True

    def cut(self, epoch: int) -> None:
        self._new = {key: row for key, row in self._new.items() if row["epoch"] <= epoch}
        self._last_epoch = epoch if self._last_epoch is None else min(self._last_epoch, epoch)

    def write(self, connection: sa.Connection, run_id: str) -> None:
        columns = self.table.c
        old = self.table.delete().where(columns.run_id == run_id)
        if self._anew:
            connection.execute(old)
        elif self._last_epoch is not None:
            connection.execute(old.where(columns.epoch > self._last_epoch))
        if not self._new:
            return
        rows = list(self._new.values())
        same = sa.and_(*(columns[name] == sa.bindparam(f"old_{name}") for name in self._keys))
        keys = [{f"old_{name}": row[name] for name in self._keys} for row in rows]
        connection.execute(self.table.delete().where(same), keys)
        connection.execute(self.table.insert(), rows)


class Folding:
    """The fold of some events of one run. `run` holds its columns, as they become."""

    def __init__(self, run: Row) -> None:
        self.run = run
        self._rows: dict[str, _Rows] = {}
        self._events: list[Row] = []

    def take(self, event: Event, *names: str, leave_none: bool = False) -> None:
        """Set columns of the run to the fields of an event that are called the same."""
        for name in names:  # most events are progress, for which model_dump() is slow
            value = getattr(event, name)
            if value is not None or not leave_none:
                self.run[name] = value

    def put(self, table: sa.Table, event: Event) -> None:
        """A row of `table` with the fields of an event that are called like its columns.

        It replaces the row with the same primary key.
        """
        self.put_row(table, event.model_dump(include=_columns(table)))

    def put_row(self, table: sa.Table, values: Row) -> None:
        """A row of `table`; the run's id is added. It replaces the row with the same primary key."""
        self._of(table).put(values | {"run_id": self.run["id"]})

    def clear(self, *tables: sa.Table) -> None:
        """Remove all rows of the run that there have been."""
        for table in tables:
            self._of(table).clear()

    def cut(self, epoch: int, *tables: sa.Table) -> None:
        """Remove the rows of later epochs than `epoch`."""
        for table in tables:
            self._of(table).cut(epoch)

    def changes(self, table: sa.Table) -> bool:
        """Whether rows of `table` are written or removed."""
        return table.name in self._rows

    def fold(self, event: Event) -> None:
        """Take in one event, by the rule of its type."""
        rule = _RULES.get(type(event), _NO_ROWS)
        rule.fold(self, event)
        if rule.recorded:
            payload = event.model_dump(mode="json", exclude=_HEAD | set(rule.elsewhere) | event.absent())
            head = event.model_dump(include=_HEAD)
            self._events.append(head | {"run_id": self.run["id"], "payload": payload})

    def write(self, connection: sa.Connection) -> None:
        """Write all rows; the run's own columns are not among them."""
        for rows in self._rows.values():
            rows.write(connection, self.run["id"])
        if self._events:
            connection.execute(events_table.insert(), self._events)

    def _of(self, table: sa.Table) -> _Rows:
        rows = self._rows.get(table.name)
        if rows is None:
            rows = self._rows[table.name] = _Rows(table)
        return rows


@cache
def _columns(table: sa.Table) -> set[str]:
    return set(table.c.keys())


@dataclass(frozen=True)
class _Rule:
    fold: Callable[[Folding, Any], None]
    recorded: bool = True
    elsewhere: Collection[str] = ()


_RULES: dict[type[Event], _Rule] = {}
_NO_ROWS = _Rule(lambda folding, event: None)
"""For events that leave nothing but themselves."""


def folds(
    kind: type[E], recorded: bool = True, elsewhere: Collection[str] = ()
) -> Callable[[Callable[[Folding, E], None]], Callable[[Folding, E], None]]:
    """Register the function that folds events of a type; used as a decorator.

    A `recorded` event has a row in `events`, without those fields that a table has `elsewhere`.
    """

    def decorate(fold: Callable[[Folding, E], None]) -> Callable[[Folding, E], None]:
        _RULES[kind] = _Rule(fold, recorded, elsewhere)
        return fold

    return decorate
