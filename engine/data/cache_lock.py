"""One process builds or removes an image cache, and the others wait and say for whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.run.files import FileLock

ARRAYS = ("images.npy", "labels.npy")

WAIT_REPORT_SECONDS = 10.0
"""How often a process that waits for another's build says how far that is."""


@contextmanager
def cache_lock(cache_dir: Path, key: str, needed: int, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the right to build or remove a cache; while another process has it, say so and wait."""
    lock = FileLock(cache_dir / f"{key}.lock")
    seconds = 0.0
    while not lock.acquire(seconds):
        say(_what_for(cache_dir / f"{key}.building", needed))
        seconds = WAIT_REPORT_SECONDS
    try:
        yield
    finally:
        lock.release()


def _what_for(building: Path, needed: int) -> str:
    try:
        builder = json.loads((building / "builder.json").read_text())
        written = sum((building / name).stat().st_size for name in ARRAYS)
        who = f"process {builder['pid']} on {builder['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has just begun or just ended
        return f"waiting for another process that uses the image cache {building.stem}"
    return f"waiting for {who} to build the image cache {building.stem} ({100 * written // needed} % done)"
