"""Bringing a run folder home from another machine, also one that was copied while it was being written."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from engine.rundir import RunDir
from engine.store import StoreError


def bring(run: RunDir, here: RunDir) -> str:
    """Copy a run folder to its place, or put a newer copy there; returns what was done, for a person.

    What is here only, such as figures that were made of the run, stays. Raises StoreError when the two have
    different histories.
    """
    try:
        if not here.path.exists():
            _copy(run, here)
            return f", copied to {here.path}"
        ours, theirs = _journal(here), _journal(run)
        if not ours.startswith(theirs) and not theirs.startswith(ours):
            raise StoreError(
                f"{run.path}: its journal is another than that of {here.path}; move one of them away"
            )
        if len(theirs) > len(ours):
            _replace(run, here)
            return ", brought up to date"
        missing = _missing(run.path, here.path) if len(theirs) == len(ours) else []
        for path in missing:
            _copy_file(run.path / path, here.path / path)
    except (OSError, shutil.Error) as error:
        raise StoreError(f"{run.path}: cannot be copied to {here.path}: {error}") from error
    files = "1 file that was" if len(missing) == 1 else f"{len(missing)} files that were"
    return f", got {files} missing or cut short" if missing else ", was here already"


def _copy(run: RunDir, here: RunDir) -> None:
    """Whole or not at all: a copy that was interrupted would look like a run."""
    here.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=here.path.parent) as scratch:
        fresh = Path(scratch) / "new"
        shutil.copytree(run.path, fresh)
        fresh.rename(here.path)


def _replace(run: RunDir, here: RunDir) -> None:
    """Put a newer copy in the place of the old one, with the files that only the old one has."""
    with tempfile.TemporaryDirectory(prefix=".import-", dir=here.path.parent) as scratch:
        fresh = Path(scratch) / "new"
        shutil.copytree(run.path, fresh)
        for path in _files(here.path) - _files(fresh):
            _copy_file(here.path / path, fresh / path)
        here.path.rename(Path(scratch) / "old")
        fresh.rename(here.path)


def _missing(there: Path, here: Path) -> list[Path]:
    """The files, relative, that are there and not here, or longer there: the copy here was cut short."""
    return [
        path
        for path in sorted(_files(there))
        if not (here / path).is_file() or (here / path).stat().st_size < (there / path).stat().st_size
    ]


def _files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.import")
    shutil.copy2(source, fresh)
    fresh.replace(target)


def _journal(run: RunDir) -> bytes:
    """The whole lines of a journal: a torn last one may be written anew, or otherwise."""
    try:
        content = run.journal.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"{run.journal}: cannot be read: {error.strerror}") from error
    return content[: content.rfind(b"\n") + 1]
