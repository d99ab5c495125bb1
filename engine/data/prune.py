"""Which image caches there are, and removing them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.data.cache_files import DamagedCache, read_meta, remove_cache, sweep
from engine.data.catalog import DataError
from engine.run.files import lock_if_free

_KEY = re.compile(r"[0-9a-f]{16}")
_LEFT_BEHIND = re.compile(r"([0-9a-f]{16})\.(building|removed)")


@dataclass(frozen=True)
class CacheInfo:
    """One cache on disk: its length in bytes; times in UTC seconds.

    `size` is (height, width), `root` the data set that it was built from. `damage` is "", or why neither
    is known; `samples` is 0 then.
    """

    key: str
    path: Path
    bytes: int
    samples: int
    size: tuple[int, int]
    root: str
    created: float
    last_used: float
    damage: str = ""


def list_caches(cache_dir: Path) -> list[CacheInfo]:
    """The caches in `cache_dir`, the one used last first; [] when the folder does not exist."""
    infos = []
    for folder in cache_dir.iterdir() if cache_dir.is_dir() else ():
        if _KEY.fullmatch(folder.name):
            with suppress(FileNotFoundError):  # removed by another process at this moment
                infos.append(_info(folder))
    return sorted(infos, key=lambda info: (-info.last_used, info.key))


def prune_caches(
    cache_dir: Path, keep_days: float | None = None, keys: Sequence[str] = (), everything: bool = False
) -> list[CacheInfo]:
    """Remove caches and return them: those in `keys`, those not used for `keep_days`, or everything.

    A cache that is being built is left alone, and a run that has one open goes on reading it: its memory
    maps keep the data until they are closed. What killed builders left behind is removed in any case.
    Raises DataError for a key that is not there, before anything is removed, or a cache that cannot be.
    """
    caches = list_caches(cache_dir)
    for key in keys:
        if key not in {info.key for info in caches}:
            there = ", ".join(info.key for info in caches) or "none"
            raise DataError(f"{cache_dir}: there is no cache {key!r}; there are: {there}")

    used_before = float("-inf") if keep_days is None else time.time() - keep_days * 86400
    removed = []
    for info in caches:
        if everything or info.key in keys or info.last_used < used_before:
            with lock_if_free(cache_dir / f"{info.key}.lock") as held:
                if held:
                    remove_cache(cache_dir, info.key)
                    removed.append(info)
    for entry in list(cache_dir.iterdir()) if cache_dir.is_dir() else ():
        if left := _LEFT_BEHIND.fullmatch(entry.name):
            with lock_if_free(cache_dir / f"{left[1]}.lock") as held:
                if held:
                    sweep(cache_dir, left[1])
    return removed


def _info(folder: Path) -> CacheInfo:
    length = sum(entry.stat().st_size for entry in folder.iterdir())
    try:
        meta = read_meta(folder)
        height, width = meta["size"]
        return CacheInfo(
            key=folder.name,
            path=folder,
            bytes=length,
            samples=len(meta["names"]),
            size=(int(height), int(width)),
            root=str(meta["root"]),
            created=float(meta["created"]),
            last_used=(folder / "meta.json").stat().st_mtime,
        )
    except (DamagedCache, KeyError, TypeError, ValueError) as error:
        changed = folder.stat().st_mtime
        return CacheInfo(folder.name, folder, length, 0, (0, 0), "", changed, changed, str(error))
