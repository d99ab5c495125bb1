"""The image cache: every pair of a data set decoded and resized once, then read from the page cache.

A cache is one folder, `<cache_dir>/<key>/`:

    images.npy   uint8 [N, height, width, 3], RGB
    labels.npy   uint8 [N, height, width], train ids, 255 is void; absent where there are no labels
    meta.json    names, faults, and the size and CRC-32 of both arrays

It appears by a rename, whole or not at all. The key covers everything that the content depends on, so a
changed file, size or class set is another cache and none is ever updated. `<key>.lock` makes one process
build and the others wait; the system releases it when a builder dies, and whoever takes it next may remove
what the dead one left in `<key>.building`. Lock files stay: removing one would let two processes hold it.

Batches are gathered by `images[rows]`, which copies the rows. An epoch of 2,975 samples of 128x128 (195 MB)
in batches of 64 in random order takes 0.02 s, or 0.2 s when the disk must be read first; sorting the rows of
a batch gains nothing in either case (benchmarks/data_cache.py).

An open cache survives its removal: the memory maps keep the data until they are closed (POSIX).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine.classes import ClassSet
from engine.data.cache_files import (
    Cache,
    DamagedCache,
    OutdatedCache,
    are_labelled,
    arrays_of,
    crc32,
    load_cache,
    remove_cache,
)
from engine.data.cache_lock import cache_lock
from engine.data.catalog import DataError, Fault, Sample
from engine.data.decode import (
    faults_of,
    map_in_order,
    read_pair,
    relative_path,
    resize_image,
    resize_labels,
    train_id_table,
)
from engine.data.faults import listed
from engine.data.image_files import orientation
from engine.data.layouts import meaning_of
from engine.host.access import reason, why_unwritable

FORMAT = 1
"""Raised whenever the same files would give other arrays; part of the key."""


def cache_key(samples: Sequence[Sample], size: tuple[int, int], class_set: ClassSet, root: Path) -> str:
    """16 hexadecimal digits that change whenever the content of the cache would.

    From the files' paths relative to `root`, their lengths and modification times, the size (height,
    width), the class set's names and ids, the format and, where label files do not store the ids themselves,
    what reads them. Not from `root`, so that a data set can be moved.
    A file that is missing counts as such: that is a fault like others, found when it is opened.
    """
    digest = hashlib.sha256()
    known = sorted(class_set.train_ids().items())
    meaning: list[object] = [FORMAT, list(size), class_set.names, known]
    if read_by := meaning_of(samples[0].decoder if samples else "", class_set):
        meaning.append(read_by)
    digest.update(json.dumps(meaning).encode())
    for sample in _by_name(samples):
        entry: list[str | int] = [sample.name]
        for path in files_of(sample):
            entry += [relative_path(path, root), *size_and_time(path)]
        digest.update(json.dumps(entry).encode())
    return digest.hexdigest()[:16]


def size_and_time(path: Path) -> tuple[int, int]:
    """Length in bytes and modification time in nanoseconds of a file; -1 where it is missing."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def open_cache(
    samples: Sequence[Sample],
    size: tuple[int, int],
    class_set: ClassSet,
    root: Path,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
    workers: int | None = None,
) -> Cache:
    """The cache of `samples` at `size` (height, width), built first if there is none or it is damaged.

    `on_progress(done, total)` counts the pairs decoded. `on_wait(line)` says why nothing seems to happen:
    another process builds this cache, or a damaged one is built again. `workers` is the number of decoding
    threads, by default one for each core that this process may use.

    Samples with faults are left out and their faults listed: the caller decides whether to go on. The cache
    is built again once one can be read that could not.
    Raises DataError, and keeps nothing, when no sample is usable, the disk has too little room, or the
    cache cannot be written.
    """
    if not samples:
        raise DataError(f"{root}: no samples to cache")
    samples = _by_name(samples)
    key = cache_key(samples, size, class_set, root)
    folder = cache_dir / key
    say = on_wait or (lambda line: None)

    def load() -> Cache:
        cache = load_cache(folder, key, samples, size)
        faults, mended = faults_again(cache.faults, samples, class_set, root, workers)
        if not mended:
            return replace(cache, faults=tuple(faults))
        if why_unwritable(cache_dir):
            return cache  # somebody else's, who may build it again
        raise OutdatedCache(f"samples that it lacks can be read now: {listed(mended, 3)}")

    with suppress(DamagedCache, FileNotFoundError):
        return load()

    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        needed = _bytes_needed(samples, size)
        with cache_lock(cache_dir, key, needed, say):
            damage = ""
            try:
                return load()  # built by another while this one waited
            except FileNotFoundError:
                pass
            except DamagedCache as error:
                damage = str(error)
                told = "out of date" if isinstance(error, OutdatedCache) else "damaged"
                say(f"the image cache {folder} is {told} ({damage}); rebuilding it")
            remove_cache(cache_dir, key)
            _check_space(cache_dir, needed)
            _build(folder, key, samples, size, class_set, root, on_progress, workers)
            return load_cache(folder, key, samples, size, rebuilt_because=damage)
    except DamagedCache as error:
        raise DataError(f"{folder}: the files just written are damaged ({error}); check the disk") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "; free some space, or move the workspace" if full else ""
        raise DataError(f"{cache_dir}: the image cache cannot be written: {reason(error)}{advice}") from error


