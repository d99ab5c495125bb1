"""Folding journals into the database."""

from __future__ import annotations

from engine.journal import AnyEvent, read_events
from engine.processes import is_alive
from engine.rundir import RunDir
from engine.store import END_STATUSES, IngestConflict, Store


def catch_up(store: Store, run: RunDir) -> list[AnyEvent]:
    """Fold what is new in a run's journal into the database; returns it.

    Two who catch up on one run at once do no harm: the slower finds its offset taken and reads on from there.
    """
    folded: list[AnyEvent] = []
    while True:
        offset = store.run(run.id).journal_offset
        events, end = read_events(run.journal, offset)
        if not events:
            return folded
        try:
            store.ingest(run.id, events, end, offset)
        except IngestConflict:
            continue
        folded += events


def settle(store: Store, run: RunDir, exit_status: int | None = None) -> None:
    """Give a run whose worker is gone a true end when its journal tells none.

    `exit_status` is the worker's, negative for a signal, where its parent knows it.
    """
    catch_up(store, run)
    row = store.run(run.id)
    if row.status in END_STATUSES:
        return
    if exit_status is not None and exit_status < 0:
        cause, message = "killed", f"the worker was killed by signal {-exit_status}"
    elif exit_status is not None:
        cause, message = "exception", f"the worker left with exit status {exit_status}; see {run.log}"
    else:
        cause, message = "killed", "the worker is gone and left no word"
    store.set_status(run.id, "failed", cause, message, expect=(row.status,))


def refresh(store: Store, runs: list[RunDir]) -> None:
    """Bring the database up to date with runs that it holds for unfinished."""
    for run in runs:
        process = run.read_proc()
        gone = process is not None and is_alive(process) is False
        catch_up(store, run)
        if gone:
            settle(store, run)
