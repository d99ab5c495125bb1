"""What is to be told when something ends, and that it is told once: the outbox of a workspace.

A run whose end is to be told is `untold` from the moment that somebody takes it, so neither a rebuilt
database nor an imported folder tells of old ends. Whoever tells takes a notice first, in a step that one of
many wins. So a notice is never told twice; one whose teller is killed just then is not told.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from engine.store.database import Database
from engine.store.queue import held_back
from engine.store.rows import END_STATUSES, RunRow
from engine.store.schema import experiments, notices, runs
from engine.store.selects import run_row, select_runs

KEPT_SECONDS = 90 * 86_400.0
"""How long it is known what was told."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Tell by `channel`, "url", "mail" or "command", that a `scope`, "run", "experiment" or "queue", has
    ended. `subject` is the id of the run or the name of the experiment. `target` is the command that was
    wished for, "" where the settings say whom to tell. `state` is waiting, taken, told or failed, `problem`
    why. Times are UTC seconds."""

    id: int
    scope: str
    subject: str
    channel: str
    target: str
    state: str
    problem: str
    made_at: float
    taken_at: float | None


_COLUMNS = [notices.c[field.name] for field in fields(Notice)]


class Notices:
    """What people are told of a `workspace`."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace
        self._mine = notices.c.workspace == workspace

    def wish(self, scope: str, subject: str, command: str) -> None:
        """Run a command once this run, experiment or queue has ended."""
        with self._database.write() as connection:
            self._insert(connection, scope, subject, str(time.time()), ["command"], command)

    def post_ends(self, scopes: Collection[str], channels: Sequence[str]) -> None:
        """Put a notice for each of the `channels` into the outbox for whatever of these `scopes` has ended
        since the last time. Each end counts once, also with no channel."""
        untold = (runs.c.untold, runs.c.workspace == self._workspace, _HAS_ENDED)
        with self._database.read() as connection:
            if connection.execute(sa.select(runs.c.id).where(*untold).limit(1)).first() is None:
                return
        chosen = sa.select(runs.c.id, runs.c.ended_at, experiments.c.name).join_from(runs, experiments)
        with self._database.write() as connection:
            found = connection.execute(
                chosen.where(*untold).order_by(runs.c.ended_at).with_for_update(of=runs)
            )
            ended = found.all()
            ids = [row.id for row in ended]
            connection.execute(runs.update().where(runs.c.id.in_(ids)).values(untold=False))
            over = [("run", row.id, row.ended_at) for row in ended]
            over += [
                ("experiment", name, at) for name, at in {row.name: row.ended_at for row in ended}.items()
            ]
            over += [("queue", "", row.ended_at) for row in ended[-1:]]
            for scope, subject, ended_at in over:
                if scope in scopes and self._is_over(connection, scope, subject):
                    self._insert(connection, scope, subject, str(ended_at), channels, "")
            connection.execute(
                notices.delete().where(self._mine, notices.c.made_at < time.time() - KEPT_SECONDS)
            )

    def due(self) -> list[Notice]:
        """The notices that wait and whose time has come. Wishes for runs, and for experiments, that are gone
        are forgotten."""
        chosen = sa.select(*_COLUMNS).where(self._mine, notices.c.state == "waiting").order_by(notices.c.id)
        with self._database.read() as connection:
            waiting = [Notice(*row) for row in connection.execute(chosen)]
            due = [
                one for one in waiting if not one.target or self._is_over(connection, one.scope, one.subject)
            ]
            gone = [one.id for one in due if one.target and not self._is_there(connection, one)]
        if gone:
            with self._database.write() as connection:
                connection.execute(notices.delete().where(notices.c.id.in_(gone)))
        return [one for one in due if one.id not in gone]

    def take(self, notice: Notice) -> bool:
        """Whether it is the caller's to tell; of many who ask one gets True."""
        waits = (notices.c.id == notice.id) & (notices.c.state == "waiting")
        with self._database.write() as connection:
            taken = notices.update().where(waits).values(state="taken", taken_at=time.time())
            return connection.execute(taken).rowcount == 1

    def settle(self, notice: Notice, problem: str) -> None:
        """It is told, or could not be, for a reason."""
        state = "failed" if problem else "told"
        with self._database.write() as connection:
            chosen = notices.update().where(notices.c.id == notice.id)
            connection.execute(chosen.values(state=state, problem=problem))

    def recent(self, limit: int) -> list[Notice]:
        """The newest notices, the newest first."""
        chosen = sa.select(*_COLUMNS).where(self._mine).order_by(notices.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [Notice(*row) for row in connection.execute(chosen)]

    def ended_of(self, scope: str, subject: str) -> list[RunRow]:
        """The ended runs that a notice is about, the last that ended first: one run, those of an experiment,
        or for the queue the last one alone."""
        chosen = select_runs().where(_HAS_ENDED).order_by(runs.c.ended_at.desc(), runs.c.id)
        if scope == "run":
            chosen = chosen.where(runs.c.id == subject)
        elif scope == "experiment":
            chosen = chosen.where(experiments.c.name == subject, ~runs.c.archived)
        else:
            chosen = chosen.where(runs.c.workspace == self._workspace).limit(1)
        with self._database.read() as connection:
            return [run_row(row) for row in connection.execute(chosen)]

    def _is_over(self, connection: sa.Connection, scope: str, subject: str) -> bool:
        going_on = sa.select(runs.c.id).where(~_HAS_ENDED)
        if scope == "run":
            going_on = going_on.where(runs.c.id == subject)
        elif scope == "experiment":
            going_on = going_on.join_from(runs, experiments).where(experiments.c.name == subject)
        else:
            going_on = going_on.where(runs.c.workspace == self._workspace, runs.c.id.not_in(held_back()))
        return connection.execute(going_on.limit(1), {"workspace": self._workspace}).first() is None

    def _is_there(self, connection: sa.Connection, notice: Notice) -> bool:
        """Whether what a notice is about has a run."""
        if notice.scope == "queue":
            return True
        found = sa.select(runs.c.id).join_from(runs, experiments)
        whose = runs.c.id if notice.scope == "run" else experiments.c.name
        return connection.execute(found.where(whose == notice.subject).limit(1)).first() is not None

    def _insert(
        self,
        connection: sa.Connection,
        scope: str,
        subject: str,
        occasion: str,
        channels: Sequence[str],
        target: str,
    ) -> None:
        common: dict[str, Any] = {
            "workspace": self._workspace,
            "scope": scope,
            "subject": subject,
            "occasion": occasion,
            "target": target,
            "state": "waiting",
            "problem": "",
            "made_at": time.time(),
        }
        for channel in channels:
            connection.execute(notices.insert().values(common | {"channel": channel}))


_HAS_ENDED = runs.c.status.in_(END_STATUSES) & (runs.c.cause != "preempted")
"""Whether a run is over. One that had to make room goes on by itself."""
