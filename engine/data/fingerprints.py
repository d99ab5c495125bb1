"""What is in the files of a data set: a digest of each, remembered so that a file is read for it once.

Like Git's index, the memory takes a file for unchanged while its length, its times of modification and of
change, and its inode are the same; anything else, and it is read again. So a copied data set costs one
reading and is then found to be the same, and a label that was redrawn under an old time of modification is
noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path

from engine.data.catalog import DataError
from engine.data.decode import map_in_order
from engine.run.files import replacing

DIGEST_BYTES = 16


def fingerprints(
    paths: Iterable[Path],
    root: Path,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[Path, str]:
    """The BLAKE2b digest of each file, 32 hexadecimal digits; `on_progress(done, total)` counts those read.

    What is found is kept in `cache_dir`, where it can be written, for the data set `root`. Raises DataError
    for a file that cannot be read.
    """
    memory = cache_dir / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.contents.json"
    known = _remembered(memory)
    found: dict[Path, str] = {}
    unread: dict[Path, list[int]] = {}
    for path in dict.fromkeys(paths):
        state = _state(path)
        entry = known.get(_key(path, root))
        if entry is not None and entry[:-1] == state:
            found[path] = str(entry[-1])
        else:
            unread[path] = state
    with closing(map_in_order(_digest, unread)) as digests:
        for done, (path, digest) in enumerate(zip(unread, digests, strict=True), start=1):
            found[path] = digest
            known[_key(path, root)] = [*unread[path], digest]
            if on_progress is not None:
                on_progress(done, len(unread))
    if unread:
        with suppress(OSError):  # it will be read again
            cache_dir.mkdir(parents=True, exist_ok=True)
            with replacing(memory) as stream:
                stream.write(json.dumps(known).encode())
    return found


def _remembered(memory: Path) -> dict[str, list[int | str]]:
    try:
        known = json.loads(memory.read_bytes())
        return {str(name): list(entry) for name, entry in known.items() if entry}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _key(path: Path, root: Path) -> str:
    return os.path.relpath(path, root)


def _state(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
