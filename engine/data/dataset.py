"""From a data config to the arrays a task reads: find the pairs, check them, cache them, split them.

Free of torch, so that a front end can refuse bad data before a run exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.classes import ClassSet
from engine.config import DataConfig
from engine.data.cache import Cache, open_cache
from engine.data.catalog import Catalog, DataError, Fault, Sample, describe_faults, scan
from engine.data.split import split_samples


@dataclass(frozen=True)
class SplitData:
    """One split of a data set: `indices` [N] int64 are its rows in the cache."""

    cache: Cache
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, position: int) -> str:
        return self.cache.names[int(self.indices[position])]


@dataclass(frozen=True)
class Dataset:
    """A data set at one size, ready to be read. `skipped` are the faults gone on without."""

    class_set: ClassSet
    train: SplitData
    val: SplitData
    skipped: tuple[Fault, ...]

    @property
    def caches(self) -> tuple[Cache, ...]:
        return tuple(dict.fromkeys((self.train.cache, self.val.cache)))


def open_dataset(
    config: DataConfig,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Dataset:
    """Find, check, cache and split the data of a run.

    `on_progress(done, total)` counts image pairs while a cache is built, `on_wait(line)` says what is
    waited for. Raises DataError: no data there, or faults that `skip_bad` does not allow.
    """
    root = Path(config.root).expanduser().absolute()
    catalog = scan(root, config.kind, config.classes)
    parts = _folders_used(catalog, config)
    _refuse(catalog.faults, config, root)

    # Folders are cached whole: two runs that split the same folder differently share one cache.
    caches = {
        name: open_cache(samples, config.size, catalog.class_set, root, cache_dir, on_progress, on_wait)
        for name, samples in parts.items()
    }
    faults = catalog.faults + tuple(fault for cache in caches.values() for fault in cache.faults)
    _refuse(faults, config, root)

    good = _without_faulty(catalog, caches)
    train, val = split_samples(good, config.split, config.val_fraction, config.split_seed)
    val_cache = caches["train" if config.split == "random" else "val"]
    return Dataset(
        class_set=catalog.class_set,
        train=_rows(caches["train"], train),
        val=_rows(val_cache, val),
        skipped=faults,
    )


def _folders_used(catalog: Catalog, config: DataConfig) -> dict[str, tuple[Sample, ...]]:
    """The folders whose images the split needs; splitting once up front refuses an impossible split early."""
    split_samples(catalog, config.split, config.val_fraction, config.split_seed)
    names = ("train",) if config.split == "random" else ("train", "val")
    return {name: catalog.splits[name] for name in names}


def _refuse(faults: tuple[Fault, ...], config: DataConfig, root: Path) -> None:
    if faults and not config.skip_bad:
        raise DataError(describe_faults(faults, root))


def _without_faulty(catalog: Catalog, caches: dict[str, Cache]) -> Catalog:
    splits = {}
    for name, cache in caches.items():
        kept = set(cache.names)
        splits[name] = tuple(sample for sample in catalog.splits[name] if sample.name in kept)
    return Catalog(catalog.root, catalog.kind, catalog.class_set, splits, catalog.faults)


def _rows(cache: Cache, samples: tuple[Sample, ...]) -> SplitData:
    row = {name: index for index, name in enumerate(cache.names)}
    return SplitData(cache, np.array([row[sample.name] for sample in samples], dtype=np.int64))
