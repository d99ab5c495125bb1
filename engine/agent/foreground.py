"""One run, started here and followed to its end."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.agent.executors.local import start_worker
from engine.agent.ingest import catch_up, queue_again, settle
from engine.agent.workers import CannotSignal, ask_to_stop, kill_worker
from engine.run.directory import RunDir, RunDirError
from engine.run.events import AnyEvent
from engine.run.journal import JournalError
from engine.store import RunRow, Store, StoreError
from engine.workspace import Workspace

POLL_SECONDS = 0.2

GRACE_SECONDS = 60.0
"""How long a worker may take to end its step and save before it is killed. Whoever has pressed Ctrl-C is
there to press it again; a stop that comes by the database has nobody who would."""

LEAVING_SECONDS = 30.0
"""How long a worker may take to be gone once its end is on the record."""

KILLED_BY_HAND = (
    "killed by a second Ctrl-C or SIGTERM before it had stopped; resume continues from the last checkpoint"
)


@dataclass
class StopSwitch:
    """How often a stop was asked for: once saves and leaves, twice kills. Signal handlers may press it."""

    pressed: int = 0
    _seen: int = field(default=0, repr=False)

    def press(self) -> None:
        self.pressed += 1

    def news(self) -> int:
        """The count when it changed since the last call, else 0."""
        changed = self.pressed if self.pressed != self._seen else 0
        self._seen = self.pressed
        return changed


def follow_run(
    store: Store,
    workspace: Workspace,
    run_id: str,
    on_events: Callable[[list[AnyEvent]], None],
    switch: StopSwitch,
    on_trouble: Callable[[str], None],
) -> RunRow:
    """Start the worker of a run that this process has taken, fold its journal into the database as it grows,
    return the run's end. A run that was preempted is queued again by then.

    `on_events` is called with new events, also with none, about five times a second. A stop that another
    program asks for in the database is passed on as the switch's first press is. While the database cannot be
    used the worker goes on and its journal with it; `on_trouble` is told once, and once more when the worker
    has ended. Raises StoreError when the database still cannot be used then and the switch is pressed.
    """
    run: RunDir = workspace.run_dir(run_id)
    try:
        worker = start_worker(run, workspace.cache)
    except (OSError, RunDirError) as error:
        store.lifecycle.set_status(run_id, "failed", "exception", f"its worker cannot be started: {error}")
        return store.run(run_id)
    followed = _Followed(store, run, worker, on_events)
    told = ""
    while True:
        presses, over = switch.news(), worker.poll() is not None
        if presses:
            followed.interrupt(presses)
        try:
            if over:
                return followed.end()
            followed.step()
            told = ""
        except (StoreError, JournalError, OSError) as error:
            if over and presses:  # a worker that is over since has obeyed them: they do not mean the database
                raise
            state = "its worker has ended, which waits to be recorded; Ctrl-C leaves that to the next command"
            state = state if over else "the run and its journal continue"
            if state != told:
                on_trouble(f"{error}; {state}")
            told = state
        time.sleep(POLL_SECONDS)


class _Followed:
    """A worker and what is to be done for it."""

    def __init__(
        self,
        store: Store,
        run: RunDir,
        worker: subprocess.Popen[bytes],
        on_events: Callable[[list[AnyEvent]], None],
    ) -> None:
        self.store, self.run, self.worker, self.on_events = store, run, worker, on_events
        self.asked = self.told = False
        self.killed_because = ""
        self.deadline: float | None = None

    def interrupt(self, presses: int) -> None:
        """Needs no database: who presses Ctrl-C wants the run to stop, whatever ails that."""
        if presses > 1:
            self._kill(KILLED_BY_HAND)
        else:
            ask_to_stop(self.run, self.worker)
            self.asked = True

    def step(self) -> None:
        if self.asked and not self.told:
            self.store.lifecycle.set_status(self.run.id, "stopping", expect=("starting", "running"))
            self.told = True
        row = self.store.run(self.run.id)
        if not self.asked and row.status == "stopping":
            ask_to_stop(self.run, self.worker)
            self.asked = self.told = True
            self.deadline = time.monotonic() + GRACE_SECONDS
        self.on_events(catch_up(self.store, self.run))
        if row.status == "lost":
            # Another host could not see it any more; this process can.
            status = "stopping" if self.asked else "running"
            self.store.lifecycle.set_status(self.run.id, status, expect=("lost",))
        elif row.ended:
            self.deadline = min(self.deadline or float("inf"), time.monotonic() + LEAVING_SECONDS)
        if self.deadline is not None and time.monotonic() > self.deadline:
            self._kill(f"it did not stop within {GRACE_SECONDS:g} s and was killed")

    def _kill(self, because: str) -> None:
        self.killed_because = because
        with contextlib.suppress(CannotSignal):  # all of it is this user's own
            kill_worker(self.run, self.worker)

    def end(self) -> RunRow:
        if self.asked and not self.told:
            self.store.lifecycle.set_status(self.run.id, "stopping", expect=("starting", "running"))
            self.told = True
        with contextlib.suppress(JournalError):  # which the end that follows tells of
            self.on_events(catch_up(self.store, self.run))
        settle(self.store, self.run, self.worker.returncode, self.killed_because)
        row = self.store.run(self.run.id)
        if row.cause == "preempted":
            queue_again(self.store, self.run, row)
        return row
