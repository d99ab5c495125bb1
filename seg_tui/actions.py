"""What the keys do to runs. Each action runs in a thread and returns a line that says what became of it.

They ask `engine.requests.lifecycle`, as the command line does: both refuse the same things in the same words.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import EngineError
from engine.exits import FAULT, is_of_the_system
from engine.host.access import explain
from engine.host.processes import python_command, python_environment
from engine.store import RunRow
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.store import Store

DEMO_IMAGES, DEMO_SIZE, DEMO_SEED = 120, (96, 192), 1
"""The demo data set: as many street scenes as a first look needs (height, width in pixels)."""

DEMO_EXPERIMENT = "demo"


class Abandoned(Exception):
    """Nobody waits for it any more."""


def words_of(error: Exception) -> str:
    """The engine's own words on what people can mend; any other error is a fault and is raised again."""
    if isinstance(error, OSError) and is_of_the_system(error):
        return explain(error)
    if isinstance(error, EngineError):
        return str(error)
    raise error


def stop(workspace: Workspace, store: Store, ids: Sequence[str]) -> str:
    """Runs that run end their step and save; queued ones leave the queue. Raises Refused, StoreError."""
    from engine.requests import lifecycle

    rows = _rows(store, ids)
    fates = lifecycle.stop(workspace, store, rows)
    words = {
        "stopped": "left the queue",
        "stopping": "finishes its step and saves a checkpoint",
        "ended": "has just ended",
    }
    if len(rows) == 1:
        return f"{rows[0].name}: {words[fates[0]]}"
    return f"{_runs(len(rows))}: " + ", ".join(
        f"{fates.count(fate)} {word}" for fate, word in words.items() if fate in fates
    )


def resume(workspace: Workspace, store: Store, ids: Sequence[str]) -> str:
    """Queue stopped, failed and lost runs again, as the same runs. Raises Refused, StoreError."""
    from engine.requests import lifecycle

    rows = _rows(store, ids)
    lifecycle.requeue(workspace, store, rows)
    others = [said for row in rows if (said := lifecycle.taken_over(workspace.run_dir(row.id)))]
    told = f"{_named(rows)}: queued; resumes from the last checkpoint"
    return "\n".join([told, *others, *want_agent(workspace)])


def want_agent(workspace: Workspace) -> list[str]:
    """See to it that there is an agent for what was queued just now; returns a line where this user can start
    none, as the runs are in the queue all the same."""
    from engine.agent.presence import ensure_agent

    try:
        ensure_agent(workspace)
    except OSError as error:
        return [f"it waits for an agent; none can be started here: {words_of(error)}"]
    return []


def start_agent(workspace: Workspace, store: Store) -> str:
    """Start an agent, which starts what is queued, unless one is at work here. Raises OSError."""
    from engine.agent.presence import ensure_agent

    living = ensure_agent(workspace)
    return (
        f"agent {living.pid} is already running"
        if living
        else "an agent was started; it will start queued runs"
    )


def delete(workspace: Workspace, store: Store, ids: Sequence[str]) -> str:
    """Remove runs with their files, never a living one. Raises Refused, StoreError, OSError; PartlyDone where
    some are gone and one is refused."""
    from engine.requests import deleting
    from seg_tui.commands import PartlyDone

    rows = _rows(store, ids)
    deleting.refuse_undeletable(workspace, rows)
    others = deleting.needed_by(store, rows)
    for place, row in enumerate(rows):
        try:
            deleting.delete(workspace, store, row)
        except (EngineError, OSError) as error:
            if place == 0:
                raise
            line = f"{place} of {len(rows)} runs: deleted; {words_of(error)}"
            raise PartlyDone(line, ids[place:]) from error
    return f"{_named(rows)}: deleted{others and f'; {others}'}"


def set_place(
    workspace: Workspace,
    store: Store,
    ids: Sequence[str],
    priority: int | None = None,
    paused: bool | None = None,
) -> str:
    """Give queued runs another place, hold them back or let them go. Raises Refused, StoreError."""
    from engine.requests import lifecycle

    rows = _rows(store, ids)
    lifecycle.set_place(workspace, store, rows, priority=priority, paused=paused)
    if paused is None:
        return f"{_named(rows)}: priority {priority}"
    if paused:
        return f"{_named(rows)}: paused; it keeps its place"
    return "\n".join([f"{_named(rows)}: not paused any more", *want_agent(workspace)])


def make_demo(
    workspace: Workspace,
    store: Store,
    on_progress: Callable[[int, int], None],
    is_unwanted: Callable[[], bool],
) -> str:
    """Draw a demo data set below the workspace unless it is there, queue the quick recipe on it, and see to
    an agent; returns the run's id.

    `on_progress` gets images done and in all. Raises Abandoned as soon as `is_unwanted`.
    """
    from engine.requests.configs import resolve_config
    from engine.requests.queueing import Place, enqueue
    from engine.run.directory import RunCard, new_run_id

    data = workspace.root / "demo-data"
    if not data.is_dir():
        # Under another name until it is whole: half a data set must never look like one.
        partial = workspace.root / ".demo-data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _draw_demo(partial, on_progress, is_unwanted)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        partial.rename(data)
    config = resolve_config("quick", [], data)
    card = RunCard(new_run_id(), "demo", DEMO_EXPERIMENT, time.time())
    enqueue(workspace, store, card, config, Place())
    want_agent(workspace)  # where none can be started, the dashboard says that the run waits for one
    return card.id


def _draw_demo(
    folder: Path, on_progress: Callable[[int, int], None], is_unwanted: Callable[[], bool]
) -> None:
    """Draw the demo data set in a process of its own, so that the screen stays quick and it can be ended.

    Raises Abandoned and SyntheticError.
    """
    from engine.data.synthetic import SyntheticError

    size = "x".join(map(str, DEMO_SIZE))
    words = [
        "data",
        "synthesize",
        str(folder),
        "--images",
        str(DEMO_IMAGES),
        "--size",
        size,
        "--seed",
        str(DEMO_SEED),
    ]
    drawing = subprocess.Popen(
        python_command("engine.cli", *words),
        env=python_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        while drawing.poll() is None:
            if is_unwanted():
                raise Abandoned
            on_progress(sum(1 for _ in folder.glob("leftImg8bit/*/*/*.png")), DEMO_IMAGES)
            with contextlib.suppress(subprocess.TimeoutExpired):
                drawing.wait(0.2)
    finally:
        if drawing.poll() is None:
            drawing.terminate()
        said = drawing.communicate()[1]
    if drawing.returncode == FAULT:
        raise RuntimeError(f"drawing the data set failed:\n{said}")
    if drawing.returncode != 0:
        raise SyntheticError((said.strip().splitlines() or ["drawing failed without a message"])[-1])


def open_folder(folder: Path) -> bool:
    """Show a folder in the desktop's file manager; returns False where there is no desktop."""
    opener = shutil.which("xdg-open")
    if opener is None or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    with contextlib.suppress(OSError):
        subprocess.Popen(
            [opener, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return True
    return False


def _rows(store: Store, ids: Sequence[str]) -> list[RunRow]:
    return [store.run(run_id) for run_id in ids]


def _named(rows: Sequence[RunRow]) -> str:
    return rows[0].name if len(rows) == 1 else _runs(len(rows))


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
