"""From a data config to the samples a task reads: find the pairs, check them, cache them, split them.

Free of torch, so that a front end can refuse bad data before a run exists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.access import reason
from engine.classes import UNLABELLED, ClassSet
from engine.config import DataConfig
from engine.data.cache import Cache, DamagedCache, cache_key, files_of, open_cache, read_meta
from engine.data.catalog import EXTRA, Catalog, DataError, Fault, Sample, describe_faults, scan, scan_images
from engine.data.decode import (
    check_samples,
    read_pair,
    relative_path,
    resize_image,
    resize_labels,
    train_id_table,
)
from engine.data.faults import counted, listed
from engine.data.lessons import Lessons, present, present_in_files, refuse_one_class
from engine.data.split import labelled_part, split_samples
from engine.files import expanded, write_json

Pixels = NDArray[np.uint8]
Report = Callable[[int, int], None]


class Split(Protocol):
    """One split of a data set, in the order of its names."""

    def __len__(self) -> int: ...

    def name(self, position: int) -> str: ...

    def sample(self, position: int) -> tuple[Pixels, Pixels]:
        """Image uint8 [H, W, 3] and train ids uint8 [H, W], at the size of the run."""


@dataclass(frozen=True)
class CachedSplit:
    """A split whose samples lie decoded in a cache: `indices` [N] int64 are its rows there."""

    cache: Cache
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, position: int) -> str:
        return self.cache.names[int(self.indices[position])]

    def sample(self, position: int) -> tuple[Pixels, Pixels]:
        row = self.indices[position]
        return np.array(self.cache.images[row]), np.array(self.cache.labels[row])


@dataclass(frozen=True)
class FileSplit:
    """A split that is decoded and resized from its files each time; the pixels are those of a cache."""

    samples: tuple[Sample, ...]
    size: tuple[int, int]
    class_set: ClassSet
    root: Path
    workers: int

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, position: int) -> str:
        return self.samples[position].name

    def sample(self, position: int) -> tuple[Pixels, Pixels]:
        """Raises DataError when a file has become unusable since it was checked."""
        pair, faults = read_pair(self.samples[position], self.class_set, self.root)
        if pair is None:
            raise DataError(f"{self.root / faults[0].path}: {faults[0].problem}")
        image, labels = pair
        return resize_image(image, self.size), train_id_table(self.class_set)[
            resize_labels(labels, self.size)
        ]


@dataclass(frozen=True)
class Dataset:
    """A data set at one size, ready to be read. `skipped` are the faults gone on without; `notes` tell, a
    line each, what else was left out or read otherwise than its name says.

    Without labels, `class_set` is `UNLABELLED` and every sample's train ids are 0.
    """

    class_set: ClassSet
    train: Split
    val: Split
    skipped: tuple[Fault, ...]
    caches: tuple[Cache, ...]
    notes: tuple[str, ...] = ()


def open_dataset(
    config: DataConfig,
    cache_dir: Path,
    on_progress: Report | None = None,
    on_wait: Callable[[str], None] | None = None,
    labels: bool = True,
) -> Dataset:
    """Find, check, cache and split the data of a run. With `labels` false no label file is opened: the images
    of a data set, split as with labels, or those of any folder.

    `on_progress(done, total)` counts image pairs while they are decoded, `on_wait(line)` says what is waited
    for. Raises DataError: no data there, faults that `skip_bad` does not allow, or labels that teach nothing.
    """
    root = expanded(Path(config.root)).absolute()
    catalog = (
        scan(root, config.kind, config.classes, config.held_out) if labels else scan_images(root, config.kind)
    )
    if labels:
        refuse_one_class(catalog.class_set, root)
    parts = _folders_used(catalog, config)
    _refuse(catalog.faults, config, root)

    # Folders are cached whole: two runs that split the same folder differently share one cache.
    caches: dict[str, Cache] = {}
    faults = list(catalog.faults)
    good: dict[str, tuple[Sample, ...]] = {}
    for name, samples in parts.items():
        if config.cache:
            cache = open_cache(samples, config.size, catalog.class_set, root, cache_dir, on_progress, on_wait)
            caches[name] = cache
            usable = set(cache.names)
            faults += cache.faults
        else:
            found = checked(samples, config.size, catalog.class_set, root, cache_dir, on_progress)
            usable = {sample.name for sample in samples} - found.keys()
            faults += [fault for of_sample in found.values() for fault in of_sample]
        good[name] = tuple(sample for sample in samples if sample.name in usable)
    _refuse(faults, config, root)

    kept = Catalog(catalog.root, catalog.kind, catalog.class_set, good, catalog.faults)
    train, val = _divide(kept, {sample.name for sample in _extra(catalog)}, config)
    untaught: list[str] = []
    if labels:
        train, whole = labelled_part(train, config.label_fraction, config.split_seed), train
        used = {sample.name for sample in train}
        unused = [sample for sample in whole if sample.name not in used]
        seen = partial(_classes_in, config, catalog.class_set, root, cache_dir, tuple(caches.values()))
        untaught = Lessons(config, catalog.class_set, root, train, unused, val, seen).check()
    val_folder = "train" if config.split == "random" else "val"

    def split(folder: str, samples: tuple[Sample, ...]) -> Split:
        if config.cache:
            return _rows(caches[folder], samples)
        return FileSplit(samples, config.size, catalog.class_set, root, config.workers)

    turned = turned_note([name for cache in caches.values() for name in cache.turned])
    return Dataset(
        class_set=catalog.class_set,
        train=split("train", train),
        val=split(val_folder, val),
        skipped=tuple(faults),
        caches=tuple(caches.values()),
        notes=(*catalog.notes, *turned, *untaught),
    )


def turned_note(names: Sequence[str]) -> list[str]:
    """What to say of images that have an orientation tag."""
    if not names:
        return []
    tags = f"{counted(len(names), 'image')} with a camera's orientation tag"
    return [f"{tags}, which is not applied: labels must be drawn on the pixels as stored: {listed(names)}"]


def checked(
    samples: Sequence[Sample],
    size: tuple[int, int],
    class_set: ClassSet,
    root: Path,
    cache_dir: Path,
    on_progress: Report | None = None,
) -> dict[str, list[Fault]]:
    """The faults of samples that are not cached, by name. Every file is opened, once: the result is kept.

    Raises DataError when no sample is usable or the result cannot be written.
    """
    key = cache_key(samples, size, class_set, root)
    memory = cache_dir / f"{key}.checked.json"
    found: dict[str, list[Fault]] = {}
    paths = {relative_path(path, root): sample.name for sample in samples for path in files_of(sample)}
    try:
        known: dict[str, list[dict[str, Any]]] = json.loads(memory.read_bytes())
        return {name: [Fault(**fault) for fault in faults] for name, faults in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        pass  # not checked yet, or not by this version
    faults = _cached_faults(cache_dir / key)
    if faults is None:
        faults = check_samples(samples, class_set, root, on_progress)
    for fault in faults:
        found.setdefault(paths[fault.path], []).append(fault)
    if found and len(found) == len(samples):
        raise DataError(
            f"{root}: none of the {len(samples)} samples can be used; "
            f"the first: {faults[0].path}: {faults[0].problem}"
        )
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        write_json(memory, {name: [asdict(fault) for fault in faults] for name, faults in found.items()})
    except OSError as error:
        raise DataError(f"{cache_dir}: cannot be written: {reason(error)}") from error
    return found


def _cached_faults(cache: Path) -> list[Fault] | None:
    """What was found when these very samples were cached; None when they were not."""
    try:
        return [Fault(**fault) for fault in read_meta(cache)["faults"]]
    except (DamagedCache, KeyError, TypeError):
        return None


def _folders_used(catalog: Catalog, config: DataConfig) -> dict[str, tuple[Sample, ...]]:
    """The folders whose images the split needs; splitting once up front refuses an impossible split early."""
    split_samples(catalog, config.split, config.val_fraction, config.split_seed)
    names = ("train",) if config.split == "random" else ("train", "val")
    parts = {name: catalog.splits[name] for name in names}
    parts["train"] += _extra(catalog)
    return parts


def _extra(catalog: Catalog) -> tuple[Sample, ...]:
    """Images that train beside those of the train folder, where no labels are wanted."""
    return catalog.splits.get(EXTRA, ()) if catalog.class_set is UNLABELLED else ()


def _classes_in(
    config: DataConfig,
    class_set: ClassSet,
    root: Path,
    cache_dir: Path,
    caches: Collection[Cache],
    samples: Sequence[Sample],
) -> frozenset[int]:
    """The train ids that the labels of some samples have at the size of the run."""
    if not config.cache:
        return present_in_files(samples, config.size, class_set, root, cache_dir)
    wanted = {sample.name for sample in samples}
    rows = (cache.labels[row] for cache in caches for row, name in enumerate(cache.names) if name in wanted)
    return present(rows, len(class_set))


def _divide(
    catalog: Catalog, extra_names: Collection[str], config: DataConfig
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Training and validation samples. The extra ones move no others across the split."""
    extra = tuple(s for s in catalog.splits["train"] if s.name in extra_names)
    others = tuple(s for s in catalog.splits["train"] if s.name not in extra_names)
    plain = replace(catalog, splits={**catalog.splits, "train": others})
    train, val = split_samples(plain, config.split, config.val_fraction, config.split_seed)
    return train + extra, val


def _refuse(faults: Sequence[Fault], config: DataConfig, root: Path) -> None:
    if faults and not config.skip_bad:
        raise DataError(describe_faults(faults, root))


def _rows(cache: Cache, samples: tuple[Sample, ...]) -> CachedSplit:
    row = {name: index for index, name in enumerate(cache.names)}
    return CachedSplit(cache, np.array([row[sample.name] for sample in samples], dtype=np.int64))
