"""What cannot be done to which runs: each check raises `Refused`, with a line for every such run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from engine.agent.executors.local import is_held
from engine.agent.ingest import owner_of
from engine.agent.workers import mistrust
from engine.data.faults import DataError
from engine.errors import EngineError
from engine.host.access import owner_of_path, user_name
from engine.host.processes import is_alive
from engine.run.directory import RunDir, RunDirError
from engine.store import END_STATUSES, RunRow, RunSummary
from engine.tasks import TASKS
from engine.typed import typed
from engine.visible import SEVERAL_LINES, is_one_line, text_problem
from engine.workspace import Workspace

STOPPABLE = ("queued", "starting", "running", "stopping")
RESUMABLE = ("stopped", "failed", "lost")
DELETABLE = (*END_STATUSES, "queued")
LEAVING_SECONDS = 5.0
"""How long a worker whose run has ended may take to be gone, before it counts as living on."""


class Refused(EngineError, ValueError):
    """What was wanted cannot be done to these runs. `problems` holds one line for each."""


def refuse_unkeepable(**texts: str | Iterable[str]) -> None:
    """Raises Refused when words by which people call a run hold what no database can keep."""
    problems = [
        f"{what}: {text!r} {problem}"
        for what, given in texts.items()
        for text in ([given] if isinstance(given, str) else given)
        if (problem := text_problem(text))
    ]
    if problems:
        raise Refused(problems)


def refuse_no_name(**names: str) -> None:
    """Raises Refused for what no run and no experiment can be called: no text, several lines, or nothing."""
    refuse_unkeepable(**names)
    for what, text in names.items():
        if not is_one_line(text):
            raise Refused([f"{what}: {text!r} {SEVERAL_LINES}"])
        if not text.strip():
            raise Refused([f"{what}: is empty; it must have a letter or a digit"])


def refuse_others(rows: Sequence[RunRow | RunSummary], statuses: Sequence[str], otherwise: str) -> None:
    """Raises Refused when one has none of `statuses`."""
    problems = [f"{row.id}: is {row.status}; {otherwise}" for row in rows if row.status not in statuses]
    if problems:
        raise Refused(problems)


def refuse_active(rows: Sequence[RunRow | RunSummary]) -> None:
    """Raises Refused when one of the runs has a worker, as far as its status says."""
    refuse_others(rows, DELETABLE, f"`{typed('stop')}` it first")


def refuse_unarchivable(rows: Sequence[RunRow]) -> None:
    """Raises Refused when one of the runs has not ended."""
    refuse_others(rows, END_STATUSES, "only runs that have ended are archived")


def refuse_protected(rows: Sequence[RunRow | RunSummary]) -> None:
    """Raises Refused when one of the runs is protected from deletion."""
    problems = [
        f"{row.id}: is protected; `{typed('unprotect', row.id)}` lets it be deleted"
        for row in rows
        if row.protected
    ]
    if problems:
        raise Refused(problems)


def refuse_elsewhere(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when the folder of one is in another workspace that shares the database."""
    here = workspace.identity() if workspace.on_server else ""
    problems = [
        f"{row.id}: its folder is in the workspace {row.workspace}; do that there"
        for row in rows
        if row.workspace != here
    ]
    if problems:
        raise Refused(problems)


def refuse_unwritable(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when one is a run that this user cannot work on, with whose it is."""
    refuse_by_folder(workspace, rows, RunDir.why_unwritable)


def refuse_by_folder(workspace: Workspace, rows: Sequence[RunRow], why_not: Callable[[RunDir], str]) -> None:
    problems = []
    for run in (workspace.run_dir(row.id) for row in rows):
        if why := why_not(run):
            whose = f"is {run.owner}'s run: " if run.owner else ""
            problems.append(f"{run.id}: {whose}{why}")
    if problems:
        raise Refused(problems)


def refuse_foreign_workers(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when the worker of one is another user's and no living agent would pass a stop on."""
    problems = []
    for row in rows:
        owner, process = owner_of(row), workspace.run_dir(row.id).read_proc()
        if row.status not in ("starting", "running", "stopping") or process is None or not is_alive(process):
            continue
        uid = owner_of_path(Path(f"/proc/{process.pid}"))
        if uid in (None, os.geteuid()) or os.geteuid() == 0 or (owner is not None and is_alive(owner)):
            continue
        name = user_name(uid)
        problems.append(
            f"{row.id}: its worker (process {process.pid}) belongs to {name} and no agent looks after it; "
            f"{name} has to stop it"
        )
    if problems:
        raise Refused(problems)


def refuse_without_data(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when the data of one is not there any more, as far as its folders tell."""
    problems = []
    for run in (workspace.run_dir(row.id) for row in rows):
        try:
            config = run.read_config()
            if config.data.root:
                TASKS[config.task].find_data(config, run)
        except (DataError, RunDirError) as error:
            problems.append(f"{run.id}: {error}")
    if problems:
        raise Refused(problems)


def refuse_living(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when a worker of one lives on this machine, whatever its status says.

    A run's end is in its journal before its worker has let go of everything; that may take LEAVING_SECONDS.
    """
    deadline = time.monotonic() + LEAVING_SECONDS
    while (problems := _living(workspace, rows)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if problems:
        raise Refused(problems)


def _living(workspace: Workspace, rows: Sequence[RunRow]) -> list[str]:
    """One line for each run that has a worker, or a child of one, on this machine."""
    problems = []
    for row in rows:
        run = workspace.run_dir(row.id)
        process = run.read_proc()
        if is_held(run) or (process is not None and is_alive(process)):
            pid = f" (process {process.pid})" if process is not None else ""
            doubt = "" if is_held(run) else mistrust(run)
            advice = f"{doubt}; remove that file if no worker is left" if doubt else "try again later"
            problems.append(f"{row.id}: is {row.status}, but its worker still lives{pid}; {advice}")
    return problems
