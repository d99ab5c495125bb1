"""One run, started here and followed to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.agent.executors.local import ask_to_stop, kill_group, start_worker
from engine.agent.ingest import catch_up, settle
from engine.journal import AnyEvent
from engine.processes import identify
from engine.rundir import RunDir, RunDirError
from engine.store import RunRow, Store
from engine.workspace import Workspace

POLL_SECONDS = 0.2


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
) -> RunRow:
    """Start the worker of a run that this process has taken, fold its journal into the database as it grows,
    return the run's end.

    `on_events` is called with new events, also with none, about five times a second. A stop that another
    program asks for in the database is passed on as the switch's first press is.
    """
    run: RunDir = workspace.run_dir(run_id)
    try:
        worker = start_worker(run, workspace.cache)
    except (OSError, RunDirError) as error:
        store.set_status(run_id, "failed", "exception", f"its worker cannot be started: {error}")
        return store.run(run_id)
    process, asked = identify(worker.pid), False
    while worker.poll() is None:
        presses = switch.news()
        if presses > 1:
            kill_group(run, worker.pid)
        elif presses == 1:
            store.set_status(run_id, "stopping", expect=("starting", "running"))
        if not asked and store.run(run_id).status == "stopping":
            ask_to_stop(process)
            asked = True
        on_events(catch_up(store, run))
        time.sleep(POLL_SECONDS)
    on_events(catch_up(store, run))
    settle(store, run, worker.returncode)
    return store.run(run_id)
