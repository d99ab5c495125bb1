"""Attempts, progress and ends: what a run is at.

The first event of a new attempt sets the run running and clears how the attempt before had
ended. An end event ends the run; it is the worker's own word and also replaces an end that somebody else
presumed ("lost"). Events older than the present status do not change it: those of an attempt that had ended
before the run was queued again, and the first of an attempt whose worker was since found dead. Attempts have
numbers, which say what is older; clocks do not, as they differ between hosts and may be set back. A stop that
was asked for while the worker came up stays asked for.
"""

from __future__ import annotations

from typing import Any

from engine.run.event import Event
from engine.run.events import Failed, Finished, Progress, Started, Stopped
from engine.store.cleared import NO_END, NO_PROGRESS
from engine.store.folds.folding import Folding, folds
from engine.store.result_tables import metrics, results
from engine.store.rows import END_STATUSES
from engine.store.schema import epochs


def begin_attempt(run: dict[str, Any], event: Event) -> None:
    """The run's columns at the first event of a new attempt."""
    claimed = (run["claimed_by"] or {}).get("attempt", 0)
    presumed_over = run["status"] in END_STATUSES and event.attempt <= claimed
    if not presumed_over:
        run |= NO_END
        if run["status"] != "stopping":
            run["status"] = "running"
    run |= NO_PROGRESS | {"step": None, "steps": None, "images_per_second": None, "progress_at": None}
    run["attempt"] = event.attempt
    if run["started_at"] is None:
        run["started_at"] = event.t


@folds(Started)
def started(folding: Folding, event: Started) -> None:
    folding.take(event, "host", "pid", "device", "device_name", "precision")
    folding.cut(event.resumed_from_epoch, epochs, results, metrics)


@folds(Progress, recorded=False)
def progress(folding: Folding, event: Progress) -> None:
    folding.take(event, "phase", "step", "steps")
    folding.run["progress_at"] = event.t
    # The speed of a run is that of its training; scoring is faster and says nothing of the time left. A phase
    # that does not know the time left leaves the last one known.
    if event.phase not in ("cache", "val"):
        folding.take(event, "images_per_second", leave_none=True)
    folding.take(event, "eta_seconds", "budget_used", leave_none=True)


def ended(folding: Folding, event: Finished | Failed | Stopped) -> None:
    run = folding.run
    if run["status"] in ("queued", "starting"):
        return  # of an attempt before it was queued again
    wanted = run["status"] == "stopping"
    run |= NO_END | NO_PROGRESS | {"status": event.event, "ended_at": event.t}
    run["cause"] = event.cause
    if wanted and isinstance(event, Stopped):
        run["cause"] = "stopped"  # also when it was preempted at the same time: it is not to be queued again
    if isinstance(event, Failed):
        folding.take(event, "message", "traceback")


folds(Finished)(ended)
folds(Failed)(ended)
folds(Stopped)(ended)
