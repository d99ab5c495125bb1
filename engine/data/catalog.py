"""Catalogs: which images of a data set belong to which label files, and to which split.

Two layouts are known. **Cityscapes** as it is downloaded (Cordts et al., "The Cityscapes Dataset for
Semantic Urban Scene Understanding", CVPR 2016; file names as in the README of cityscapesScripts):

    leftImg8bit/<split>/<city>/<name>_leftImg8bit.png
    gtFine/<split>/<city>/<name>_gtFine_labelIds.png        or _gtFine_labelTrainIds.png

**Folder**, for any other data set; `train`, `val` and `test` folders are optional, deeper folders allowed:

    classes.toml
    images/[<split>/]<name>.png, .jpg, .jpeg, .bmp or .webp
    labels/[<split>/]<name>.png

The notes of a catalog tell what is left out or read otherwise than its name says. `engine.data.walk` says how
links are followed.

Where labels are not wanted, `scan_images` takes the images of either layout, or of any folder.

No image is opened here: what is inside the files is checked by `engine.data.decode`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.classes import CITYSCAPES, UNLABELLED, ClassSet, ClassSetError, load_class_set
from engine.data.faults import DataError as DataError
from engine.data.faults import Fault as Fault
from engine.data.faults import FaultyData as FaultyData
from engine.data.faults import counted, listed
from engine.data.faults import describe_faults as describe_faults
from engine.data.partners import Side
from engine.data.walk import IMAGE_SUFFIXES, is_image_name, walk
from engine.host.input_files import is_text, shown

LAYOUTS: Mapping[str, tuple[str, str]] = {
    "cityscapes": ("leftImg8bit", "gtFine"),
    "folder": ("images", "labels"),
}
"""The image folder and the label folder of each kind of data set."""

_CITYSCAPES_IMAGE = "_leftImg8bit.png"
_CITYSCAPES_LABEL_IDS = "_gtFine_labelIds.png"
_CITYSCAPES_TRAIN_IDS = "_gtFine_labelTrainIds.png"

_CITYSCAPES_BESIDE = (
    "_gtFine_color.png",
    "_gtFine_instanceIds.png",
    "_gtFine_instanceTrainIds.png",
    "_gtFine_polygons.json",
)
"""What Cityscapes has beside its labels, and nobody misses."""

_SPLITS = ("train", "val", "test")
EXTRA = "train_extra"
"""The split of Cityscapes that has no fine labels: for training without labels, never for validation."""

_MISTAKEN_SPLITS = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "trainingset": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "valset": "val",
    "validset": "val",
    "validationset": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "testset": "test",
}
"""What splits are called elsewhere, in small letters and without what is neither letter nor digit."""


@dataclass(frozen=True)
class Sample:
    """One image with its label file, or without one.

    `name` is the path of the image below the image folder, with "/" and without the suffix, such as
    "train/aachen/aachen_000000_000019"; it is unique in a catalog.
    """

    name: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class Catalog:
    """The pairs of a data set.

    `class_set` is the class set as the label *files* are encoded. `splits` maps "train", "val", ... to its
    samples, sorted by name; a data set without split folders is one split, "train". `faults` are the files
    that have no partner or lie where they cannot be used; they are in no split. `notes` tell, a line
    each, what was left out without being a fault, and what was read otherwise than its name says.
    """

    root: Path
    kind: str
    class_set: ClassSet
    splits: dict[str, tuple[Sample, ...]]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = ()


def scan(
    root: Path, kind: str = "auto", classes: str | ClassSet = "auto", hold_out: Collection[str] = ()
) -> Catalog:
    """Find the image and label pairs below `root`; the classes `hold_out` are void in them.

    `kind` is "auto", "cityscapes" or "folder". `classes` is "cityscapes", the path of a classes.toml, or
    "auto": Cityscapes for the Cityscapes layout, `root`/classes.toml for a folder; or the class set itself.

    Of Cityscapes' two encodings the file *names* decide, never the values: labelIds, or labelTrainIds where
    those cover more of the images. Labels without an image are faults; so are images without a label,
    except in a split other than train and val that has no label at all (such as `test` or `train_extra`
    without annotations): such a split is left out.

    Raises DataError when there is nothing to train on: no such folder, another layout, no pair at all, or
    a class set that cannot be read or lacks a class that is to be held out.
    """
    root = Path(root)
    refuse_no_folder(root)
    kind = _layout_of(root, kind)
    class_set = _class_set(root, kind, classes)

    images, labels, faults, train_ids = (
        _cityscapes_files(root) if kind == "cityscapes" else _folder_files(root)
    )
    if train_ids and classes in ("auto", "cityscapes"):
        class_set = class_set.as_train_ids()
    splits, partner_faults, notes = _pair(root, kind, images, labels)
    faults = sorted([*faults, *partner_faults], key=lambda fault: (fault.path, fault.kind))
    if not splits:
        raise DataError(_nothing_found(root, kind, images.named, labels.named))
    try:
        class_set = class_set.without(hold_out)
    except ClassSetError as error:
        raise DataError(f"data.hold_out: {error}") from error
    return Catalog(root, kind, class_set, splits, tuple(faults), tuple(notes))


def scan_images(root: Path, kind: str = "auto") -> Catalog:
    """Find the images below `root`, whether they have labels or not; no sample has one in the result.

    `kind` is "auto", "cityscapes", "folder" or "images". Of the two layouts the image folder is taken, with
    names and splits as `scan` has them. Of any other folder ("images") every image counts, however deep, in
    one split, "train", and its name is its path below `root`, suffix included.

    Raises DataError when there is no such folder or no image in it.
    """
    root = Path(root)
    refuse_no_folder(root)
    if kind == "auto" and not any(_is_layout(root, name) for name in LAYOUTS):
        kind = "images"
    faults: list[Fault] = []
    split_of: Callable[[str], str] = _all_in_train
    if kind == "images":
        found = walk(root)
        images = Side("", found, {file: file for file in found.files if is_image_name(file)})
        images.notes = [*images.told(), *_not_images(images)]
        faults = images.drop_unstorable()
    else:
        kind = _layout_of(root, kind)
        images, _, faults, _ = _cityscapes_files(root) if kind == "cityscapes" else _folder_files(root)
        split_of = _split_rule(kind, images.named)
    if not images.named:
        raise DataError(
            _first(faults, root) or f"{root}: has no images; looked for {', '.join(IMAGE_SUFFIXES)}"
        )
    splits: dict[str, list[Sample]] = {}
    for name in sorted(images.named):
        splits.setdefault(split_of(name), []).append(Sample(name, root / images.named[name], None))
    samples = {split: tuple(found) for split, found in splits.items()}
    notes = [*images.notes, *_unused_splits(samples, images.folder)]
    return Catalog(root, kind, UNLABELLED, samples, tuple(faults), tuple(notes))


# --- Which layout ------------------------------------------------------------------------------


def refuse_no_folder(root: Path) -> None:
    """Raises DataError unless `root` is a folder whose path can be kept in a config."""
    if not is_text(str(root.absolute())):
        raise DataError(f"{shown(root.absolute())}: its path is no UTF-8, which a config needs; rename it")
    if not root.exists():
        raise DataError(f"{root}: there is no such folder")
    if not root.is_dir():
        raise DataError(f"{root}: is a file; a data set is a folder (unpack an archive first)")


def _layout_of(root: Path, kind: str) -> str:
    if kind not in ("auto", *LAYOUTS):
        raise DataError(f"unknown kind of data set {kind!r}: use auto, {' or '.join(LAYOUTS)}")
    wanted = list(LAYOUTS) if kind == "auto" else [kind]
    found = [name for name in wanted if _is_layout(root, name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{root}: holds both layouts, leftImg8bit/ and images/; choose cityscapes or folder")

    looked_for = " or ".join(" and ".join(f"{folder}/" for folder in LAYOUTS[name]) for name in wanted)
    entries = [entry.name + "/" * entry.is_dir() for entry in _visible(root)]
    there = ", ".join(entries[:6]) + (f" and {len(entries) - 6} more" if len(entries) > 6 else "")
    raise DataError(
        f"{root}: is no data set: looked for {looked_for}, found {there or 'nothing'}{_hint(root, wanted)}"
    )


def _is_layout(folder: Path, kind: str) -> bool:
    return all((folder / part).is_dir() for part in LAYOUTS[kind])


def _hint(root: Path, kinds: Sequence[str]) -> str:
    """Name the folder that was probably meant: up to three levels above `root` or two below it."""
    here = Path(os.path.abspath(root))
    children = [entry for entry in _visible(here) if entry.is_dir()][:50]
    grandchildren = [entry for child in children for entry in _visible(child)[:50] if entry.is_dir()]
    near = [*list(here.parents)[:3], *children, *grandchildren]
    meant = [str(folder) for folder in near if any(_is_layout(folder, kind) for kind in kinds)]
    if meant:
        return f"; did you mean {' or '.join(meant[:3])}?"
    for kind in kinds:
        # The two Cityscapes archives, each unpacked into a folder of its own.
        halves = [[f for f in [here, *children] if (f / part).is_dir()] for part in LAYOUTS[kind]]
        if all(halves):
            image_folder, label_folder = LAYOUTS[kind]
            return (
                f"; {image_folder}/ is in {halves[0][0]} and {label_folder}/ in {halves[1][0]}: "
                "move both into one folder"
            )
    return ""


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error


def _class_set(root: Path, kind: str, classes: str | ClassSet) -> ClassSet:
    if isinstance(classes, ClassSet):
        return classes
    if classes == "cityscapes" or (classes == "auto" and kind == "cityscapes"):
        return CITYSCAPES
    path = root / "classes.toml" if classes == "auto" else Path(classes)
    if not path.exists() and not path.is_symlink():
        wanted = "this layout needs one" if classes == "auto" else "a class set is cityscapes or a TOML file"
        raise DataError(f"{path}: there is no such file; {wanted} that names the classes and label values")
    try:
        return load_class_set(path)
    except ClassSetError as error:
        raise DataError(str(error)) from error


# --- Which files -------------------------------------------------------------------------------


def _cityscapes_files(root: Path) -> tuple[Side, Side, list[Fault], bool]:
    """Images, labels, faults, and whether the labels are train ids."""
    image_folder, label_folder = LAYOUTS["cityscapes"]
    found_images, found_labels = walk(root / image_folder), walk(root / label_folder)
    images = Side(image_folder, found_images, _named(image_folder, found_images.files, _CITYSCAPES_IMAGE))
    label_ids = _named(label_folder, found_labels.files, _CITYSCAPES_LABEL_IDS)
    train_ids = _named(label_folder, found_labels.files, _CITYSCAPES_TRAIN_IDS)
    _refuse_mistaken_splits(root, images, label_folder)

    use_train_ids = len(images.named.keys() & train_ids.keys()) > len(images.named.keys() & label_ids.keys())
    used, unused = ("labelTrainIds", "labelIds") if use_train_ids else ("labelIds", "labelTrainIds")
    labels = Side(label_folder, found_labels, train_ids if use_train_ids else label_ids)
    others = label_ids if use_train_ids else train_ids
    faults = images.drop_unstorable() + labels.drop_unstorable()
    faults += [
        Fault("missing_label", images.named.pop(name), f"has {unused} only, the rest of the data set {used}")
        for name in sorted((images.named.keys() & others.keys()) - labels.named.keys())
    ]
    for name in [name for name in images.named if "/" not in name]:
        problem = f"lies in no split; {image_folder}/<split>/<city>/ would be right"
        faults.append(Fault("misplaced", images.named.pop(name), problem))
        labels.named.pop(name, None)
    strange = [file for file in found_images.files if not file.endswith(_CITYSCAPES_IMAGE)]
    known = (_CITYSCAPES_LABEL_IDS, _CITYSCAPES_TRAIN_IDS, *_CITYSCAPES_BESIDE)
    odd = [file for file in found_labels.files if not file.endswith(known)]
    images.notes = images.told() + _left_out(image_folder, strange, f"are not called *{_CITYSCAPES_IMAGE}")
    labels.notes = labels.told() + _left_out(label_folder, odd, f"are not called *{_CITYSCAPES_LABEL_IDS}")
    return images, labels, faults, use_train_ids


def _named(folder: str, files: Iterable[str], suffix: str) -> dict[str, str]:
    return {file.removesuffix(suffix): f"{folder}/{file}" for file in files if file.endswith(suffix)}


def _folder_files(root: Path) -> tuple[Side, Side, list[Fault], bool]:
    """Images, labels, faults; the labels are never train ids."""
    image_folder, label_folder = LAYOUTS["folder"]
    images = Side(image_folder, walk(root / image_folder))
    labels = Side(label_folder, walk(root / label_folder))
    twice = images.name_files(IMAGE_SUFFIXES) | labels.name_files((".png",))
    faults = images.drop_unstorable() + labels.drop_unstorable()
    for name, (first, second) in sorted(twice.items()):
        # Which of the two is meant nobody knows: the sample is left out whole.
        problem = f"has the same name as {shown(first)}; a label belongs to one image"
        faults.append(Fault("duplicate", shown(second), problem))
        images.named.pop(name, None)
        labels.named.pop(name, None)
    odd = [file for file in labels.found.files if not file.lower().endswith(".png")]
    images.notes = [*images.told(), *_not_images(images)]
    labels.notes = labels.told() + _left_out(label_folder, odd, "are no PNG, as a label must be")

    _refuse_mistaken_splits(root, images, label_folder)
    tops = images.tops
    if tops.isdisjoint(_SPLITS):
        if tops:
            images.notes.append(
                f"{image_folder}/ has no folder train, val or test: all of it is the training folder, "
                f"with {listed(sorted(tops))}"
            )
        return images, labels, faults, False
    for name in [name for name in images.named if "/" not in name]:
        problem = f"lies in no split, though there are {', '.join(sorted(tops))}; move it into one of them"
        faults.append(Fault("misplaced", images.named.pop(name), problem))
        labels.named.pop(name, None)
    return images, labels, faults, False


def _refuse_mistaken_splits(root: Path, images: Side, label_folder: str) -> None:
    """Raises DataError for a folder that is a split under another name: taken for an ordinary folder it would
    be trained on."""
    for top in sorted(images.tops):
        plain = "".join(letter for letter in top.casefold() if letter.isalnum())
        right = _MISTAKEN_SPLITS.get(plain, "")
        if right and top != right:
            raise DataError(
                f"{shown(root / images.folder / top)}: a split is called {', '.join(_SPLITS)}; "
                f"rename it to {right}, in {label_folder}/ as well"
            )


def _not_images(images: Side) -> list[str]:
    odd = [file for file in images.found.files if not is_image_name(file)]
    return _left_out(images.folder, odd, f"are of no type that is read ({', '.join(IMAGE_SUFFIXES)})")


def _left_out(folder: str, files: Sequence[str], why: str) -> list[str]:
    if not files:
        return []
    top = f"{folder}/" if folder else ""
    return [
        f"{counted(len(files), 'file')} left out, as they {why}: {listed([top + file for file in files])}"
    ]


# --- Pairs -------------------------------------------------------------------------------------


def _pair(
    root: Path, kind: str, images: Side, labels: Side
) -> tuple[dict[str, tuple[Sample, ...]], list[Fault], list[str]]:
    """Samples by split, faults, notes."""
    split_of = _split_rule(kind, images.named)
    labelled_splits = {split_of(name) for name in images.named if name in labels.named} | {"train", "val"}
    splits: dict[str, list[Sample]] = {}
    unlabelled: dict[str, int] = {}
    faults: list[Fault] = []
    for name in sorted(images.named):
        split = split_of(name)
        if name in labels.named:
            sample = Sample(name, root / images.named[name], root / labels.named[name])
            splits.setdefault(split, []).append(sample)
        elif split in labelled_splits:
            suffix = _CITYSCAPES_LABEL_IDS if kind == "cityscapes" else ".png"
            why = labels.why_missing(name, images.named, "a label must be a PNG")
            problem = f"has no label; {why or f'{labels.folder}/{name}{suffix} is missing'}"
            faults.append(Fault("missing_label", images.named[name], problem))
        else:
            unlabelled[split] = unlabelled.get(split, 0) + 1
    read = f"an image must end in {', '.join(IMAGE_SUFFIXES)}"
    for name in sorted(labels.named.keys() - images.named.keys()):
        suffix = _CITYSCAPES_IMAGE if kind == "cityscapes" else ".*"
        why = images.why_missing(name, labels.named, read)
        problem = f"has no image; {why or f'{images.folder}/{name}{suffix} is missing'}"
        faults.append(Fault("missing_image", labels.named[name], problem))
    samples = {split: tuple(found) for split, found in splits.items()}
    notes = images.notes + labels.notes + _unused_splits(samples, images.folder)
    notes += [
        f"{images.folder}/{split}: has no labels; its {counted(count, 'image')} left out"
        for split, count in sorted(unlabelled.items())
    ]
    return samples, faults, notes


def _unused_splits(splits: Mapping[str, tuple[Sample, ...]], folder: str) -> list[str]:
    return [
        f"{folder}/{split}: is no split ({', '.join(_SPLITS)} are); its {counted(len(samples), 'image')} "
        "take no part"
        for split, samples in sorted(splits.items())
        if split not in (*_SPLITS, EXTRA)
    ]


def _split_rule(kind: str, images: Iterable[str]) -> Callable[[str], str]:
    """Which split an image belongs to, by its name: its first folder, where there are split folders."""
    tops = {name.split("/", 1)[0] for name in images if "/" in name}
    if kind == "cityscapes" or not tops.isdisjoint(_SPLITS):
        return lambda name: name.split("/", 1)[0]
    return _all_in_train


def _all_in_train(name: str) -> str:
    return "train"


def _first(faults: Sequence[Fault], root: Path) -> str:
    return (
        f"{shown(root)}: none of its images can be used; {faults[0].path}: {faults[0].problem}"
        if faults
        else ""
    )


def _nothing_found(root: Path, kind: str, images: Mapping[str, str], labels: Mapping[str, str]) -> str:
    image_folder, label_folder = LAYOUTS[kind]
    if kind == "cityscapes":
        wanted_image = f"{image_folder}/<split>/<city>/*{_CITYSCAPES_IMAGE}"
        wanted_label = f"{label_folder}/<split>/<city>/*{_CITYSCAPES_LABEL_IDS}"
    else:
        wanted_image = f"{image_folder}/<name>{', '.join(IMAGE_SUFFIXES[:-1])} or {IMAGE_SUFFIXES[-1]}"
        wanted_label = f"{label_folder}/<name>.png"
    if not images:
        return f"{root}: has no images; looked for {wanted_image}"
    if not labels:
        return f"{root}: has images ({len(images)}) but no labels; looked for {wanted_label}"
    return (
        f"{root}: has images ({len(images)}) and labels ({len(labels)}), but none belong together; "
        f"looked for {wanted_image} with {wanted_label} of the same name"
    )
