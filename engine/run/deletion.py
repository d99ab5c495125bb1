"""Removing the folder of a run: whole, wherever it lies, or not begun.

A deletion renames the folder to a hidden name while the row goes, in one transaction, and then removes it
file by file. What a crash leaves under a hidden name is finished, or undone where the row is still there, by
`finish`.

The folder may be a link to another disk. Then the link is renamed, and what it leads to is removed, the card
last: it says whose folder that is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.errors import EngineError
from engine.host.access import why_irremovable, why_unwritable
from engine.host.mounts import mounts_in, read_mounts
from engine.run.directory import MAKING, RunDir, RunDirError

DELETED = ".deleted-"
IMPORTING = ".import-"

_ABANDONED_SECONDS = 24 * 3600.0


class NotRemovable(EngineError):
    """A folder that cannot be removed; the message is one line that says why."""


def why_undeletable(run: RunDir) -> str:
    """Why a deletion could not remove all of a run's folder; "" when it can. Nothing is changed.

    A run whose folder is gone, or whose link leads nowhere, has nothing that could stay.
    """
    if not os.path.lexists(run.path):
        return ""
    if why := why_unwritable(run.path.parent):
        return why
    there = run.path
    if there.is_symlink():
        there = run.path.resolve()
        if not there.exists():
            return ""
        try:
            _refuse_another(there, run.id, f"{run.path}: is a link to {there}")
        except NotRemovable as error:
            return str(error)
    if mounts := _mounts_below(there):
        return f"{run.path}: {mounts[0]} is a mount point; unmount it first"
    return why_irremovable(there)


def hide(run: RunDir) -> tuple[Path, ...]:
    """Give the folder, or the link to it, the hidden name of one that is being deleted; returns that, nothing
    where the folder is gone.

    Raises OSError, and then nothing has changed.
    """
    hidden = run.path.with_name(f"{DELETED}{run.id}")
    if not os.path.lexists(run.path):
        return ()
    if os.path.lexists(hidden):
        remove_hidden(hidden)  # of an earlier run of this id, which was imported again meanwhile
    run.path.rename(hidden)
    return (hidden,)


def unhide(hidden: Path) -> None:
    """Undo `hide`, where nothing has taken the place since."""
    place = hidden.with_name(hidden.name.removeprefix(DELETED))
    if not os.path.lexists(place):
        hidden.rename(place)


def remove_hidden(hidden: Path) -> None:
    """Remove what `hide` has hidden. Raises OSError when some of it stays, NotRemovable when a link leads to
    what is not the run's; both may be tried again."""
    if hidden.is_symlink():
        links = list(_links(hidden))
        there = hidden.resolve()
        if there.is_dir():
            _refuse_another(there, hidden.name.removeprefix(DELETED), f"{hidden}: is a link to {there}")
            _remove_card_last(RunDir(there))
        for link in links:
            link.unlink()
    elif hidden.is_dir():
        shutil.rmtree(hidden)
    else:
        hidden.unlink(missing_ok=True)


def finish(runs: Path, is_known: Callable[[str], bool]) -> list[str]:
    """Finish or undo what a crash left half done in `runs`; `is_known` says whether a run has its row.

    Nobody may add or remove runs meanwhile. Returns a line for each thing that stays, and why.
    """
    stay = []
    for path in left_behind(runs):
        run_id = path.name.removeprefix(DELETED)
        try:
            if is_known(run_id) and not os.path.lexists(runs / run_id):
                unhide(path)
            elif path.name.startswith(DELETED):
                remove_hidden(path)
            else:
                shutil.rmtree(path)
        except FileNotFoundError:
            continue  # somebody else was faster
        except OSError as error:
            stay.append(f"{path}: cannot be removed: {error.filename}: {error.strerror}")
        except NotRemovable as error:
            stay.append(str(error))
    return stay


def left_behind(runs: Path) -> list[Path]:
    """What was interrupted has left in `runs`: deletions, and runs that were made or imported long ago."""
    try:
        return sorted(path for path in runs.iterdir() if path.name.startswith(".") and _is_left(path))
    except OSError:
        return []


def _is_left(path: Path) -> bool:
    if not path.name.startswith((MAKING, IMPORTING)):
        return path.name.startswith(DELETED)
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS
    return False


def _refuse_another(there: Path, run_id: str, what: str) -> None:
    """Raises NotRemovable for a folder that is not this run's; one that is all but gone is nobody's."""
    if not there.is_dir():
        raise NotRemovable(f"{what}, which is not a folder; remove the link by hand")
    try:
        whose = RunDir(there).read_card().id
    except RunDirError as error:
        if not any(there.iterdir()):
            return
        raise NotRemovable(
            f"{what}, which is not the folder of a run ({error}); nothing is removed"
        ) from error
    if whose != run_id:
        raise NotRemovable(f"{what}, which is the folder of run {whose}; nothing is removed")


def _remove_card_last(there: RunDir) -> None:
    for entry in list(there.path.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != there.card_file:
            entry.unlink()
    there.card_file.unlink(missing_ok=True)
    there.path.rmdir()


def _links(path: Path) -> Iterator[Path]:
    """A link, and those that it leads to on the way."""
    while path.is_symlink():
        yield path
        path = path.parent / os.readlink(path)


def _mounts_below(folder: Path) -> list[str]:
    """The mount points at and below a folder, those of the same disk too."""
    real = os.path.realpath(folder)
    points = [mount.point for mount in mounts_in(read_mounts())]
    return [point for point in points if point == real or point.startswith(f"{real}/")]
