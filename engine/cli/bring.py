"""Bringing a run folder home from another machine, also one that was copied while it was being written.

What comes from elsewhere is judged as a whole before anything of it is kept: see `refuse_unfit`.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from engine.agent.ingest import has_living_worker
from engine.config.run_config import RunConfig
from engine.run.bounds import stays_inside
from engine.run.directory import RunDir, RunDirError
from engine.run.files import as_new
from engine.run.journal import JournalError, read_pieces
from engine.tasks import TASKS

MOST_NESTED = 32
"""How deep the folders of a run may lie in each other; those that the engine makes are three deep."""

_SHOWN = 3


# ---------------------------------------------------------------------- judging


def refuse_unfit(run: RunDir, is_home: bool = False) -> None:
    """Raises RunDirError, one line that says why, when the folder is not that of a run, whole and by itself.

    Card, config and every line of the journal are read. A folder that `is_home`, in the workspace already,
    may hold links and whatever else its owner has put there.
    """
    if not run.path.is_dir():
        told = "is not a folder; unpack an archive first" if run.path.exists() else "no such folder"
        raise RunDirError(f"{run.path}: {told}")
    if not os.path.lexists(run.card_file):
        told = f"is no run folder: it has no {run.card_file.name}; --from WHAT takes other programs' records"
        raise RunDirError(f"{run.path}: {told}")
    if not is_home:
        _refuse_strangers(run.path)
    card, config = run.read_card(), run.read_config()
    if card.id != run.id:
        raise RunDirError(f"{run.path}: belongs to run {card.id}; rename the folder to that id")
    _refuse_wandering(run, config)
    _refuse_unreadable(run.journal)


def _refuse_strangers(folder: Path) -> None:
    """Raises RunDirError for what is neither a file nor a folder: a link would bring what lies outside the
    run, a FIFO or a device never end."""
    strangers = []
    try:
        for path, mode in _below(folder):
            kind = "is a link" if stat.S_ISLNK(mode) else "is not a regular file"
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                strangers.append(f"{path} {kind}")
    except OSError as error:
        raise RunDirError(f"{error.filename}: cannot be read: {error.strerror}") from error
    if strangers:
        more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
        told = ", ".join(strangers[:_SHOWN]) + more
        raise RunDirError(f"{folder}: a run may contain only regular files and folders; {told}")


def _below(folder: Path) -> Iterator[tuple[Path, int]]:
    """All that is below a folder, relative to it, with its `st_mode`; links are not followed."""
    waiting = [Path()]
    while waiting:
        here = waiting.pop()
        if len(here.parts) > MOST_NESTED:
            raise RunDirError(f"{folder}: its folders are nested more than {MOST_NESTED} levels deep")
        with os.scandir(folder / here) as entries:
            for entry in entries:
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    waiting.append(here / entry.name)
                yield here / entry.name, mode


def _refuse_wandering(run: RunDir, config: RunConfig) -> None:
    """Raises RunDirError when a relative path of the config leaves the workspace's runs, or the run."""
    of_network = config.of_network
    sources = [
        ("init.weights", config.init.weights),
        ("distill.from", config.distill.teacher),
        *(("average.checkpoints", path) for path in (config.average.checkpoints if config.average else ())),
        (f"{config.task}.checkpoint", of_network and of_network.checkpoint),
    ]
    for key, path in sources:
        if path and not path.startswith("/") and os.path.normpath(f"{run.id}/{path}").startswith(".."):
            raise RunDirError(f"{run.config_file}: {key}: {path} points outside the folder of runs")
    for key, path in TASKS[config.task].outside(config).items():
        if not path.startswith("/") and not stays_inside(path):
            raise RunDirError(f"{run.config_file}: {key}: {path} leaves the folder of the run")


def _refuse_unreadable(journal: Path) -> None:
    """Raises RunDirError when a line is no event, or the file cannot be read; a missing one has no lines."""
    try:
        for _ in read_pieces(journal):
            pass
    except JournalError as error:
        raise RunDirError(str(error)) from error
    except OSError as error:
        raise RunDirError(f"{journal}: cannot be read: {error.strerror}") from error


