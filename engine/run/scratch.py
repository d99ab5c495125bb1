"""Folders that are there while something is made in them, and that outlive no kill for long."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder in `parent` until the block ends. Those of the same `prefix` that a kill has left are removed
    first: the kernel knows which ones a living process holds. Raises OSError."""
    for left in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), _held(left):
            shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as name, contextlib.ExitStack() as holding:
        with contextlib.suppress(OSError):  # a file system without locks: there, nobody removes what is left
            holding.enter_context(_held(Path(name)))
        yield Path(name)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder. Raises OSError where it cannot be opened or another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
