"""A cache as it lies in its folder: opened and verified, or removed. `engine.data.cache` makes it."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.cache_lock import ARRAYS
from engine.data.catalog import DataError, Fault, Sample
from engine.errors import EngineError

Array = np.memmap[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, eq=False)
class Cache:
    """An open cache: read-only memory maps, in the order of `names` (sorted).

    `images` is uint8 [N, height, width, 3], `labels` uint8 [N, height, width] of train ids with 255 for
    void; without labels it is all 0 and takes no room. `faults` tells of the samples that were left out.
    `rebuilt_because` is "", or what was wrong with the cache that was found and replaced. `turned` are the
    samples whose image has an orientation tag, which is not applied.
    """

    key: str
    path: Path
    names: tuple[str, ...]
    images: Array
    labels: NDArray[np.uint8]
    faults: tuple[Fault, ...]
    labelled: bool = True
    rebuilt_because: str = ""
    turned: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Length of its arrays in bytes."""
        return self.images.nbytes + (self.labels.nbytes if self.labelled else 0)


class DamagedCache(EngineError):
    """A cache that cannot be used and must be built again; the message says what is wrong with it."""


class OutdatedCache(DamagedCache):
    """A whole cache without samples that could not be read when it was built, and can be now."""


def arrays_of(labelled: bool) -> tuple[str, ...]:
    return ARRAYS if labelled else ARRAYS[:1]


def are_labelled(samples: Sequence[Sample]) -> bool:
    return samples[0].label is not None  # of one catalog all samples have labels, or none


def load_cache(
    folder: Path, key: str, samples: Sequence[Sample], size: tuple[int, int], rebuilt_because: str = ""
) -> Cache:
    """Open the cache in `folder`. Raises FileNotFoundError if there is none, DamagedCache if it is bad."""
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    labelled = are_labelled(samples)
    meta = read_meta(folder)
    try:
        names = tuple(meta["names"])
        kept = set(names)
        faults = tuple(Fault(**fault) for fault in meta["faults"])
        turned = tuple(meta.get("turned", ()))  # not in those of version 0.1
        stored = {name: meta["arrays"][name] for name in arrays_of(labelled)}
        expected = {name: (array["bytes"], array["crc32"]) for name, array in stored.items()}
    except (KeyError, TypeError) as error:
        raise DamagedCache(f"meta.json is incomplete: {error}") from error
    wanted = tuple(sample.name for sample in samples if sample.name in kept)
    if meta.get("key") != key or names != wanted or not names:
        raise DamagedCache("meta.json belongs to other samples")

    arrays: list[Array] = []
    shapes = {"images.npy": (len(names), *size, 3), "labels.npy": (len(names), *size)}
    for name, (length, checksum) in expected.items():
        shape = shapes[name]
        try:
            found = (folder / name).stat().st_size
            if found != length:
                raise DamagedCache(f"{name} has {found} bytes instead of {length}")
            if crc32(folder / name) != checksum:
                raise DamagedCache(f"{name} does not match its checksum")
            array = np.load(folder / name, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DamagedCache(
                f"{name} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error
        if array.shape != shape or array.dtype != np.uint8:
            raise DamagedCache(f"{name} is {array.dtype} {array.shape} instead of uint8 {shape}")
        arrays.append(array)
    with suppress(OSError):  # a cache that someone else owns is used all the same
        os.utime(folder / "meta.json")
    labels = arrays[1] if labelled else np.broadcast_to(np.uint8(0), shapes["labels.npy"])
    return Cache(key, folder, names, arrays[0], labels, faults, labelled, rebuilt_because, turned)


def read_meta(folder: Path) -> dict[str, Any]:
    """The meta.json of a cache. Raises DamagedCache when it is not there or is no JSON object."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedCache(
            f"meta.json cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    if not isinstance(meta, dict):
        raise DamagedCache("meta.json is not an object")
    return meta


def crc32(path: Path) -> int:
    """CRC-32 of a file: 2,975 samples of 128x128 (195 MB) take about 0.1 s once they are in memory."""
    checksum = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            checksum = zlib.crc32(block, checksum)
    return checksum


# --- Remove --------------------------------------------------------------------------------------


def remove_cache(cache_dir: Path, key: str) -> None:
    """Remove a cache and what killed processes left of it; the lock must be held. Raises DataError.

    The cache is renamed first, so that none is ever seen half removed.
    """
    sweep(cache_dir, key)
    with suppress(FileNotFoundError):
        (cache_dir / key).rename(cache_dir / f"{key}.removed")
        sweep(cache_dir, key)


def sweep(cache_dir: Path, key: str) -> None:
    """Remove what killed processes left of a cache; the lock must be held, as then nobody uses it."""
    for left in (cache_dir / f"{key}.building", cache_dir / f"{key}.removed"):
        try:
            shutil.rmtree(left)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise DataError(f"{left}: cannot be removed: {error.strerror}") from error
