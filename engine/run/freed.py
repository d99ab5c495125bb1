"""What `seg-engine clean` has removed from a run's folder, so that whoever misses it is told."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from engine.run.directory import RunDir
from engine.run.files import read_json, write_json

_NAME = "freed.json"


def note_freed(run: RunDir, paths: Iterable[str]) -> None:
    """Remember that `paths`, from the run's folder, are about to be removed. Raises OSError."""
    write_json(run.path / _NAME, _noted(run) | dict.fromkeys(paths, time.time()))


def when_freed(run: RunDir, path: str | Path) -> str:
    """The UTC day on which a file of the run, or all in a folder of it, was freed; "" if it was not, or is
    there again."""
    told = _noted(run).get(str(path))
    there = run.path / path
    if told is None or (any(there.iterdir()) if there.is_dir() else there.exists()):
        return ""
    return time.strftime("%Y-%m-%d", time.gmtime(told))


def _noted(run: RunDir) -> dict[str, float]:
    with contextlib.suppress(OSError, ValueError):
        told = read_json(run.path / _NAME)
        if isinstance(told, dict):
            return {str(path): t for path, t in told.items() if isinstance(t, int | float) and 0 <= t < 1e11}
    return {}
