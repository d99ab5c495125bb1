"""From a data config to the samples a task reads: find the pairs, check them, cache them, split them.

Free of torch, so that a front end can refuse bad data before a run exists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from engine.classes import UNLABELLED, ClassSet
from engine.config.sections import DataConfig
from engine.data.cache import cache_key, faults_again, files_of, open_cache
from engine.data.cache_files import Cache, DamagedCache, read_meta
from engine.data.catalog import (
    Catalog,
    DataError,
    Fault,
    FaultyData,
    Sample,
    describe_faults,
    scan,
    scan_images,
)
from engine.data.decode import (
    check_samples,
    relative_path,
)
from engine.data.faults import counted, left_out_note, listed
from engine.data.frozen_classes import class_notes
from engine.data.layouts import EXTRA
from engine.data.layouts.builtin import LAYOUTS
from engine.data.layouts.recognise import ANY_FOLDER
from engine.data.lessons import Lessons, present, present_in_files, refuse_one_class
from engine.data.membership import Membership, refuse_moved, some, told_changes
from engine.data.sample_readers import CachedSplit, FileSplit, Split
from engine.data.split import labelled_part, split_samples
from engine.host.access import reason
from engine.run.files import expanded, write_json
from engine.typed import typed

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Dataset:
    """A data set at one size, ready to be read. `skipped` are the faults gone on without; `notes` tell, a
    line each, what else was left out or read otherwise than its name says.

    Without labels, `class_set` is `UNLABELLED` and every sample's train ids are 0. `membership` says which
    samples these are and what is in their files; `notes` are lines on what is not as a person would expect.
    """

    class_set: ClassSet
    train: Split
    val: Split
    skipped: tuple[Fault, ...]
    caches: tuple[Cache, ...]
    membership: Membership
    notes: tuple[str, ...] = ()


def open_dataset(
    config: DataConfig,
    cache_dir: Path,
    on_progress: Report | None = None,
    on_wait: Callable[[str], None] | None = None,
    labels: bool = True,
    began_with: Membership | None = None,
    trained_before: Membership | None = None,
) -> Dataset:
    """Find, check, cache and split the data of a run. With `labels` false no label file is opened: the images
    of a data set, split as with labels, or those of any folder.

    A run that goes on has the split that it `began_with`, whatever has become of the data set since: images
    that were added are left out, and so are lost ones where `skip_bad` allows it. `trained_before` is that of
    the pre-training run whose weights the run starts from: what it learned from does not validate.

    `on_progress(done, total)` counts image pairs while they are decoded, `on_wait(line)` says what is waited
    for. Raises DataError: no data there, faults that `skip_bad` does not allow, or labels that teach nothing.
    """
    catalog, parts, notes = find_samples(config, labels, began_with)
    root = catalog.root

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

    kept = Catalog(catalog.root, catalog.layout, catalog.class_set, good, catalog.faults)
    if began_with is not None:
        train, val, unused = _as_before(kept, config, began_with)
    else:
        train, val = _divide(kept, {sample.name for sample in _extra(catalog)}, config)
        if trained_before is not None:
            train, val, told = _apart(train, val, trained_before)
            notes += told
        whole = train
        if labels:
            train = labelled_part(train, config.label_fraction, config.split_seed, config.split_rule)
        unused = tuple(sorted(set(whole) - set(train), key=lambda sample: sample.name))
    if labels:
        seen = partial(_classes_in, config, catalog.class_set, root, cache_dir, tuple(caches.values()))
        notes += Lessons(config, catalog.class_set, root, train, unused, val, seen).check()
    faulty = [sample for name, samples in parts.items() for sample in set(samples) - set(good[name])]
    membership = Membership.of(train, val, (*unused, *faulty), root, cache_dir, on_progress)
    if began_with is not None:
        before = {**began_with.train, **began_with.val}
        notes += told_changes(before, {**membership.train, **membership.val}, began_with.val)
    val_folder = "train" if config.divides_training else "val"

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
        membership=membership,
        notes=(*notes, *left_out_note(faults), *turned),
    )


def find_samples(
    config: DataConfig, labels: bool, began_with: Membership | None
) -> tuple[Catalog, dict[str, tuple[Sample, ...]], list[str]]:
    """What folders tell of the data of a run, without opening an image: the catalog, the samples of
    each folder that the run needs, and notes. Raises DataError as `open_dataset` does."""
    root = expanded(Path(config.root)).absolute()
    if began_with is not None:
        refuse_moved(root)
    catalog = _scan(config, root, labels)
    if began_with is not None:
        catalog = as_it_was(catalog, config, labels, began_with)
    notes = [*catalog.notes, *(class_notes(config) if labels else [])]
    if labels:
        refuse_one_class(catalog.class_set, root)
    if began_with is None:
        parts = _folders_used(catalog, config)
        _refuse(catalog.faults, config, root)
    else:
        parts, told = _folders_known(catalog, config, began_with)
        catalog = replace(catalog, faults=())  # they are of what was added, or lost
        notes += told
    return catalog, parts, notes


def turned_note(names: Sequence[str]) -> list[str]:
    """What to say of images that have an orientation tag."""
    if not names:
        return []
    tags = f"{counted(len(names), 'image')} with a camera's orientation tag"
    return [f"{tags}, which is ignored (draw labels on the pixels as stored): {listed(names)}"]


def _scan(config: DataConfig, root: Path, labels: bool) -> Catalog:
    if not labels:
        return scan_images(root, config.layout)
    return scan(root, config.layout, config.known_classes, config.held_out)


def as_it_was(catalog: Catalog, config: DataConfig, labels: bool, began_with: Membership) -> Catalog:
    """The catalog, or that of the layout as which an earlier version took the folder, before this one was
    known: whichever has more of the images that the run began to train on."""

    def there(of: Catalog) -> int:
        return sum(sample.name in began_with.train for sample in of.splits.get("train", ()))

    others = (LAYOUTS[catalog.layout].refines, "" if labels else ANY_FOLDER)
    for name in others if config.layout == "auto" else ():
        if name and there(catalog) < len(began_with.train):
            with suppress(DataError):
                other = _scan(config.model_copy(update={"layout": name}), catalog.root, labels)
                catalog = other if there(other) > there(catalog) else catalog
    return catalog


def checked(
    samples: Sequence[Sample],
    size: tuple[int, int],
    class_set: ClassSet,
    root: Path,
    cache_dir: Path,
    on_progress: Report | None = None,
) -> dict[str, list[Fault]]:
    """The faults of samples that are not cached, by name. Every file is opened, once: the result is kept. A
    file that could not be read is opened again.

    Raises DataError when no sample is usable or the result cannot be written.
    """
    key = cache_key(samples, size, class_set, root)
    memory = cache_dir / f"{key}.checked.json"
    found: dict[str, list[Fault]] = {}
    paths = {relative_path(path, root): sample.name for sample in samples for path in files_of(sample)}
    known = _checked_before(memory)
    if known is not None:
        before: list[Fault] | None = [fault for of_sample in known.values() for fault in of_sample]
    else:
        before = _cached_faults(cache_dir / key)
    if before is None:
        faults = check_samples(samples, class_set, root, on_progress)
    else:
        faults, _ = faults_again(before, samples, class_set, root)
    for fault in faults:
        found.setdefault(paths[fault.path], []).append(fault)
    if found and len(found) == len(samples):
        raise DataError(
            f"{root}: none of the {len(samples)} samples can be used; "
            f"the first: {faults[0].path}: {faults[0].problem}"
        )
    if found == known:
        return found
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        write_json(memory, {name: [asdict(fault) for fault in faults] for name, faults in found.items()})
    except OSError as error:
        if known is None:
            raise DataError(f"{cache_dir}: cannot be written: {reason(error)}") from error
    return found


def _checked_before(memory: Path) -> dict[str, list[Fault]] | None:
    """What is kept of a check; None where these samples were not checked yet, or not by this version."""
    try:
        known: dict[str, list[dict[str, Any]]] = json.loads(memory.read_bytes())
        return {name: [Fault(**fault) for fault in faults] for name, faults in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _cached_faults(cache: Path) -> list[Fault] | None:
    """What was found when these very samples were cached; None when they were not."""
    try:
        return [Fault(**fault) for fault in read_meta(cache)["faults"]]
    except (DamagedCache, KeyError, TypeError):
        return None


def _folders_used(catalog: Catalog, config: DataConfig) -> dict[str, tuple[Sample, ...]]:
    """The folders whose images the split needs; splitting once up front refuses an impossible split early."""
    split_samples(catalog, config)
    names = ("train",) if config.divides_training else ("train", "val")
    parts = {name: catalog.splits[name] for name in names}
    parts["train"] += _extra(catalog)
    return parts


def _folders_known(
    catalog: Catalog, config: DataConfig, began_with: Membership
) -> tuple[dict[str, tuple[Sample, ...]], list[str]]:
    """The samples that a run knows, by folder, and lines on those that it does not know and those it misses.

    Raises DataError for lost samples where `skip_bad` does not go on without.
    """
    names = ("train",) if config.divides_training else ("train", "val")
    there = {name: catalog.splits.get(name, ()) for name in names}
    there["train"] += _extra(catalog)
    found = {sample.name for samples in there.values() for sample in samples}
    notes = []
    if added := found - began_with.names:
        notes.append(f"{some(added)} added to {catalog.root} since the run began: left out")
    lost = (began_with.train.keys() | began_with.val.keys()) - found
    if lost and not config.skip_bad:
        raise DataError(
            f"{catalog.root}: {some(lost)} of this run missing or incomplete; restore them, or start a new "
            f"run on the remaining data with `{typed('rerun', 'RUN')}`"
        )
    if lost:
        judging = len(began_with.val.keys() & lost)
        notes.append(f"{some(lost)}, {judging} of them for validation, missing: left out (data.skip_bad)")
    known = {
        name: tuple(sample for sample in samples if sample.name in began_with.names)
        for name, samples in there.items()
    }
    return known, notes


def _as_before(
    catalog: Catalog, config: DataConfig, began_with: Membership
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], tuple[Sample, ...]]:
    """The samples that train, validate and are unused, as when the run began. Raises DataError."""
    training = catalog.splits["train"]
    judging = training if config.divides_training else catalog.splits["val"]
    train = tuple(sample for sample in training if sample.name in began_with.train)
    val = tuple(sample for sample in judging if sample.name in began_with.val)
    if not train or not val:
        raise DataError(
            f"{catalog.root}: of the samples that the run began with, {len(train)} for training and "
            f"{len(val)} for validation are there and usable; each needs at least one"
        )
    return train, val, tuple(sample for sample in training if sample.name in began_with.unused)


def _apart(
    train: tuple[Sample, ...], val: tuple[Sample, ...], trained_before: Membership
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], list[str]]:
    """Samples of which the pre-training learned train here, too, and those it held out validate.

    So it is by itself, unless the data set changed between the two and the split goes by rank. Raises
    DataError when none is left to validate.
    """
    seen = {sample.name for sample in val if sample.name in trained_before.train}
    held_out = {sample.name for sample in train if sample.name in trained_before.val}
    if not seen:
        return train, val, []
    everything = {sample.name: sample for sample in (*train, *val)}
    validating = ({sample.name for sample in val} - seen) | held_out
    if not validating:
        raise DataError("the pre-training run was trained on all validation images")
    parts = [
        tuple(everything[name] for name in sorted(everything) if (name in validating) == judges)
        for judges in (False, True)
    ]
    note = f"{some(seen)} would validate, but the pre-training learned from them: they train, as there"
    return parts[0], parts[1], [note]


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
    train, val = split_samples(plain, config)
    return train + extra, val


def _refuse(faults: Sequence[Fault], config: DataConfig, root: Path) -> None:
    if faults and not config.skip_bad:
        raise FaultyData(describe_faults(faults, root))


def _rows(cache: Cache, samples: tuple[Sample, ...]) -> CachedSplit:
    row = {name: index for index, name in enumerate(cache.names)}
    return CachedSplit(cache, np.array([row[sample.name] for sample in samples], dtype=np.int64))
