"""`seg-engine db`: the database itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from engine.agent.check import check
from engine.agent.ingest import refresh
from engine.agent.presence import Presence
from engine.cli.bring import bring, refuse_unfit
from engine.cli.console import notices, output, print_json, progress_bar
from engine.cli.reading import has_database, no_database
from engine.exits import first_few
from engine.requests.deleting import finish_deletions, remove_folder
from engine.requests.refusals import Refused
from engine.run.directory import RunDir, RunDirError
from engine.run.journal import JournalError
from engine.store import Store, StoreError, UnfitRun
from engine.store.cards import keep_card
from engine.store.copy import copy_runs
from engine.store.migrate import HEAD
from engine.store.rebuild import rebuild, rebuild_on_server
from engine.tasks import epochs_done
from engine.typed import typed
from engine.workspace import DATABASE_VARIABLE, Workspace


def upgrade(workspace: Workspace) -> None:
    """Bring the tables up to date, which every command that opens a file does as well."""
    if not has_database(workspace):
        raise StoreError(no_database(workspace))
    with workspace.open_store(look=True, upgrade=True) as store:
        if store.read_only:
            raise StoreError(f"{store.label}: cannot be changed: {store.read_only}")
        output.say(f"{store.label}: up to date (schema {HEAD})")


def rebuild_database(workspace: Workspace, as_json: bool) -> int:
    """Rebuild the database from the run folders; keep a backup of the old one.

    Returns 1 when a folder could not be read, else 0. Raises StoreError.
    """
    if not workspace.runs.is_dir():
        raise StoreError(f"{workspace.runs}: no such folder; the database is rebuilt from its run folders")
    if workspace.on_server:
        _refuse_agent(workspace)
        with workspace.open_store() as store, progress_bar("reading journals") as report:
            done = rebuild_on_server(store, workspace.database, workspace.runs, report)
    else:
        with progress_bar("reading journals") as report:
            done = rebuild(workspace.database, workspace.runs, report)
    unreadable = list(done.unreadable)
    with workspace.open_store() as store:
        label = store.label
        for run in [workspace.run_dir(run_id) for run_id in done.imported if not store.run(run_id).ended]:
            try:
                refresh(store, [run])
            except (JournalError, OSError) as error:
                unreadable.append((run.path, str(error)))
        for problem in finish_deletions(workspace, store):
            notices.say(problem)
    if as_json:
        record = {
            "database": label,
            "imported": list(done.imported),
            "unreadable": [{"folder": str(folder), "problem": problem} for folder, problem in unreadable],
            "backup": str(done.backup) if done.backup else None,
            "keeps_notices": done.keeps_notices,
        }
        print_json(record)
        return 1 if unreadable else 0
    output.say(f"{label}: rebuilt from {len(done.imported)} runs")
    if done.backup is not None:
        what = "what it had of this workspace" if workspace.on_server else "the database as it was"
        output.say(f"{what}: {done.backup}")
    if not done.keeps_notices:
        notices.say("the old database could not be read: commands of --on-end and `queue on-end` are lost")
    for folder, problem in unreadable:
        notices.say(f"left out: {folder.name}: {problem}")
    return 1 if unreadable else 0


def check_database(workspace: Workspace, fix: bool, as_json: bool) -> int:
    """Compare the database with the run folders; with `fix` ingest or rebuild what can be.

    Returns 1 when something differs that was not fixed, else 0. Raises StoreError.
    """
    if not has_database(workspace):
        raise StoreError(no_database(workspace))
    with workspace.open_store(look=not fix) as store, progress_bar("comparing runs") as report:
        label = store.label
        done = check(store, workspace, fix, report)
    left = [difference for difference in done.differences if not difference.fixed]
    if as_json:
        record = {"runs": done.runs, "differences": [asdict(difference) for difference in done.differences]}
        print_json(record)
        return 1 if left else 0
    shown = first_few(done.differences)
    for difference in shown:
        state = "fixed" if difference.fixed else difference.kind
        output.say(f"{difference.run or label}  {state:10}  {difference.what}")
    if len(shown) < len(done.differences):
        output.say(f"and {len(done.differences) - len(shown):,} more; --json lists all of them")
    compared = f"{done.runs} runs compared" if done.runs != 1 else "1 run compared"
    if not done.differences:
        output.say(f"{compared}: the database matches their folders")
        return 0
    count = f"{len(done.differences)} difference{'s' if len(done.differences) > 1 else ''}"
    output.say(f"{compared}: {count}, {len(done.differences) - len(left)} fixed")
    if not fix and any(difference.fixable for difference in left):
        notices.say(f"next: {typed('db', 'check', '--fix')}")
    return 1 if left else 0


def copy_database(workspace: Workspace, to: str) -> None:
    """Copy the workspace's runs from its file to the server or back, with every row or not at all.

    Raises StoreError when there is nothing to copy, when the other has some already, or an agent is at work.
    """
    if not workspace.on_server:
        raise StoreError(
            f"{DATABASE_VARIABLE} is not set; it names the server: postgresql://USER@HOST/DATABASE"
        )
    _refuse_agent(workspace)
    if to == "server" and not workspace.database.exists():
        raise StoreError(no_database(workspace))
    if to == "file" and not workspace.identity():
        raise StoreError(f"{workspace.root}: the server has no runs of this workspace")
    with (
        workspace.open_store() as server,
        Store(workspace.file_url) as file,
        progress_bar("copying rows") as report,
    ):
        source, target = (file, server) if to == "server" else (server, file)
        copied = copy_runs(source, target, on_progress=report)
    told = ", ".join(f"{count:,} {table}" for table, count in copied.items() if count)
    output.say(f"{target.label}: has {told or 'nothing: there was nothing to copy'}")
    if to == "server":
        output.say(f"from now on, set {DATABASE_VARIABLE} for everything that uses this workspace")
        output.say(f"{workspace.database}: is unchanged and no longer needed")
    else:
        output.say(f"{workspace.database}: is used where {DATABASE_VARIABLE} is not set")


def _refuse_agent(workspace: Workspace) -> None:
    agent = Presence.of(workspace).living()
    if agent is not None:
        raise StoreError(
            f"{workspace.root}: an agent is running here; `kill {agent.pid}` first (its workers keep running)"
        )


def import_runs(workspace: Workspace, folders: Sequence[Path]) -> int:
    """Import run folders from elsewhere; importing again changes nothing.

    A folder that lies outside `runs/` is copied into it, so that the run is found there later. Each is judged
    by itself before anything of it is kept; the others go on without one that is not fit. Returns 1 when one
    was left out. Raises Refused when all were, StoreError when the database cannot be used.
    """
    left_out: list[str] = []
    fit = []
    for folder in folders:
        run = RunDir(folder.absolute())
        try:
            refuse_unfit(run, _is_home(workspace, run))
            fit.append(run)
        except RunDirError as error:
            left_out.append(str(error))
    if not fit:
        raise Refused(left_out)
    workspace.root.mkdir(parents=True, exist_ok=True)
    taken = 0
    with workspace.open_store() as store:
        left_out += finish_deletions(workspace, store)
        for run in fit:
            try:
                news = _import(workspace, store, run)
            except (RunDirError, UnfitRun) as error:
                left_out.append(str(error))
                continue
            taken += 1
            row = store.run(run.id)
            output.say(f"{row.id}  {row.name}  {row.status}, epoch {epochs_done(row)}{news}")
    if not taken:
        raise Refused(left_out)
    for problem in left_out:
        notices.say(f"left out: {problem}")
    return 1 if left_out else 0


def _is_home(workspace: Workspace, run: RunDir) -> bool:
    return run.path.resolve() == workspace.run_dir(run.id).path.resolve()


def _import(workspace: Workspace, store: Store, run: RunDir) -> str:
    """Take one run that was judged; returns what was done beside. Leaves nothing of it where it fails: raises
    RunDirError, UnfitRun, and StoreError when the database cannot be used."""
    if store.run_ids([f"run={run.id}", f"workspace!={store.workspace}"]):
        raise RunDirError(f"{run.id}: already belongs to the workspace {store.run(run.id).workspace}")
    here, is_home = workspace.run_dir(run.id), _is_home(workspace, run)
    was_there = os.path.lexists(here.path)
    news = "" if is_home else bring(run, here)
    try:
        store.journals.import_run(here, queued=is_home)
    except BaseException:
        if not was_there:
            remove_folder(here)
        raise
    keep_card(store, here)
    try:
        refresh(store, [here])
    except (JournalError, OSError) as error:
        raise RunDirError(f"{here.path}: changed or was damaged while it was read: {error}") from error
    return news