# ---------------------------------------------------------------------- copying


def bring(run: RunDir, here: RunDir) -> str:
    """Copy a run folder to its place, or bring the copy there up to date; returns what was done, in words.

    What is here only, such as figures that were made of the run, stays. A copy here that is a link, as it
    lies on another disk, is brought up to date where it lies. Raises RunDirError when the two have different
    histories, this one is at work, or the disk refuses it.
    """
    try:
        if not os.path.lexists(here.path):
            _copy(run, here)
            return f", copied to {here.path}"
        here = _where_it_lies(here)
        ours, theirs = _journal(here), _journal(run)
        if not ours.startswith(theirs) and not theirs.startswith(ours):
            raise RunDirError(
                f"{run.path}: its journal differs from that of {here.path}; move one of them away"
            )
        if len(theirs) > len(ours):
            _update(run, here)
            return ", updated"
        missing = _missing(run.path, here.path) if len(theirs) == len(ours) else []
        for path in missing:
            _copy_file(run.path / path, here.path / path)
    except shutil.Error as error:  # of several files; the first says enough
        raise RunDirError(f"{run.path}: cannot be copied to {here.path}: {error.args[0][0][2]}") from error
    except OSError as error:
        raise RunDirError(f"{run.path}: cannot be copied to {here.path}: {error}") from error
    files = "1 file that was" if len(missing) == 1 else f"{len(missing)} files that were"
    return f", got {files} missing or incomplete" if missing else ", already here"


def _copy(run: RunDir, here: RunDir) -> None:
    """Whole or not at all: a copy that was interrupted would look like a run."""
    here.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=here.path.parent) as scratch:
        fresh = RunDir(Path(scratch) / run.id)
        shutil.copytree(run.path, fresh.path, symlinks=True)
        refuse_unfit(fresh)  # it may have changed since it was looked at
        as_new(fresh.path)
        fresh.path.rename(here.path)


def _where_it_lies(here: RunDir) -> RunDir:
    """The folder itself where the run's place is a link to it. Raises RunDirError when it is another's."""
    if not here.path.is_symlink():
        return here
    there = RunDir(here.path.resolve())
    if not there.path.is_dir():
        raise RunDirError(f"{here.path}: is a broken link to {there.path}")
    if there.read_card().id != here.id:
        raise RunDirError(f"{here.path}: is a link to {there.path}, which is not its folder")
    return there


def _update(run: RunDir, here: RunDir) -> None:
    """Replace file by file what the newer copy has. The journal comes last: until then the copy here counts
    as the older one, and an import that was interrupted is done again."""
    if has_living_worker(here):
        raise RunDirError(
            f"{here.path}: its worker is running here; stop it first, then import the newer copy"
        )
    for path in sorted(_files(run.path) - {Path(run.journal.name)}):
        _copy_file(run.path / path, here.path / path)
    _copy_file(run.journal, here.journal)


def _missing(there: Path, here: Path) -> list[Path]:
    """The files, relative, that are there and not here, or longer there: the copy here was cut short."""
    return [
        path
        for path in sorted(_files(there))
        if not (here / path).is_file() or (here / path).stat().st_size < (there / path).stat().st_size
    ]


def _files(folder: Path) -> set[Path]:
    return {path for path, mode in _below(folder) if stat.S_ISREG(mode)}


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.import")
    try:
        shutil.copy2(source, fresh, follow_symlinks=False)
        if not stat.S_ISREG(fresh.lstat().st_mode):
            raise RunDirError(f"{source}: is not a regular file")
        as_new(fresh)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def _journal(run: RunDir) -> bytes:
    """The whole lines of a journal: a torn last one may be written anew, or otherwise."""
    try:
        content = run.journal.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise RunDirError(f"{run.journal}: cannot be read: {error.strerror}") from error
    return content[: content.rfind(b"\n") + 1]
