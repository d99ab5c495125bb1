"""The image and label pairs of one split at their own sizes, read one after the other from their files.

What evaluation needs: no cache, as nothing is read twice. Free of torch, so that a front end can refuse a
split before a run exists.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from engine.classes import CITYSCAPES, VOID, ClassSet
from engine.config.sections import DataConfig
from engine.data.catalog import MAPPING, Catalog, DataError, Fault, FaultyData, Sample, describe_faults, scan
from engine.data.dataset import as_it_was, checked
from engine.data.decode import labels_in, resize_labels, train_id_table
from engine.data.faults import left_out_note, listed
from engine.data.frozen_classes import class_notes
from engine.data.image_files import FileFault
from engine.data.layouts.recognise import fitting_layouts
from engine.data.membership import (
    Contents,
    Membership,
    Trained,
    contents_of,
    refuse_moved,
    some,
    told_changes,
)
from engine.data.split import split_samples
from engine.run.files import expanded


@dataclass(frozen=True)
class Pairs:
    """The pairs of one split, sorted by name. `skipped` are the faults gone on without, `notes` lines on what
    is not as a person would expect, `contents` the digests of what is in the files, by name."""

    root: Path
    class_set: ClassSet
    samples: tuple[Sample, ...]
    skipped: tuple[Fault, ...]
    notes: tuple[str, ...] = ()
    contents: Mapping[str, Contents] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)


def open_pairs(
    config: DataConfig,
    split: str,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
    trained: Trained | None = None,
) -> Pairs:
    """Find the pairs of "train", "val" or "test".

    Of the data of a run that has `trained`, train and val are what it trained on and held out, whatever has
    become of the data set since; the notes tell of that, and of images that it trained on and that are to be
    scored as something else. Without such a run, train and val are the parts of the training folder that a
    run of this config has; of the official split they are the folders. `test` is always the folder. Every
    file is opened once, and the result kept; with `skip_bad` what cannot be used is left out. Raises
    DataError: no data, no such split, no label in it, faults, nothing left of what was held out.
    """
    place = find_pairs(config, split, trained)
    root, catalog, samples = place.catalog.root, place.catalog, place.samples
    faults, notes, own, member = list(place.faults), list(place.notes), place.own, place.member
    found = checked(samples, config.size, catalog.class_set, root, cache_dir, on_progress)
    if config.skip_bad:
        samples = tuple(sample for sample in samples if sample.name not in found)
    divided_here = not own or member is None
    if divided_here and config.divides_training and split != "test":
        usable = Catalog(root, catalog.layout, catalog.class_set, {"train": samples}, ())
        parts = split_samples(usable, config)
        if own and trained is not None:
            trained.refuse_other_counts(len(parts[0]), len(parts[1]))
        samples = parts[0] if split == "train" else parts[1]
    kept = {sample.name for sample in samples}
    faults += [f for name, of in found.items() if config.skip_bad or name in kept for f in of]
    if faults and not config.skip_bad:
        raise FaultyData(describe_faults(faults, root, option="data.skip_bad=true"))
    contents = contents_of(samples, root, cache_dir)
    if own and member is not None:
        notes += told_changes(member.part(split), contents)
    notes += left_out_note(faults)
    if trained is not None and member is not None and not (own and split == "train"):
        notes += _told_learned(samples, split, trained.run_id, member, contents)
    return Pairs(root, catalog.class_set, samples, tuple(faults), tuple(notes), contents)


@dataclass(frozen=True)
class FoundPairs:
    """What folders tell of a split. `own`: it is a part of the very data that a run has trained on; `member`
    is what that run has on record, None where it has nothing."""

    catalog: Catalog
    samples: tuple[Sample, ...]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    own: bool
    member: Membership | None


def find_pairs(config: DataConfig, split: str, trained: Trained | None) -> FoundPairs:
    """Find the pairs that `open_pairs` opens, without opening one. Raises DataError as it does."""
    root = expanded(Path(config.root)).absolute()
    own = trained is not None and split != "test" and trained.is_of(config, root)
    if own:
        refuse_moved(root)
    strict = own or trained is None
    catalog = scan(root, config.layout, config.known_classes, config.held_out if strict else ())
    if not strict:  # another data set may lack, to begin with, what a network was not to learn
        left_out = [name for name in config.held_out if name in catalog.class_set.names]
        catalog = replace(catalog, class_set=catalog.class_set.without(left_out))
    member = trained.membership if trained is not None else None
    if own and member is not None:
        catalog = as_it_was(catalog, config, True, member)
    folder = "train" if split == "train" or (split == "val" and config.divides_training) else split
    if folder not in catalog.splits:
        there = ", ".join(f"{name} ({len(samples)})" for name, samples in sorted(catalog.splits.items()))
        others = f"; --split {min(catalog.splits)} scores those" if len(catalog.splits) == 1 else ""
        raise DataError(f"{root}: has no labelled images in {split}; there are: {there}{others}")
    samples = catalog.splits[folder]
    faults = catalog.faults_of(folder)
    notes = [*catalog.notes, *class_notes(config)]
    if own and member is not None:
        samples, told = _recorded(samples, member, split, root)
        notes += told
        faults = []  # of what was added, or lost
    return FoundPairs(catalog, samples, tuple(faults), tuple(notes), own, member)


def _recorded(
    samples: tuple[Sample, ...], member: Membership, split: str, root: Path
) -> tuple[tuple[Sample, ...], list[str]]:
    """What is there of a part that a run has on record, and lines on what was lost and added since."""
    part, there = member.part(split), {sample.name for sample in samples}
    found = tuple(sample for sample in samples if sample.name in part)
    notes = []
    if added := there - member.names:
        notes.append(f"{some(added)} added to {root} since the training began: not in its {split} split")
    if lost := part.keys() - there:
        told = f"{some(lost)} of the {split} split missing or incomplete"
        if not found:
            raise DataError(f"{root}: {told}; nothing is left to score")
        notes.append(f"{told}; scoring the other {len(found)}")
    return found, notes


def _told_learned(
    samples: tuple[Sample, ...],
    split: str,
    run_id: str,
    member: Membership,
    contents: Mapping[str, Contents],
) -> list[str]:
    """A line on images that the run learned from, under whatever name they are here."""
    learned = {image for image, _ in member.train.values()}
    known = [sample.name for sample in samples if contents[sample.name][0] in learned]
    if not known:
        return []
    return [f"{some(known)} of the {len(samples)} in {split} are images that {run_id} trained on"]


def refuse_unlabelled(
    pairs: Pairs,
    what: str,
    size: tuple[int, int] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Raise DataError when all labels are void everywhere, as those of Cityscapes' test images are.

    `what` says which images they are; with a `size` (height, width) they are scored at that. Looks no further
    than the first image that has a labelled pixel; files that cannot be read are left to those who use them.
    """
    table = train_id_table(pairs.class_set)
    vanished = False
    for done, sample in enumerate(pairs.samples):
        on_progress(done, len(pairs))
        try:
            known = None if sample.label is None else table[labels_in(sample, pairs.class_set)] != VOID
        except FileFault:
            return
        if known is not None and known.any():
            if size is None or resize_labels(known.astype(np.uint8), size).any():
                return
            vanished = True
    told = f"{pairs.root}: the labels of all {len(pairs)} images of {what} are void"
    if vanished and size is not None:
        told += f" at {size[0]}x{size[1]}, where small objects vanish; --at original keeps them"
    raise DataError(f"{told}, so nothing can be scored")


