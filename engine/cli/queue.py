"""`seg-engine queue`, and putting runs into it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from engine.agent.presence import Presence, ensure_agent
from engine.cli.console import notices, output, print_json
from engine.cli.reading import has_database, no_database, open_existing
from engine.host.access import why_unwritable
from engine.report.tables import Column, age, duration, text_table
from engine.report.waiting import Wait, in_line, waits_of
from engine.requests import lifecycle
from engine.run.directory import RunCard
from engine.store import RunRow
from engine.store.agent_rows import reasons_of
from engine.typed import typed
from engine.workspace import Workspace


def tell_queued(workspace: Workspace, cards: Sequence[RunCard], as_json: bool) -> None:
    """Say what was queued, and see to it that an agent is there. Raises OSError when this user cannot start
    one: the runs wait nevertheless, and have been told."""
    for card in cards:
        if as_json:
            print_json({"event": "queued", "run": card.id, "name": card.name}, indent=None)
        else:
            output.say(f"{card.id}  {card.name}  queued")
    living = ensure_agent(workspace)
    if as_json:
        return
    agent = (
        f"agent {living.pid} is running" if living else f"an agent was started: {Presence.of(workspace).log}"
    )
    notices.say(agent)
    notices.say(f"next: {typed('watch', cards[0].id) if len(cards) == 1 else typed('queue')}")


def list_queue(workspace: Workspace, as_json: bool) -> None:
    """Print what is at work and what waits, the next first."""
    if not has_database(workspace):
        if as_json:
            print_json({"agent": None, "active": [], "queued": [], "holding": []}, indent=None)
        else:
            notices.say(no_database(workspace))
        return
    with open_existing(workspace) as store:
        active, queued = store.queue.active(), in_line(store.queue.waiting())
        holding = store.agents.living()
        agent = Presence.of(workspace).living()
        runs = {run.id: run for run in store.changes().runs} if queued else {}
        waits = waits_of(runs, store.workspace, agent is not None, holding)
    if as_json:
        record = {
            "agent": agent.as_json() if agent else None,
            "active": [queue_record(row, waits) for row in active],
            "queued": [queue_record(row, waits) for row in queued],
            "holding": [state.as_json() for state in holding],
        }
        print_json(record)
        return
    if active or queued:
        output.say(queue_table(active, queued, waits, time.time(), output.table_width))
        for reason in reasons_of(holding) if queued else ():
            output.say(reason)
    else:
        notices.say("nothing is running or queued")
    if agent is not None:
        notices.say(f"agent: process {agent.pid}")
    elif queued and not holding:
        notices.say(f"no agent is running on this host; start one with `{typed('agent')}`")


def queue_record(row: RunRow, waits: Mapping[str, Wait]) -> dict[str, Any]:
    """A run as JSON values, with what the table says of its place, its device and its time: `why` a queued
    one waits and in how many seconds it may begin, or one at work end; null where there is none or nobody
    knows."""
    fields = ("id", "name", "experiment", "status", "priority", "paused", "after", "queued_at", "claimed_by")
    wait = waits.get(row.id)
    return {name: getattr(row, name) for name in fields} | {
        "place": wait.place if wait is not None else None,
        "device": slot_or_wanted(row),
        "why": wait.why if wait is not None else "",
        "begins_in_seconds": wait.seconds if wait is not None else None,
        "ends_in_seconds": row.eta_seconds if row.status != "queued" else None,
    }


def queue_table(
    active: Sequence[RunRow],
    queued: Sequence[RunRow],
    waits: Mapping[str, Wait],
    now: float,
    width: int | None,
) -> Any:
    rows = [*active, *queued]
    columns = [
        Column("place", [place(row, waits) for row in rows], right=True),
        Column("id", [row.id for row in rows]),
        Column("state", [state(row) for row in rows]),
        Column("name", [row.name for row in rows], least=10),
        Column("experiment", [row.experiment for row in rows], rank=3, least=10),
        Column("priority", [str(row.priority) for row in rows], right=True, rank=1),
        Column("device", [slot_or_wanted(row) for row in rows], rank=2),
        Column("starts", [starts(row, waits) for row in rows], rank=1, least=12),
        Column("queued", [age(now - row.queued_at) if row.queued_at else "-" for row in rows], right=True),
    ]
    return text_table(columns, width)


def place(row: RunRow, waits: Mapping[str, Wait]) -> str:
    """The place of a queued run in line; one that is held back has none."""
    wait = waits.get(row.id)
    return "-" if wait is None or wait.place is None else str(wait.place)


def starts(row: RunRow, waits: Mapping[str, Wait]) -> str:
    """When a queued run may begin, and why not yet; of one at work when it may end."""
    if row.status != "queued":
        return "-" if row.eta_seconds is None else f"ends in ~{duration(row.eta_seconds)}"
    return (waits[row.id].brief if row.id in waits else "") or "-"


def state(row: RunRow) -> str:
    if row.status != "queued":
        return row.status
    if row.paused:
        return "paused"
    return f"after {row.after}" if row.after else "queued"


def slot_or_wanted(row: RunRow) -> str:
    """The device that a run has, or the one that it asks for."""
    return str((row.claimed_by or {}).get("slot") or row.config["device"])


def set_priority(workspace: Workspace, prefixes: Sequence[str], priority: int) -> None:
    """Give queued runs another place: higher priorities start first. Raises Refused, StoreError."""
    with open_existing(workspace, change=True) as store:
        rows = [store.run(store.resolve(prefix)) for prefix in prefixes]
        for row in lifecycle.set_place(workspace, store, rows, priority=priority):
            tell_lost(workspace, row.id)
    for row in rows:
        output.say(f"{row.id}  {row.name}  priority {priority}")


def pause(workspace: Workspace, prefixes: Sequence[str], paused: bool) -> None:
    """Hold queued runs back, or let them go; without names all that are queued now."""
    with open_existing(workspace, change=True) as store:
        rows = (
            [store.run(store.resolve(prefix)) for prefix in prefixes] if prefixes else store.queue.waiting()
        )
        for row in lifecycle.set_place(workspace, store, rows, paused=paused):
            tell_lost(workspace, row.id)
    for row in rows:
        output.say(f"{row.id}  {row.name}  {'paused' if paused else 'queued'}")
    if not rows:
        notices.say("the queue is empty")
    elif not paused:
        ensure_agent(workspace)


def tell_lost(workspace: Workspace, run_id: str) -> None:
    """Say that a run's folder did not take what the database has."""
    folder = workspace.run_dir(run_id).path
    reason = why_unwritable(folder) or (f"{folder} {'cannot be written' if folder.is_dir() else 'is gone'}")
    notices.say(f"{reason}; only the database has this")
