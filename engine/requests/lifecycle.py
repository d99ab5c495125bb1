"""What people want done to runs that are there: stopped, queued again, moved in the queue, tagged, annotated.

Both front ends ask here, and in the modules beside, so that they refuse the same things in the same words.
Nothing is printed, and nothing but the database and the run's own folder is changed; agents and workers do
the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engine.agent.ingest import is_clustered, owner_of
from engine.agent.presence import ensure_agent
from engine.agent.workers import ask_to_stop
from engine.host.access import user_name
from engine.host.processes import is_alive
from engine.requests.refusals import (
    RESUMABLE,
    STOPPABLE,
    Refused,
    refuse_elsewhere,
    refuse_foreign_workers,
    refuse_living,
    refuse_no_name,
    refuse_others,
    refuse_unarchivable,
    refuse_unkeepable,
    refuse_unwritable,
    refuse_without_data,
)
from engine.run.directory import RunDir, refuse_unreadable
from engine.store import RunRow, Store
from engine.store.cards import card_of, keep_card
from engine.workspace import Workspace


def stop(workspace: Workspace, store: Store, rows: Sequence[RunRow]) -> list[str]:
    """Let runs end their step and save; queued ones leave the queue.

    Returns what became of each: `stopped`, `stopping`, or `ended` by itself meanwhile. Raises Refused, and
    stops none, when one is over or nobody who may stop it would hear of it.
    """
    refuse_others([row for row in rows if row.cause != "preempted"], STOPPABLE, "there is nothing to stop")
    refuse_foreign_workers(workspace, rows)
    fates = [_stop(workspace, store, row.id) for row in rows]
    heard = [_is_heard(workspace, store.run(row.id), row.status == "stopping") for row in rows]
    if not all(heard):
        ensure_agent(workspace)  # nobody else would pass the stop request on
    return fates


def _is_heard(workspace: Workspace, row: RunRow, in_vain: bool) -> bool:
    """Whether somebody heeds a stop request. A worker of this machine that nobody looks after is told here:
    an agent would start what is queued, too. `in_vain`: that was tried before; an agent is to see to it."""
    owner = owner_of(row)
    if row.ended or (owner is not None and is_alive(owner) is not False):
        return True
    if in_vain or is_clustered(row):
        return False
    return ask_to_stop(workspace.run_dir(row.id)) is not None


def _stop(workspace: Workspace, store: Store, run_id: str) -> str:
    while True:
        if store.lifecycle.set_status(run_id, "stopped", "stopped", expect=("queued",)):
            keep_card(store, workspace.run_dir(run_id))
            return "stopped"
        if store.lifecycle.set_status(run_id, "stopping", expect=("starting", "running", "stopping")):
            return "stopping"
        row = store.run(run_id)
        if (row.status, row.cause) != ("stopped", "preempted"):
            return "ended"
        if store.lifecycle.set_status(run_id, "stopped", "stopped", seen=row):
            return "stopped"  # before somebody queues it again


def requeue(workspace: Workspace, store: Store, rows: Sequence[RunRow], priority: int | None = None) -> None:
    """Queue runs that stopped, failed or were lost; they go on from their last checkpoint. `ensure_agent`
    sees to it that somebody starts them. None is paused, as it may have been in its former place.

    Raises Refused, and queues none, when one is of another status, its worker still lives or its data is not
    there.
    """
    refuse_elsewhere(workspace, rows)
    refuse_others(rows, RESUMABLE, "only stopped, failed and lost runs are queued again")
    refuse_unwritable(workspace, rows)
    refuse_living(workspace, rows)
    refuse_without_data(workspace, rows)
    for row in rows:
        store.queue.set_place(row.id, priority=priority, paused=False)
        store.lifecycle.set_status(row.id, "queued", expect=RESUMABLE)
        keep_card(store, workspace.run_dir(row.id))


def set_place(
    workspace: Workspace,
    store: Store,
    rows: Sequence[RunRow],
    priority: int | None = None,
    paused: bool | None = None,
) -> list[RunRow]:
    """Change the places of queued runs; None leaves a part as it is. A higher priority starts first, a paused
    one not at all.

    Returns those whose folder does not keep it. Raises Refused, and changes none, when one is not queued.
    """
    problems = [f"{row.id}: is {row.status}, not queued" for row in rows if row.status != "queued"]
    if problems:
        raise Refused(problems)
    for row in rows:
        store.queue.set_place(row.id, priority=priority, paused=paused)
    return [row for row in rows if not keep_card(store, workspace.run_dir(row.id))]


def set_tags(workspace: Workspace, store: Store, run_id: str, tags: Iterable[str]) -> bool:
    """Replace a run's tags; returns whether its folder keeps them, too. Raises Refused, StoreError."""
    tags = tuple(tags)
    refuse_unkeepable(tag=tags)
    store.lifecycle.update_card(run_id, tags=tags)
    return keep_card(store, workspace.run_dir(run_id))


