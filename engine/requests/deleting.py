"""Deleting runs: the row and the folder, or neither."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from pathlib import Path

from engine.requests.refusals import (
    DELETABLE,
    Refused,
    refuse_active,
    refuse_by_folder,
    refuse_elsewhere,
    refuse_living,
    refuse_protected,
)
from engine.run.deletion import (
    NotRemovable,
    finish,
    hide,
    left_behind,
    remove_hidden,
    unhide,
    why_undeletable,
)
from engine.run.directory import RunDir
from engine.store import RunRow, Store
from engine.typed import typed
from engine.workspace import Workspace


def refuse_undeletable(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when one of the runs is protected, lives, lies elsewhere, or has a folder that cannot be
    removed."""
    refuse_elsewhere(workspace, rows)
    refuse_protected(rows)
    refuse_active(rows)
    refuse_by_folder(workspace, rows, why_undeletable)
    refuse_living(workspace, rows)


def needed_by(store: Store, rows: Sequence[RunRow]) -> str:
    """Which other runs cannot begin or go on without one of `rows`, in words; "" where there are none."""
    ids = {row.id for row in rows}
    others = (row for row in store.runs(["status!=finished"]) if row.id not in ids)
    told = [f"{row.id} {row.name} ({use}; {row.status})" for row in others if (use := _use_of(ids, row))]
    return f"needed by {', '.join(told)}, which cannot go on without it" if told else ""


def _use_of(ids: Collection[str], row: RunRow) -> str:
    """What a run that has not finished needs of runs: the network that it looks at or that teaches it and the
    weights that it averages, to its end; the weights that it has yet to begin with, and its turn, while it
    waits."""
    if row.source in ids:
        return "the network that it looks at"
    uses = [("distill", "from", "its teacher"), ("average", "checkpoints", "weights that it averages")]
    uses += [("init", "weights", "its initial weights")] if row.status == "queued" else []
    for section, key, told in uses:
        named = (row.stored_config.get(section) or {}).get(key, "")
        paths = [named] if isinstance(named, str) else named
        if any(path.startswith(f"../{run_id}/") for path in paths for run_id in ids):
            return told
    return "it comes after it" if row.status == "queued" and row.after in ids else ""


def delete(workspace: Workspace, store: Store, row: RunRow) -> None:
    """Remove a run with its files and rows, never a living one. Raises Refused.

    The row goes, and the folder gets a hidden name, in one step: no agent can start what is about to lose its
    files, and whatever fails by then leaves both. `finish_deletions` ends what a crash interrupts.
    """
    refuse_undeletable(workspace, [row])
    run = workspace.run_dir(row.id)
    hidden: list[Path] = []
    try:
        gone = store.lifecycle.delete(row.id, expect=DELETABLE, with_it=lambda: hidden.extend(hide(run)))
    except BaseException as error:
        for path in hidden:
            unhide(path)
        if isinstance(error, OSError | NotRemovable):
            raise Refused([f"{row.id}: its folder {run.path} cannot be removed: {error}"]) from error
        raise
    if not gone:
        refuse_protected([store.run(row.id)])
        raise Refused([f"{row.id}: was started just now and is kept"])
    for path in hidden:
        try:
            remove_hidden(path)
        except (OSError, NotRemovable) as error:
            what = f"{row.id}: its rows are deleted, but not all of its files: {error}"
            raise Refused([f"{what}; `{typed('db', 'check', '--fix')}` tries the rest again"]) from error


def remove_folder(run: RunDir) -> None:
    """Remove the folder of a run that has no row. What cannot be removed stays under a hidden name."""
    with contextlib.suppress(OSError, NotRemovable):
        for path in hide(run):
            remove_hidden(path)


def finish_deletions(workspace: Workspace, store: Store) -> list[str]:
    """Finish what interrupted deletions have left in the workspace, or undo it where the run still has its
    row; returns a line for what stays."""
    if not left_behind(workspace.runs):
        return []
    with store.lifecycle.list_held() as is_known:
        return finish(workspace.runs, is_known)
