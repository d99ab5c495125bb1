"""Which queued run is next, and taking it so that nobody else does.

Each workspace has a queue of its own: whoever takes a run needs its folder.

A queued run may start when it is not paused, its device has room, and the run that it comes after, if any,
has finished. Of those the one of the highest priority is next, of equal ones the one that was queued first.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from engine.host.processes import ProcessIdentity
from engine.store.cleared import NO_END, NO_PROGRESS
from engine.store.database import Database
from engine.store.lookup import hold
from engine.store.rows import RunRow
from engine.store.schema import runs
from engine.store.selects import run_row, select_run, select_runs

ACTIVE_STATUSES = ("starting", "running", "stopping")

STARTING: dict[str, Any] = (
    NO_END
    | NO_PROGRESS
    | {
        "status": "starting",
        "archived": False,
        "untold": True,
    }
)

IN_ORDER = (runs.c.priority.desc(), runs.c.queued_at, runs.c.id)

_IN_WORKSPACE = runs.c.workspace == sa.bindparam("workspace")

_QUEUED, _EARLIER = runs.alias("queued"), runs.alias("earlier")


class Queue:
    """The queue of a `workspace`, and who looks after the runs that left it."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def claim_next(
        self,
        owner: ProcessIdentity,
        slot: str,
        devices: Collection[str],
        beside: Sequence[str] = (),
        devices_here: int = 1,
        executor: str = "local",
    ) -> RunRow | None:
        """Take the next queued run whose config asks for one of `devices` and this executor, for `slot`.

        One that wants several devices gets as many slots of those `beside`, at most `devices_here` in all;
        while fewer are free, it waits and nobody overtakes it. No two owners ever get the same run.
        """
        offer = _Offer(slot, devices, beside, devices_here, executor)
        # Read first: an agent asks all the time and shall not keep others from writing.
        with self._database.read() as connection:
            if _next_that_fits(connection, self._workspace, offer) is None:
                return None
        with self._database.write() as connection:
            fitting = _next_that_fits(connection, self._workspace, offer, to_take=True)
            run_id = None if fitting is None else _claim(connection, owner, *fitting)
            found = connection.execute(select_run(), {"wanted": run_id}).first()
        return run_row(found) if found is not None else None

    def has_next(self, devices: Collection[str], executor: str) -> bool:
        """Whether a run waits that `claim_next` would take."""
        with self._database.read() as connection:
            return _next(connection, self._workspace, devices, executor) is not None

    def note_job(self, run_id: str, owner: ProcessIdentity, job: str) -> None:
        """Keep with the claim of `owner` which job of a cluster the run is."""
        with self._database.write() as connection:
            chosen = sa.select(runs.c.claimed_by).where(runs.c.id == run_id).with_for_update()
            claim = connection.execute(chosen).scalar()
            if claim is not None and ProcessIdentity.from_json(claim) == owner:
                statement = runs.update().where(runs.c.id == run_id)
                connection.execute(statement.values(claimed_by=claim | {"job": job}))

    def take(self, run_id: str, owner: ProcessIdentity, expect: Collection[str]) -> bool:
        """Let `owner` start this very run, past the queue, if its status is one of `expect`; else False."""
        with self._database.write() as connection:
            hold(connection, run_id)
            return _take(connection, run_id, owner, expect)

    def adopt(self, run_id: str, owner: ProcessIdentity, slot: str, before: dict[str, Any] | None) -> bool:
        """Let `owner` look after an active run whose `claimed_by` is still `before`."""
        with self._database.write() as connection:
            return _adopt(connection, run_id, owner, slot, before)

    def fail_dependents(self) -> list[str]:
        """Fail the queued runs whose predecessor failed, was lost or is gone; returns their ids."""
        with self._database.read() as connection:
            if not _hopeless(connection, self._workspace):
                return []
        with self._database.write() as connection:
            found = _hopeless(connection, self._workspace, to_change=True)
            for run_id, why in found:
                end = {"status": "failed", "cause": "dependency", "message": why, "untold": True}
                end["ended_at"] = time.time()
                connection.execute(runs.update().where(runs.c.id == run_id).values(NO_END | end))
        return [run_id for run_id, _ in found]

    def set_place(self, run_id: str, priority: int | None = None, paused: bool | None = None) -> None:
        """Change a run's place in the queue; None leaves a part as it is."""
        change = {
            key: value for key, value in (("priority", priority), ("paused", paused)) if value is not None
        }
        with self._database.write() as connection:
            hold(connection, run_id)
            connection.execute(runs.update().where(runs.c.id == run_id).values(change))

    def waiting(self) -> list[RunRow]:
        """The queued runs by priority, then by age; which comes after which is not heeded."""
        mine = (runs.c.workspace == self._workspace) & (runs.c.status == "queued")
        chosen = select_runs().where(mine).order_by(*IN_ORDER)
        with self._database.read() as connection:
            return [run_row(row) for row in connection.execute(chosen)]

    def goes_on(self) -> bool:
        """Whether a queued run may start some day by itself: see `held_back`."""
        with self._database.read() as connection:
            return connection.execute(_may_start(), {"workspace": self._workspace}).first() is not None

    def active(self) -> list[RunRow]:
        """The runs that somebody has taken and that have not ended, the oldest first."""
        return self._of_workspace(_active())

    def lost(self) -> list[RunRow]:
        """The runs that count as lost with their host, where they may be at work all the same."""
        return self._of_workspace(_lost())

    def preempted(self) -> list[RunRow]:
        """The runs that had to make room for others, the newest first; a last process of theirs may still
        be there."""
        return self._of_workspace(_preempted())

    def _of_workspace(self, chosen: sa.Select[Any]) -> list[RunRow]:
        with self._database.read() as connection:
            found = connection.execute(chosen, {"workspace": self._workspace})
            return [run_row(row) for row in found]