def change_tags(
    workspace: Workspace, store: Store, run_id: str, add: Iterable[str] = (), remove: Iterable[str] = ()
) -> bool:
    """Add tags to a run and take others away; returns whether its folder keeps them, too. Raises Refused,
    StoreError."""
    add = tuple(add)
    refuse_unkeepable(tag=add)
    store.lifecycle.change_tags(run_id, add, remove)
    return keep_card(store, workspace.run_dir(run_id))


def set_note(workspace: Workspace, store: Store, run_id: str, note: str) -> bool:
    """Replace a run's note, "" removes it; returns whether its folder keeps it, too."""
    refuse_unkeepable(note=note)
    store.lifecycle.update_card(run_id, note=note)
    return keep_card(store, workspace.run_dir(run_id))


def rename(workspace: Workspace, store: Store, row: RunRow, name: str) -> bool:
    """Call a run otherwise; returns whether its folder keeps it, too. Raises Refused, RunDirError."""
    refuse_no_name(name=name)
    refuse_unreadable(replace(card_of(row), name=name))
    store.lifecycle.update_card(row.id, name=name)
    return keep_card(store, workspace.run_dir(row.id))


def move(workspace: Workspace, store: Store, rows: Sequence[RunRow], experiment: str) -> list[RunRow]:
    """Make runs those of another experiment, which need not be there; returns those whose folder does not
    keep it. Raises Refused, RunDirError, and moves none, for what no experiment can be called."""
    refuse_no_name(experiment=experiment)
    for row in rows:
        refuse_unreadable(replace(card_of(row), experiment=experiment))
    for row in rows:
        store.lifecycle.move(row.id, experiment)
    return [row for row in rows if not keep_card(store, workspace.run_dir(row.id))]


def archive(workspace: Workspace, store: Store, rows: Sequence[RunRow], archived: bool) -> list[RunRow]:
    """Leave ended runs out of lists, or show them again; nothing of them is deleted. Returns those whose
    folder does not keep it. Raises Refused, and archives none, when one has not ended."""
    if archived:
        refuse_unarchivable(rows)
    for row in rows:
        if not store.lifecycle.archive(row.id, archived) and archived:
            raise Refused([f"{row.id}: was started just now and is not archived"])
    return [row for row in rows if not keep_card(store, workspace.run_dir(row.id))]


def protect(workspace: Workspace, store: Store, rows: Sequence[RunRow], protected: bool) -> list[RunRow]:
    """Keep runs from being deleted, or let them be deleted again; returns those whose folder does not keep
    it."""
    for row in rows:
        store.lifecycle.update_card(row.id, protected=protected)
    return [row for row in rows if not keep_card(store, workspace.run_dir(row.id))]


def taken_over(run: RunDir) -> str:
    """What to say of a run of somebody else's that this user goes on with; "" of one's own."""
    if not run.owner:
        return ""
    return f"{run.id} is {run.owner}'s run; it goes on as {user_name()}, who will own the files it makes"