def refuse_other_classes(
    pairs: Pairs, classes: tuple[str, ...], run_id: str, may_hold_out: bool = False
) -> None:
    """Raise DataError unless the data has the very classes that the network of `run_id` tells apart.
    `may_hold_out`: whoever asked may say data.hold_out."""
    names = pairs.class_set.names
    if names == classes:
        return
    missing, extra = [n for n in classes if n not in names], [n for n in names if n not in classes]
    parts = [f"lacks {listed(missing)}"] if missing else []
    parts += [f"also has {listed(extra)}"] if extra else []
    told = " and ".join(parts) or "has them in a different order"
    help_ = _help_with_classes(pairs, classes)
    if may_hold_out and classes == tuple(name for name in names if name in classes):
        help_ = f"; data.hold_out={shlex.quote(','.join(extra))} makes them so"
    raise DataError(
        f"{pairs.root}: its classes differ from those of {run_id}: the data set {told}; they must be equal"
        f"{help_}"
    )


def _help_with_classes(pairs: Pairs, classes: tuple[str, ...]) -> str:
    """How two data sets come to the same classes, where Cityscapes' are those of either."""
    if pairs.class_set.names == CITYSCAPES.names:
        return "; networks trained with data.classes=cityscapes have these classes, whatever their data set"
    layouts = fitting_layouts(pairs.root) if set(classes) <= set(CITYSCAPES.names) else []
    return MAPPING if any(layout.is_mapped for layout in layouts) else ""