# Made once, as agents ask for these several times a second.


@cache
def _after_the_failed() -> sa.Select[Any]:
    return (
        sa.select(_QUEUED.c.id, _QUEUED.c.after, _EARLIER.c.status)
        .join_from(_QUEUED, _EARLIER, _EARLIER.c.id == _QUEUED.c.after, isouter=True)
        .where(_QUEUED.c.after > "")  # most runs come after none
        .where(_QUEUED.c.status == "queued", _QUEUED.c.workspace == sa.bindparam("workspace"))
        .where(_EARLIER.c.id.is_(None) | _EARLIER.c.status.in_(("failed", "lost")))
        .order_by(_QUEUED.c.id)
    )


@cache
def _active() -> sa.Select[Any]:
    active = _IN_WORKSPACE & runs.c.status.in_(ACTIVE_STATUSES)
    return select_runs().where(active).order_by(runs.c.created_at)


@cache
def _lost() -> sa.Select[Any]:
    lost = _IN_WORKSPACE & (runs.c.status == "lost") & (runs.c.cause == "lost_host")
    return select_runs().where(lost).order_by(runs.c.created_at, runs.c.id)


@cache
def _preempted() -> sa.Select[Any]:
    preempted = _IN_WORKSPACE & (runs.c.status == "stopped") & (runs.c.cause == "preempted")
    return select_runs().where(preempted).order_by(runs.c.created_at.desc(), runs.c.id)


@cache
def held_back() -> sa.Select[tuple[str]]:
    """The ids of queued runs that no agent starts by itself, within a statement that has the parameter
    `workspace`: paused ones, those after a run that somebody has stopped, and those behind them."""
    waits = (_QUEUED.c.workspace == sa.bindparam("workspace")) & (_QUEUED.c.status == "queued")
    stopped = (_EARLIER.c.status == "stopped") & (_EARLIER.c.cause != "preempted")
    earlier = _EARLIER.c.id == _QUEUED.c.after
    first = sa.select(_QUEUED.c.id).join_from(_QUEUED, _EARLIER, earlier, isouter=True)
    held = first.where(waits, _QUEUED.c.paused | stopped).cte("held", recursive=True)
    held = held.union(sa.select(_QUEUED.c.id).where(waits, _QUEUED.c.after == held.c.id))
    return sa.select(held.c.id)


@cache
def _may_start() -> sa.Select[Any]:
    waits = _IN_WORKSPACE & (runs.c.status == "queued")
    return sa.select(runs.c.id).where(waits, runs.c.id.not_in(held_back())).limit(1)


@dataclass(frozen=True)
class _Offer:
    """What a claim has for a run: see `Queue.claim_next`."""

    slot: str
    devices: Collection[str]
    beside: Sequence[str]
    devices_here: int
    executor: str


def _next_that_fits(
    connection: sa.Connection, workspace: str, offer: _Offer, to_take: bool = False
) -> tuple[str, str] | None:
    """The next run and the slots for it, joined by commas; None when there is none or its slots are taken.

    With `to_take` it is held until the transaction ends, and runs that others hold are passed over.
    """
    found = _next(connection, workspace, offer.devices, offer.executor, to_take)
    if found is None:
        return None
    wanted = connection.execute(sa.select(runs.c.config["devices"].as_string()).where(runs.c.id == found))
    told = wanted.scalar() or "1"  # queued by an earlier version: one
    count = offer.devices_here if told == "auto" else min(int(told), offer.devices_here)
    chosen = (offer.slot, *offer.beside)[:count]
    return (found, ",".join(chosen)) if len(chosen) == count else None


