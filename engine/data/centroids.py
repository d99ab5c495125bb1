"""Where the classes are: the centroid of each class in each tile of each image, for class-uniform sampling.

Zhu et al., "Improving Semantic Segmentation via Video Propagation and Label Relaxation", CVPR 2019. Found
once and kept beside the caches.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.classes import VOID
from engine.data.cache import cache_key
from engine.data.catalog import DataError
from engine.data.decode import map_in_order
from engine.data.sample_readers import CachedSplit, FileSplit, Split
from engine.host.access import reason
from engine.run.files import replacing

SIDE = 256
"""Of larger labels every n-th row and column is looked at, at least so many."""


@dataclass(frozen=True)
class Centroids:
    """One row for each class of a tile that has it: `sample` int64 [N] is a position in the split, `train_id`
    uint8 [N] the class, `point` float32 [N, 2] its centroid (y, x) as shares of height and width."""

    sample: NDArray[np.int64]
    train_id: NDArray[np.uint8]
    point: NDArray[np.float32]


def find_centroids(
    split: Split,
    tile: tuple[int, int],
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Centroids:
    """The centroids of a split in tiles of about `tile` (height, width) pixels.

    `on_progress(done, total)` counts images while they are looked for. Raises DataError when labels cannot be
    read any more or the result cannot be written.
    """
    memory = cache_dir / f"{_key(split, tile)}.centroids.npz"
    try:
        with np.load(memory, allow_pickle=False) as kept:
            return Centroids(kept["sample"], kept["train_id"], kept["point"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not looked for yet

    def look(position: int) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.float32]]:
        train_id, point = _of_labels(split.labels(position), tile)
        return np.full(len(train_id), position, dtype=np.int64), train_id, point

    found = []
    with closing(map_in_order(look, range(len(split)))) as looking:
        for done, rows in enumerate(looking, start=1):
            found.append(rows)
            if on_progress:
                on_progress(done, len(split))
    centroids = Centroids(*(np.concatenate(column) for column in zip(*found, strict=True)))
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with replacing(memory) as stream:
            np.savez(stream, **dict(zip(("sample", "train_id", "point"), astuple(centroids), strict=True)))
    except OSError as error:
        raise DataError(f"{cache_dir}: cannot be written: {reason(error)}") from error
    return centroids


def _key(split: Split, tile: tuple[int, int]) -> str:
    digest = hashlib.sha256(repr(tile).encode())
    if isinstance(split, CachedSplit):
        # By name: where a cache was built again with what it had lacked, its rows are others.
        digest.update(json.dumps([split.cache.key, *map(split.name, range(len(split)))]).encode())
    elif isinstance(split, FileSplit):
        digest.update(cache_key(split.samples, split.size, split.class_set, split.root).encode())
    else:
        raise TypeError(f"a {type(split).__name__} has no key")
    return digest.hexdigest()[:16]


def _of_labels(
    labels: NDArray[np.uint8], tile: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The classes of each tile of labels [H, W] and their centroids."""
    height, width = labels.shape
    seen = labels[:: max(1, height // SIDE), :: max(1, width // SIDE)]
    y = (np.arange(seen.shape[0]) + 0.5) / seen.shape[0]
    x = (np.arange(seen.shape[1]) + 0.5) / seen.shape[1]
    down, across = -(-height // tile[0]), -(-width // tile[1])
    tiles = (y * down).astype(np.int64)[:, None] * across + (x * across).astype(np.int64)
    bins = (tiles * (VOID + 1) + seen).ravel()
    counts, ys, xs = (
        np.bincount(bins, weights=weights, minlength=down * across * (VOID + 1))
        for weights in (None, np.repeat(y, len(x)), np.tile(x, len(y)))
    )
    there = np.flatnonzero(counts)
    there = there[there % (VOID + 1) != VOID]
    point = np.stack([ys[there], xs[there]], axis=1) / counts[there, None]
    return (there % (VOID + 1)).astype(np.uint8), point.astype(np.float32)
