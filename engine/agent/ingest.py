"""Folding journals into the database, and giving an end to runs whose worker can tell none."""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import Any

from engine.agent.executors.local import is_held
from engine.agent.workers import CannotSignal, find_worker, kill_leftovers
from engine.exits import STOPPED
from engine.host.processes import ProcessIdentity, boot_id, is_alive
from engine.run.directory import ExitRecord, RunDir
from engine.run.events import AnyEvent
from engine.run.journal import JournalError, read_events
from engine.store import END_STATUSES, IngestConflict, RunRow, Store
from engine.store.cards import keep_card


def catch_up(store: Store, run: RunDir) -> list[AnyEvent]:
    """Fold what is new in a run's journal into the database; returns it.

    Two who catch up on one run at once do no harm: the slower finds its offset taken and reads on from there.
    """
    folded: list[AnyEvent] = []
    while True:
        offset = store.journals.offset(run.id)
        events, end = read_events(run.journal, offset)
        if not events:
            return folded
        try:
            store.journals.ingest(run.id, events, end, offset)
        except IngestConflict:
            continue
        folded += events


def owner_of(row: RunRow) -> ProcessIdentity | None:
    """The process that looks after a run, or did so last."""
    try:
        return ProcessIdentity.from_json(row.claimed_by)
    except ValueError:
        return None


def is_clustered(row: RunRow) -> bool:
    """Whether a run is a job of a cluster, which alone can tell what has become of it."""
    return row.stored_config.get("executor") == "slurm"


def is_over(run: RunDir) -> bool | None:
    """Whether a run that was started has no worker any more; None where only another machine could tell.

    Before its worker has come up there is nothing but the lock on its log. Where the lock is held and
    `proc.json` names one who is gone, the kernel is asked for another.
    """
    process = run.read_proc()
    if process is None:
        return not is_held(run)
    alive = is_alive(process)
    if alive is None:
        return None
    return not alive and not (is_held(run) and find_worker(run) is not None)


def is_settled(row: RunRow) -> bool:
    """Whether nothing more comes of a run by itself; who looks after a preempted one is to queue it again."""
    owner = owner_of(row)
    to_be_queued = row.cause == "preempted" and owner is not None and is_alive(owner) is True
    return row.ended and not to_be_queued


def has_living_worker(run: RunDir) -> bool:
    """Whether a worker is at the run on this machine or coming up; an earlier one's child does not count."""
    process = run.read_proc()
    return is_held(run) if process is None else is_alive(process) is True


def queue_again(store: Store, run: RunDir, preempted: RunRow) -> bool:
    """Put a run that had to make room back into the queue; False when it has changed since, as somebody may
    have stopped it for good."""
    queued = store.lifecycle.set_status(run.id, "queued", seen=preempted)
    if queued:
        keep_card(store, run)
    return queued


def settle(
    store: Store,
    run: RunDir,
    exit_status: int | None = None,
    killed_because: str = "",
    claimed_by: dict[str, Any] | None = None,
) -> None:
    """Give a run whose worker is gone a true end when its journal tells none.

    `exit_status` is the worker's, negative for a signal, where its parent knows it; `killed_because` is why
    this program itself has killed it, "" when it has not. A queued run whose
    worker never came up, as its agent died while starting it, goes back to the queue. Nothing happens when
    somebody else than `claimed_by` has claimed the run meanwhile, if that is given.
    """
    process = run.read_proc()
    if process is None or process.host == socket.gethostname():
        with contextlib.suppress(CannotSignal):  # another user's; whoever starts the run again is told so
            kill_leftovers(run)
    damage = ""
    try:
        catch_up(store, run)
    except (JournalError, OSError) as error:
        damage = str(error)
    row = store.run(run.id)
    if row.status in END_STATUSES or row.status == "queued":
        return
    if claimed_by is not None and row.claimed_by != claimed_by:
        return
    # What proc.json says of an earlier attempt says nothing of this one.
    came_up = process is not None and run.read_proc_attempt() >= claimed_attempt(row)
    if row.status == "stopping" and (not came_up or exit_status in (-signal.SIGTERM, STOPPED)):
        # The signal met a worker that was still coming up, or one that found no room for its last word.
        store.lifecycle.set_status(run.id, "stopped", "stopped", seen=row)
    elif row.status == "starting" and not came_up and exit_status is None and row.queued_at is not None:
        store.lifecycle.set_status(run.id, "queued", seen=row)
    else:
        status, cause, message = _end(run, row, process, exit_status, killed_because)
        store.lifecycle.set_status(run.id, status, cause, damage or message, seen=row)
    keep_card(store, run)


def claimed_attempt(row: RunRow) -> int:
    """The attempt that a run was last claimed for; 0 when nobody in this database claimed it."""
    return int((row.claimed_by or {}).get("attempt", 0))


def last_word(run: RunDir, row: RunRow) -> ExitRecord | None:
    """How the worker of a run's latest attempt says that it ended, None where it left no word."""
    told = run.read_exit()
    if told is None or told.attempt < max(row.attempt, claimed_attempt(row)):
        return None
    return told if told.status in END_STATUSES else None


def _end(
    run: RunDir, row: RunRow, process: ProcessIdentity | None, exit_status: int | None, killed_because: str
) -> tuple[str, str, str]:
    """Status, cause and message of a run whose journal has no end."""
    if not run.path.is_dir():
        return "failed", "exception", f"its folder {run.path} is gone"
    if process is not None and process.boot_id != boot_id():
        return "lost", "lost_host", f"{process.host} was restarted during the run"
    if (told := last_word(run, row)) is not None:
        return told.status, told.cause, told.message
    if killed_because:
        return "failed", "killed", killed_because
    if exit_status in (-signal.SIGKILL, None) and run.met_oom_killer():
        return (
            "failed",
            "out_of_memory",
            f"the kernel killed the worker: out of memory; {_less(row.config)}",
        )
    if exit_status == -signal.SIGKILL:
        why = "the worker was killed by signal 9, perhaps out of memory (see `dmesg`)"
        return "failed", "killed", why
    if exit_status is not None and exit_status < 0:
        return "failed", "killed", f"the worker was killed by signal {-exit_status}"
    if exit_status is not None:
        return "failed", "exception", f"the worker exited with status {exit_status}; see {run.log}"
    return "failed", "killed", "the worker is gone and reported nothing"


def _less(config: dict[str, Any]) -> str:
    """What needs less memory. Nobody has tried it: the worker that could have is dead."""
    from engine.models import ModelSection
    from engine.models.builtin import MODELS  # making its models takes longer than listing a thousand runs

    batch = int(config["batch_size"])
    size = min(batch, int(config["runtime"]["micro_batch"]) or batch)
    if size == 1:
        section = MODELS.sections().get(config["model"]["name"], ModelSection)
        return f"{section.smaller()} needs less"
    half = size // 2
    parts = f"runtime.micro_batch={half} validation.batch_size={half}"
    if size < batch:
        return f"{parts} needs less"
    return f"batch_size={half} needs less; or {parts}, which keeps {batch} images a step"


def refresh(store: Store, runs: list[RunDir]) -> None:
    """Bring the database up to date with runs that it holds for unfinished.

    A run whose worker is gone gets its end here when nobody who lives looks after it.
    """
    for run in runs:
        row = store.run(run.id)
        owner = owner_of(row)
        unwatched = owner is None or is_alive(owner) is False
        started = owner is not None or run.read_proc() is not None
        here = row.status != "queued" and not is_clustered(row)
        gone = here and unwatched and started and is_over(run) is True
        catch_up(store, run)
        if gone:
            settle(store, run, claimed_by=row.claimed_by)
