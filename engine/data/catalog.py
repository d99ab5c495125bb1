"""Catalogs: which images of a data set belong to which label files, and to which split.

`engine.data.layouts` knows how data sets lie in their folders; here what they find becomes pairs. The notes
of a catalog tell what is left out or read otherwise than its name says. `engine.data.walk` says how links are
followed.

No image is opened here: what is inside the files is checked by `engine.data.decode`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from engine.classes import CITYSCAPES, UNLABELLED, ClassSet, ClassSetError, load_class_set
from engine.data.faults import DataError as DataError
from engine.data.faults import Fault as Fault
from engine.data.faults import FaultyData as FaultyData
from engine.data.faults import counted
from engine.data.faults import describe_faults as describe_faults
from engine.data.layouts import EXTRA, Found, Layout, Side
from engine.data.layouts.recognise import layout_of, refuse_no_folder
from engine.data.layouts.splits import SPLITS, refuse_nested, splits_of
from engine.host.input_files import shown
from engine.plugins import errors_of_plugins

MAPPING = "; data.classes=cityscapes maps those of this data set to the 19 of Cityscapes"
"""What helps where a network knows Cityscapes' classes and a data set is read in its own."""


@dataclass(frozen=True)
class Sample:
    """One image with its label file, or without one.

    `name` is what the layout calls it: the path of the image below the image folder, with "/" and without the
    suffix, such as "train/aachen/aachen_000000_000019"; it is unique in a catalog. `decoder` is the layout
    that reads the label file in a way of its own; "": the file stores label values.
    """

    name: str
    image: Path
    label: Path | None
    decoder: str = ""


@dataclass(frozen=True)
class Catalog:
    """The pairs of a data set.

    `class_set` is the class set as the label *files* are encoded. `splits` maps "train", "val", ... to its
    samples, sorted by name; a data set without split folders is one split, "train". `faults` are the files
    that have no partner or lie where they cannot be used; they are in no split, but `fault_splits` gives the
    one that each would be in, by its path. `notes` tell, a line each, what was left out without being a
    fault, and what was read otherwise than its name says.
    """

    root: Path
    layout: str
    class_set: ClassSet
    splits: dict[str, tuple[Sample, ...]]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = ()
    fault_splits: Mapping[str, str] = field(default_factory=dict)

    def faults_of(self, split: str) -> list[Fault]:
        """The faults of a split, and those of none of train, val and test."""
        elsewhere = set(SPLITS) - {split}
        return [fault for fault in self.faults if self.fault_splits.get(fault.path) not in elsewhere]


def scan(
    root: Path, layout: str = "auto", classes: str | ClassSet = "auto", hold_out: Collection[str] = ()
) -> Catalog:
    """Find the image and label pairs below `root`; the classes `hold_out` are void in them.

    `layout` is "auto" or the name of a layout that has labels. `classes` is "cityscapes" for the classes of
    Cityscapes, to which the layout maps its own; the path of a classes.toml; or "auto" for those that the
    layout brings; or the class set itself.

    Labels without an image are faults; so are images without a label, except in a split other than train and
    val that has no label at all (such as `test` or `train_extra` without annotations): such a split is left
    out.

    Raises DataError when there is nothing to train on: no such folder, another layout, no pair at all, or
    a class set that cannot be read or lacks a class that is to be held out.
    """
    root = Path(root)
    refuse_no_folder(root)
    chosen = layout_of(root, layout)
    class_set = _class_set(root, chosen, classes)
    found, split_of = _find(root, chosen)
    if found.train_ids and classes in ("auto", "cityscapes"):
        class_set = class_set.as_train_ids()
    images, labels = found.images, found.labels
    if labels is None:
        raise DataError(f"{root}: the layout {chosen.name} gives no labels, which are needed here")
    splits, faults, notes = _pair(root, images, labels, split_of, chosen.decoder)
    faults = sorted([*found.faults, *faults], key=lambda fault: (fault.path, fault.kind))
    if not splits:
        raise DataError(_nothing_found(root, images, labels))
    try:
        class_set = class_set.without(hold_out)
    except ClassSetError as error:
        means_cityscapes = classes == "auto" and chosen.is_mapped and set(hold_out) <= set(CITYSCAPES.names)
        raise DataError(f"data.hold_out: {error}{MAPPING if means_cityscapes else ''}") from error
    if classes == "cityscapes":
        notes = [*chosen.mapping_notes(root), *notes]
    places = {fault.path: _split_of_file(fault.path, found, split_of) for fault in faults}
    return Catalog(root, chosen.name, class_set, splits, tuple(faults), tuple(notes), places)