def _claim(connection: sa.Connection, owner: ProcessIdentity, run_id: str, slot: str) -> str:
    """Take a queued run, to run it in `slot`; returns its id.

    Of many who claim at once no two get one run: on SQLite the transaction holds the write lock from its
    beginning, on PostgreSQL each passes over the runs that another is at.
    """
    claim = owner.as_json() | {"slot": slot} | _attempt_to_come(connection, run_id)
    connection.execute(runs.update().where(runs.c.id == run_id).values(STARTING | {"claimed_by": claim}))
    return run_id


def _attempt_to_come(connection: sa.Connection, run_id: str) -> dict[str, int]:
    """What a claim is for. Whoever later says that its worker is dead means this attempt: see `fold`."""
    attempt = connection.execute(sa.select(runs.c.attempt).where(runs.c.id == run_id)).scalar_one()
    return {"attempt": int(attempt) + 1}


def place_in_line(connection: sa.Connection, workspace: str, now: float) -> float:
    """When a run counts as queued: `now`, or just behind the last in line when the clock was set back."""
    waits = (runs.c.workspace == workspace) & (runs.c.status == "queued")
    last = connection.execute(sa.select(sa.func.max(runs.c.queued_at)).where(waits)).scalar()
    return now if last is None or last < now else float(last) + 1e-6


def _next(
    connection: sa.Connection,
    workspace: str,
    devices: Collection[str],
    executor: str,
    to_take: bool = False,
) -> str | None:
    """The run that is next. Within one priority the index `runs_queue` gives the oldest first, so that a
    claim costs the same however many runs wait; over all priorities at once it would sort them all."""
    waits = (_QUEUED.c.workspace == workspace) & (_QUEUED.c.status == "queued")
    finished = sa.exists().where(_EARLIER.c.id == _QUEUED.c.after, _EARLIER.c.status == "finished")
    oldest = (
        sa.select(_QUEUED.c.id)
        .where(
            waits,
            _QUEUED.c.priority == sa.bindparam("priority"),
            ~_QUEUED.c.paused,
            (_QUEUED.c.after == "") | finished,
            _QUEUED.c.config["device"].as_string().in_(list(devices)),
            # Queued by an earlier version, it has no such key.
            sa.func.coalesce(_QUEUED.c.config["executor"].as_string(), "local") == executor,
        )
        .order_by(_QUEUED.c.queued_at, _QUEUED.c.id)
        .limit(1)
    )
    if to_take:
        oldest = oldest.with_for_update(of=_QUEUED, skip_locked=True)
    highest = sa.select(sa.func.max(_QUEUED.c.priority)).where(waits)
    priority = connection.execute(highest).scalar()
    while priority is not None:
        found = connection.execute(oldest, {"priority": priority}).scalar()
        if found is not None:
            return str(found)
        priority = connection.execute(highest.where(_QUEUED.c.priority < priority)).scalar()
    return None


def _take(connection: sa.Connection, run_id: str, owner: ProcessIdentity, expect: Collection[str]) -> bool:
    """Let `owner` start the run past the queue if its status is one of `expect`; False when not."""
    claim = owner.as_json() | _attempt_to_come(connection, run_id)
    change = STARTING | {"claimed_by": claim, "queued_at": None}
    statement = runs.update().where(runs.c.id == run_id, runs.c.status.in_(list(expect)))
    return connection.execute(statement.values(change)).rowcount == 1


def _adopt(
    connection: sa.Connection, run_id: str, owner: ProcessIdentity, slot: str, before: dict[str, Any] | None
) -> bool:
    """Let `owner` look after a run that `before` looked after; False when somebody else was faster."""
    known = connection.execute(
        sa.select(runs.c.claimed_by)
        .where(runs.c.id == run_id, runs.c.status.in_(ACTIVE_STATUSES))
        .with_for_update()
    ).first()
    if known is None or known[0] != before:
        return False
    claim = (before or {}) | owner.as_json() | {"slot": slot}
    connection.execute(runs.update().where(runs.c.id == run_id).values(claimed_by=claim, untold=True))
    return True


def _hopeless(connection: sa.Connection, workspace: str, to_change: bool = False) -> list[tuple[str, str]]:
    """The queued runs that come after one that failed, was lost or is gone, and why they cannot start."""
    chosen = _after_the_failed()
    if to_change:
        chosen = chosen.with_for_update(of=_QUEUED, skip_locked=True)
    return [
        (row.id, f"it was waiting for {row.after}, which {_FATES[row.status]}")
        for row in connection.execute(chosen, {"workspace": workspace})
    ]


_FATES = {"failed": "failed", "lost": "was lost", None: "was deleted"}
