"""`seg-engine db`: the database itself."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from engine.agent.check import check
from engine.agent.ingest import refresh
from engine.cli.console import notices, output, progress_bar
from engine.cli.reading import no_database
from engine.rundir import RunDir, RunDirError
from engine.store import StoreError
from engine.store.cards import keep_card
from engine.store.database import HEAD
from engine.store.rebuild import rebuild
from engine.workspace import Workspace


def upgrade(workspace: Workspace) -> None:
    """Bring the tables up to date, which every command that opens the database does as well."""
    if not workspace.database.exists():
        raise StoreError(no_database(workspace))
    workspace.open_store().close()
    output.say(f"{workspace.database}: up to date (schema {HEAD})")


def rebuild_database(workspace: Workspace, as_json: bool) -> int:
    """Make the database again from the run folders; the old one is kept beside it.

    Returns 1 when a folder could not be read, else 0. Raises StoreError.
    """
    if not workspace.runs.is_dir():
        raise StoreError(
            f"{workspace.runs}: no such folder; a database is rebuilt from the run folders in it"
        )
    with progress_bar("reading journals") as report:
        done = rebuild(workspace.database, workspace.runs, report)
    with workspace.open_store() as store:
        refresh(store, [workspace.run_dir(run_id) for run_id in done.imported if not store.run(run_id).ended])
    if as_json:
        record = {
            "database": str(workspace.database),
            "imported": list(done.imported),
            "unreadable": [
                {"folder": str(folder), "problem": problem} for folder, problem in done.unreadable
            ],
            "backup": str(done.backup) if done.backup else None,
        }
        print(json.dumps(record, indent=1))
        return 1 if done.unreadable else 0
    output.say(f"{workspace.database}: made again from {len(done.imported)} runs")
    if done.backup is not None:
        output.say(f"the database as it was: {done.backup}")
    for folder, problem in done.unreadable:
        notices.say(f"left out: {folder.name}: {problem}")
    return 1 if done.unreadable else 0


def check_database(workspace: Workspace, fix: bool, as_json: bool) -> int:
    """Compare the database with the run folders; with `fix` ingest or rebuild what can be.

    Returns 1 when something differs that was not fixed, else 0. Raises StoreError.
    """
    if not workspace.database.exists():
        raise StoreError(no_database(workspace))
    with workspace.open_store() as store, progress_bar("comparing runs") as report:
        done = check(store, workspace, fix, report)
    left = [difference for difference in done.differences if not difference.fixed]
    if as_json:
        record = {"runs": done.runs, "differences": [asdict(difference) for difference in done.differences]}
        print(json.dumps(record, indent=1))
        return 1 if left else 0
    for difference in done.differences:
        state = "fixed" if difference.fixed else difference.kind
        output.say(f"{difference.run or workspace.database}  {state:10}  {difference.what}")
    compared = f"{done.runs} runs compared" if done.runs != 1 else "1 run compared"
    if not done.differences:
        output.say(f"{compared}: the database is what their folders say")
        return 0
    count = f"{len(done.differences)} difference{'s' if len(done.differences) > 1 else ''}"
    output.say(f"{compared}: {count}, {len(done.differences) - len(left)} fixed")
    if not fix and any(difference.fixable for difference in left):
        notices.say("next: seg-engine db check --fix")
    return 1 if left else 0


def import_runs(workspace: Workspace, folders: Sequence[Path]) -> None:
    """Take run folders from elsewhere into the workspace; twice changes nothing.

    A folder that lies outside `runs/` is copied into it, so that the run is found there later. All are
    looked at before the first is taken. Raises StoreError and RunDirError.
    """
    runs = [RunDir(folder.absolute()) for folder in folders]
    for run in runs:
        card = run.read_card()
        run.read_config()
        if card.id != run.id:
            raise RunDirError(f"{run.path}: belongs to run {card.id}; name the folder so")
    workspace.root.mkdir(parents=True, exist_ok=True)
    with workspace.open_store() as store:
        for run in runs:
            here = workspace.run_dir(run.id)
            is_home = run.path.resolve() == here.path.resolve()
            news = "" if is_home else bring(run, here)
            store.import_run(here, queued=is_home)
            keep_card(store, here)
            refresh(store, [here])
            row = store.run(run.id)
            output.say(f"{row.id}  {row.name}  {row.status}, epoch {row.epoch}/{row.epochs}{news}")


def bring(run: RunDir, here: RunDir) -> str:
    """Copy a run folder to its place, or put a newer copy there; returns what was done, for a person.

    Raises StoreError when the two have different histories.
    """
    if here.path.exists():
        ours, theirs = _journal(here), _journal(run)
        if ours.startswith(theirs):
            return ", was here already"
        if not theirs.startswith(ours):
            raise StoreError(
                f"{run.path}: its journal is another than that of {here.path}; move one of them away"
            )
    try:
        here.path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: a copy that was interrupted would look like a run.
        with tempfile.TemporaryDirectory(prefix=".import-", dir=here.path.parent) as scratch:
            fresh = Path(scratch) / "new"
            shutil.copytree(run.path, fresh)
            if here.path.exists():
                here.path.rename(Path(scratch) / "old")
                fresh.rename(here.path)
                return ", brought up to date"
            fresh.rename(here.path)
    except (OSError, shutil.Error) as error:
        raise StoreError(f"{run.path}: cannot be copied to {here.path}: {error}") from error
    return f", copied to {here.path}"


def _journal(run: RunDir) -> bytes:
    try:
        return run.journal.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"{run.journal}: cannot be read: {error.strerror}") from error
