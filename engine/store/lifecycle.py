"""Runs come, change their status and what people call them, and go."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from engine.host.processes import ProcessIdentity
from engine.store.cleared import NO_END, NO_PROGRESS
from engine.store.database import Database
from engine.store.errors import StoreError
from engine.store.insert import experiment_id, insert_run, set_tags, settle_experiments, tags_of
from engine.store.lookup import exists, hold, hold_list
from engine.store.queue import ACTIVE_STATUSES, place_in_line
from engine.store.rows import END_STATUSES, STATUSES, RunRow, check_status
from engine.store.schema import experiments, notices, runs

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig
    from engine.run.directory import RunCard


class Lifecycle:
    """What becomes of the runs of a database; new ones belong to `workspace`."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def create(
        self,
        card: RunCard,
        config: RunConfig,
        status: str = "queued",
        owner: ProcessIdentity | None = None,
    ) -> None:
        """Enter a run, and its experiment when that is new. Raises StoreError when the id is taken.

        A run that its `owner` starts at once is entered as `starting`, so that no agent takes it.
        """
        check_status(status)
        place: dict[str, Any] = {"claimed_by": owner.as_json() | {"attempt": 1} if owner else None}
        place["untold"] = status in ACTIVE_STATUSES
        with self._database.write() as connection:
            hold_list(connection)
            if exists(connection, card.id):
                raise StoreError(f"run {card.id} is already in the database")
            if status == "queued":
                since = card.queued_at or card.created
                place["queued_at"] = place_in_line(connection, self._workspace, since)
            insert_run(connection, card, config, status, self._workspace, place)

    def set_status(
        self,
        run_id: str,
        status: str,
        cause: str = "",
        message: str = "",
        expect: Collection[str] | None = None,
        seen: RunRow | None = None,
    ) -> bool:
        """Say what is to become of a run, or what has become of a worker that cannot say it any more.

        With `expect` only when the status is one of those, in one step: of two who change it, one gets True.
        With `seen` only while status, cause and claim are those of this snapshot: what was found out of its
        worker says nothing about the next one, nor about a wish that came later. Returns whether the status
        was set.
        """
        check_status(status)
        now = time.time()
        change: dict[str, Any] = NO_END | {"status": status, "cause": cause, "message": message}
        if status in ACTIVE_STATUSES:
            change["untold"] = True  # its end is to be told, also of a run that was taken for lost
        if status in END_STATUSES:
            change |= NO_PROGRESS | {"ended_at": now}
        with self._database.write() as connection:
            hold(connection, run_id)
            if status == "queued":
                change["archived"] = False  # a run that goes on is to be seen
                change["queued_at"] = place_in_line(connection, self._workspace, now)
            statement = runs.update().where(runs.c.id == run_id).values(change)
            if expect is not None:
                statement = statement.where(runs.c.status.in_(list(expect)))
            if seen is not None:
                now_there = sa.select(runs.c.status, runs.c.cause, runs.c.claimed_by).where(
                    runs.c.id == run_id
                )
                if tuple(connection.execute(now_there).one()) != (seen.status, seen.cause, seen.claimed_by):
                    return False
            return connection.execute(statement).rowcount == 1

    def update_card(
        self,
        run_id: str,
        name: str | None = None,
        tags: Iterable[str] | None = None,
        note: str | None = None,
        protected: bool | None = None,
    ) -> None:
        """Rename, tag, annotate or protect a run; None leaves a part as it is, `tags` replaces all of
        them."""
        given = {"name": name, "note": note, "protected": protected}
        change = {key: value for key, value in given.items() if value is not None}
        with self._database.write() as connection:
            hold(connection, run_id)
            # Also when only tags change: who follows the run is to see it.
            connection.execute(runs.update().where(runs.c.id == run_id).values(change or {"id": run_id}))
            if tags is not None:
                set_tags(connection, run_id, tags)

    def change_tags(self, run_id: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Add tags to a run and take others away; those that somebody else gives it meanwhile stay."""
        with self._database.write() as connection:
            hold(connection, run_id)
            connection.execute(runs.update().where(runs.c.id == run_id).values(id=run_id))  # for followers
            set_tags(connection, run_id, (tags_of(connection, run_id) | set(add)) - set(remove))

    def archive(self, run_id: str, archived: bool) -> bool:
        """Hide an ended run in lists, or show it again; returns False for one that has not ended."""
        with self._database.write() as connection:
            hold(connection, run_id)
            chosen = runs.update().where(runs.c.id == run_id, runs.c.status.in_(END_STATUSES))
            return connection.execute(chosen.values(archived=archived)).rowcount == 1

    def move(self, run_id: str, experiment: str) -> None:
        """Make a run one of another experiment, which is made where there is none; one without runs goes.
        What is to be told at the end of that is then told at the end of the other."""
        with self._database.write() as connection:
            hold_list(connection)
            hold(connection, run_id)
            chosen = sa.select(runs.c.experiment_id, experiments.c.name, runs.c.created_at)
            chosen = chosen.join_from(runs, experiments).where(runs.c.id == run_id)
            before, name, created = connection.execute(chosen).one()
            there = experiment_id(connection, experiment, created)
            connection.execute(runs.update().where(runs.c.id == run_id).values(experiment_id=there))
            settle_experiments(connection, experiments.c.id.in_([before, there]))
            left = sa.select(experiments.c.id).where(experiments.c.id == before)
            if connection.execute(left).first() is None:
                waits = (notices.c.scope == "experiment") & (notices.c.state == "waiting")
                wishes = notices.update().where(waits, notices.c.subject == name)
                connection.execute(wishes.values(subject=experiment))

    def delete(
        self,
        run_id: str,
        expect: Collection[str] = STATUSES,
        with_it: Callable[[], object] = lambda: None,
        protected_too: bool = False,
    ) -> bool:
        """Remove a run with all its rows, and its experiment when it was the last. Its folder stays.

        Only when its status is one of `expect` and, but for `protected_too`, it is not protected; returns
        whether it was. `with_it` is called just before the
        rows are gone for good, and keeps them by raising.
        """
        with self._database.write() as connection:
            hold_list(connection)
            hold(connection, run_id)
            whose = sa.select(runs.c.experiment_id).where(runs.c.id == run_id)
            experiment = connection.execute(whose).scalar_one()
            chosen = runs.delete().where(runs.c.id == run_id, runs.c.status.in_(list(expect)))
            chosen = chosen if protected_too else chosen.where(~runs.c.protected)
            if connection.execute(chosen).rowcount != 1:
                return False
            settle_experiments(connection, experiments.c.id == experiment)
            with_it()
            return True

    @contextlib.contextmanager
    def list_held(self) -> Iterator[Callable[[str], bool]]:
        """Keep others from adding and removing runs; gives the question whether a run of an id is there."""
        with self._database.write() as connection:
            hold_list(connection)
            yield lambda run_id: exists(connection, run_id)