def faults_again(
    faults: Sequence[Fault],
    samples: Sequence[Sample],
    class_set: ClassSet,
    root: Path,
    workers: int | None = None,
) -> tuple[list[Fault], list[str]]:
    """The faults that were found in `samples` before, as they are now, and the samples that have none any
    more. What could not be read is opened again: a permission or a disk may have refused it, and no time of
    a file tells when they no longer do."""
    unreadable = {fault.path for fault in faults if fault.kind == "unreadable"}
    if not unreadable:
        return list(faults), []
    sample_of = {relative_path(path, root): sample for sample in samples for path in files_of(sample)}
    again = list(dict.fromkeys(sample_of[path] for path in sample_of if path in unreadable))
    with closing(map_in_order(partial(faults_of, class_set=class_set, root=root), again, workers)) as opening:
        opened = dict(zip(again, opening, strict=True))
    now = [fault for fault in faults if sample_of.get(fault.path) not in opened]
    now += [fault for found in opened.values() for fault in found]
    place = {sample: index for index, sample in enumerate(samples)}
    now.sort(key=lambda fault: place[sample_of[fault.path]] if fault.path in sample_of else len(place))
    return now, [sample.name for sample, found in opened.items() if not found]


# --- Build -------------------------------------------------------------------------------------


def _build(
    folder: Path,
    key: str,
    samples: Sequence[Sample],
    size: tuple[int, int],
    class_set: ClassSet,
    root: Path,
    on_progress: Callable[[int, int], None] | None,
    workers: int | None,
) -> None:
    """Write the cache of `samples`, sorted by name, and rename it to `folder`. The lock must be held."""
    building = folder.with_name(f"{key}.building")
    building.mkdir()
    try:
        builder = {"pid": os.getpid(), "host": socket.gethostname()}
        (building / "builder.json").write_text(json.dumps(builder))
        table = train_id_table(class_set)
        decode = partial(_decode, size=size, class_set=class_set, table=table, root=root)
        written = _write_arrays(building, samples, size, decode, on_progress, workers)
        if not written.names:
            first = written.faults[0]
            raise DataError(
                f"{root}: none of the {len(samples)} samples can be used; "
                f"the first: {first.path}: {first.problem}"
            )
        meta = {
            "format": FORMAT,
            "key": key,
            "root": str(root),
            "size": list(size),
            "class_set": class_set.name,
            "created": time.time(),
            "names": written.names,
            "faults": [asdict(fault) for fault in written.faults],
            "turned": written.turned,
            "arrays": {
                name: {"bytes": (building / name).stat().st_size, "crc32": crc32(building / name)}
                for name in arrays_of(are_labelled(samples))
            },
        }
        with open(building / "meta.json", "w", encoding="utf-8") as meta_file:
            json.dump(meta, meta_file, indent=1)
            meta_file.flush()
            os.fsync(meta_file.fileno())
        (building / "builder.json").unlink()
        building.rename(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    with suppress(OSError):  # some file systems cannot sync a folder; then the rename is only less durable
        descriptor = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Image and train ids of a sample at the size of the cache."""
_Decoded = tuple[_Arrays | None, tuple[Fault, ...], bool]
"""What a sample was decoded to, or its faults; whether its image has an orientation tag."""


@dataclass
class _Written:
    """The names of the samples that were written, in their order; the faults of the others; the names of
    those whose image has an orientation tag."""

    names: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)


def _write_arrays(
    building: Path,
    samples: Sequence[Sample],
    size: tuple[int, int],
    decode: Callable[[Sample], _Decoded],
    on_progress: Callable[[int, int], None] | None,
    workers: int | None,
) -> _Written:
    """Decode the samples into images.npy uint8 [N, height, width, 3] and, where they have labels, labels.npy
    uint8 [N, height, width]. Faulty samples leave no gap.

    Written in order with plain writes, not through a memory map: on a full disk a write raises OSError, where
    a store to mapped memory kills the process (SIGBUS).
    """
    labelled, written = are_labelled(samples), _Written()
    with (
        open(building / "images.npy", "wb") as image_file,
        open(building / "labels.npy", "wb") as label_file,
    ):
        _write_headers(image_file, label_file, len(samples), size)
        with closing(map_in_order(decode, samples, workers)) as decoded:
            for done, (arrays, faults, is_turned) in enumerate(decoded, start=1):
                sample = samples[done - 1]
                written.faults.extend(faults)
                if is_turned:
                    written.turned.append(sample.name)
                if arrays is not None:
                    written.names.append(sample.name)
                    image_file.write(arrays[0].data)
                    if labelled:
                        label_file.write(arrays[1].data)
                if on_progress:
                    on_progress(done, len(samples))
        _write_headers(image_file, label_file, len(written.names), size)
        for file in (image_file, label_file):
            file.flush()
            os.fsync(file.fileno())
    if not labelled:
        (building / "labels.npy").unlink()
    return written


def _decode(
    sample: Sample, size: tuple[int, int], class_set: ClassSet, table: NDArray[np.uint8], root: Path
) -> _Decoded:
    """Image [height, width, 3] and train ids [height, width] of one sample, or its faults; whether the image
    has an orientation tag."""
    pair, faults = read_pair(sample, class_set, root)
    if pair is None:
        return None, faults, False
    image, labels = pair
    small = np.ascontiguousarray(resize_image(image, size))
    target = np.ascontiguousarray(table[resize_labels(labels, size)])
    return (small, target), (), orientation(image) != 1


def _write_headers(images: BinaryIO, labels: BinaryIO, count: int, size: tuple[int, int]) -> None:
    """Write the .npy headers of so many samples at the start. NumPy pads them so that those of another count
    fit in their place."""
    for file, shape in ((images, (count, *size, 3)), (labels, (count, *size))):
        file.seek(0)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)


def _bytes_needed(samples: Sequence[Sample], size: tuple[int, int]) -> int:
    """Length of the arrays and of meta.json with its names."""
    channels = 4 if are_labelled(samples) else 3
    return len(samples) * (size[0] * size[1] * channels + 300) + 4096


def _check_space(cache_dir: Path, needed: int) -> None:
    free = shutil.disk_usage(cache_dir).free
    if free < needed:
        raise DataError(
            f"{cache_dir}: the image cache needs {needed / 1e6:.1f} MB and {free / 1e6:.1f} MB are free; "
            "free some space, or move the workspace"
        )


def files_of(sample: Sample) -> tuple[Path, ...]:
    """The files that a sample is read from."""
    return (sample.image,) if sample.label is None else (sample.image, sample.label)


def _by_name(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    return tuple(sorted(samples, key=lambda sample: sample.name))
