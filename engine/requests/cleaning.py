"""What takes the disk of a workspace, and freeing what nobody needs any more.

The best checkpoint of a run, those of chosen epochs, its journal and its outputs are never freed; nor is
anything of a run that is protected, has not ended, or has a worker.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.agent.ingest import has_living_worker
from engine.data.prune import CacheInfo, list_caches, prune_caches
from engine.requests.source_paths import BEST, LAST
from engine.run.directory import RunDir
from engine.run.freed import note_freed
from engine.store import NoSuchRun, RunRow, Store
from engine.workspace import Workspace

OF_RUNS: dict[str, str] = {
    "last": "last.pt of finished runs; freed, the last epoch cannot be scored or averaged",
    "galleries": "predictions that `picture` and the dashboard show; they cannot be made again",
    "logs": "log.txt and system.jsonl; they cannot be made again",
}
"""What of a run can be freed -> what that is, and what freeing it costs."""

KINDS: Mapping[str, str] = {"caches": "images of data sets; made again when needed"} | OF_RUNS

_LAST = re.compile(r"([a-z0-9]{8})/checkpoints/last\.pt$")


@dataclass(frozen=True)
class Usage:
    """What a run takes, in bytes by kind; `kept` says of each kind that stays why."""

    row: RunRow
    bytes: Mapping[str, int]
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.bytes.values())

    def free(self, kind: str) -> int:
        """Bytes of a kind that can be freed."""
        return 0 if kind in self.kept else self.bytes.get(kind, 0)


class Users:
    """Which run uses the last.pt of another: all configs are read once, then those of runs that have come or
    changed since, as there may be thousands."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_source: dict[str, str] = {}
        self._seen = store.changes().latest
        self._note(store.runs())

    def of(self, run_id: str) -> str:
        """The id of a run whose config names the last.pt of this one; "" where there is none."""
        return self._by_source.get(run_id, "")

    def update(self) -> None:
        changes = self._store.changes(self._seen)
        self._seen = changes.latest
        for changed in changes.runs:
            with contextlib.suppress(NoSuchRun):
                self._note([self._store.run(changed.id)])

    def _note(self, rows: Iterable[RunRow]) -> None:
        for row in rows:
            for text in _texts(row.stored_config):
                if (found := _LAST.search(text)) and found[1] != row.id:
                    self._by_source[found[1]] = row.id


def survey(workspace: Workspace, rows: Sequence[RunRow], users: Users) -> list[Usage]:
    """What these runs take, the largest first. Runs whose folder is elsewhere are left out."""
    found = [
        _usage(workspace.run_dir(row.id), row, users)
        for row in rows
        if workspace.run_dir(row.id).path.is_dir()
    ]
    return sorted(found, key=lambda usage: -usage.total)


def free(workspace: Workspace, store: Store, run_id: str, kind: str, users: Users) -> str:
    """Free a kind of what a run has, unless something has come up meanwhile; returns that, or "".

    Raises OSError.
    """
    run, row = workspace.run_dir(run_id), store.run(run_id)
    users.update()
    if why := _why_kept(kind, run, row, users):
        return why
    if kind == "galleries":
        _remove(run, [run.gallery.name], run.gallery.iterdir())
    else:
        paths = [run.checkpoints / LAST] if kind == "last" else [run.log, run.samples]
        _remove(run, [str(path.relative_to(run.path)) for path in paths], paths)
    return ""


def _remove(run: RunDir, noted: Sequence[str], paths: Iterable[Path]) -> None:
    """Remove files and folders; what is `noted` of them comes before, where the disk has room for a note."""
    try:
        note_freed(run, noted)
        is_noted = True
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        is_noted = False
    for path in paths:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    if not is_noted:
        note_freed(run, noted)


def caches(workspace: Workspace) -> list[CacheInfo]:
    return list_caches(workspace.cache)


def free_caches(workspace: Workspace) -> list[CacheInfo]:
    """Remove all caches that no run is building; returns them. Raises DataError."""
    return prune_caches(workspace.cache, everything=True)


def _usage(run: RunDir, row: RunRow, users: Users) -> Usage:
    taken = {"last": _size(run.checkpoints / LAST), "galleries": _size(run.gallery)}
    taken["logs"] = _size(run.log) + _size(run.samples)
    taken["best"] = _size(run.checkpoints / BEST)
    taken["other"] = _size(run.path) - sum(taken.values())
    kept = {kind: why for kind in OF_RUNS if taken[kind] and (why := _why_kept(kind, run, row, users))}
    return Usage(row, taken, kept)


def _why_kept(kind: str, run: RunDir, row: RunRow, users: Users) -> str:
    """Why a kind of what a run has is not freed; "" when it can be."""
    if row.protected:
        return "is protected"
    if not row.ended:
        return f"is {row.status}"
    if kind == "last":
        if row.status != "finished":
            return f"is {row.status} and can be resumed from it"
        if not (run.checkpoints / BEST).is_file():
            return "has no other checkpoint"
        if user := users.of(row.id):
            return f"is needed by {user}"
    if has_living_worker(run):
        return "has a worker"
    return run.why_unwritable()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _size(path: Path) -> int:
    """Bytes of a file, or of those below a folder; 0 where there is nothing. Links count as themselves."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
    except OSError:
        return 0
    total = 0
    for place, _, files in os.walk(path):
        total += sum(_size(Path(place, name)) for name in files)
    return total