def scan_images(root: Path, layout: str = "auto") -> Catalog:
    """Find the images below `root`, whether they have labels or not; no sample has one in the result.

    `layout` is "auto" or the name of a layout. Of a data set with labels the images are taken, with names and
    splits as `scan` has them. Of any other folder ("images") every image counts, however deep, in one split,
    "train", and its name is its path below `root`, suffix included.

    Raises DataError when no such folder or no image in it.
    """
    root = Path(root)
    refuse_no_folder(root)
    chosen = layout_of(root, layout, labels=False)
    found, split_of = _find(root, chosen)
    images = found.images
    if not images.named:
        raise DataError(
            _first(found.faults, root) or f"{root}: has no images; looked for {images.pattern or 'some'}"
        )
    splits: dict[str, list[Sample]] = {}
    for name in sorted(images.named):
        splits.setdefault(split_of(name), []).append(Sample(name, root / images.named[name], None))
    samples = {split: tuple(of_split) for split, of_split in splits.items()}
    notes = [*images.notes, *_unused_splits(samples, images)]
    return Catalog(root, chosen.name, UNLABELLED, samples, tuple(found.faults), tuple(notes))


def _class_set(root: Path, layout: Layout, classes: str | ClassSet) -> ClassSet:
    if isinstance(classes, ClassSet):
        return classes
    if classes == "auto":
        with errors_of_plugins(DataError):
            return layout.class_set(root)
    if classes == "cityscapes":
        with errors_of_plugins(DataError):
            return layout.cityscapes_classes(root)
    path = Path(classes)
    if not path.exists() and not path.is_symlink():
        what = "a class set is cityscapes or a TOML file that names the classes and label values"
        raise DataError(f"{path}: there is no such file; {what}")
    try:
        return load_class_set(path)
    except ClassSetError as error:
        raise DataError(str(error)) from error


def _find(root: Path, layout: Layout) -> tuple[Found, Callable[[str], str]]:
    """What a layout finds, each name once, with all faults among its own; and the split of a name."""
    with errors_of_plugins(DataError):
        found = layout.find(root)
        images, labels = found.images, found.labels
        for side in (images, labels):
            if side is not None:
                found.faults += side.faults
        twice = images.twice | (labels.twice if labels is not None else {})
        for name, (first, second) in sorted(twice.items()):
            # Which of the two is meant nobody knows: the sample is left out whole.
            problem = f"has the same name as {shown(first)}; a label belongs to one image"
            found.faults.append(Fault("duplicate", shown(second), problem))
            for side in (images, labels):
                if side is not None:
                    side.named.pop(name, None)
        refuse_nested(root, found)
        split_of = splits_of(root, found)
        of_name = {name: split_of(name) for name in images.named}
    return found, lambda name: of_name[name] if name in of_name else split_of(name)


def _split_of_file(path: str, found: Found, split_of: Callable[[str], str]) -> str:
    """The split of a file that is a fault; "" where it has none."""
    for side in (found.images, found.labels):
        if side is not None and (name := side.name_of(path)):
            with suppress(LookupError):  # a layout's rule may know nothing but its images
                return split_of(name)
    return ""


def _pair(
    root: Path, images: Side, labels: Side, split_of: Callable[[str], str], decoder: str
) -> tuple[dict[str, tuple[Sample, ...]], list[Fault], list[str]]:
    """Samples by split, faults, notes."""
    labelled_splits = {split_of(name) for name in images.named if name in labels.named} | {"train", "val"}
    splits: dict[str, list[Sample]] = {}
    unlabelled: dict[str, int] = {}
    faults: list[Fault] = []
    for name in sorted(images.named):
        split = split_of(name)
        if name in labels.named:
            sample = Sample(name, root / images.named[name], root / labels.named[name], decoder)
            splits.setdefault(split, []).append(sample)
        elif split in labelled_splits:
            why = labels.why_missing(name, images.named)
            problem = f"has no label; {why or f'{labels.path_of(name)} is missing'}"
            faults.append(Fault("missing_label", images.named[name], problem))
        else:
            unlabelled[split] = unlabelled.get(split, 0) + 1
    for name in sorted(labels.named.keys() - images.named.keys()):
        why = images.why_missing(name, labels.named)
        problem = f"has no image; {why or f'{images.path_of(name)} is missing'}"
        faults.append(Fault("missing_image", labels.named[name], problem))
    samples = {split: tuple(found) for split, found in splits.items()}
    notes = images.notes + labels.notes + _unused_splits(samples, images)
    notes += [
        f"{images.part(split)}: has no labels; its {counted(count, 'image')} left out"
        for split, count in sorted(unlabelled.items())
    ]
    return samples, faults, notes


def _unused_splits(splits: Mapping[str, tuple[Sample, ...]], images: Side) -> list[str]:
    return [
        f"{images.part(split)}: is not a split ({', '.join(SPLITS)} are); "
        f"its {counted(len(samples), 'image')} take no part"
        for split, samples in sorted(splits.items())
        if split not in (*SPLITS, EXTRA)
    ]


def _first(faults: Sequence[Fault], root: Path) -> str:
    return (
        f"{shown(root)}: none of its images is usable; {faults[0].path}: {faults[0].problem}"
        if faults
        else ""
    )


def _nothing_found(root: Path, images: Side, labels: Side) -> str:
    if not images.named:
        return f"{root}: has no images; looked for {images.pattern}"
    if not labels.named:
        return f"{root}: has images ({len(images.named)}) but no labels; looked for {labels.pattern}"
    return (
        f"{root}: has images ({len(images.named)}) and labels ({len(labels.named)}), but none belong "
        f"together; looked for {images.pattern} with {labels.pattern} of the same name"
    )
