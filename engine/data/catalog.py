"""Catalogs: which images of a data set belong to which label files, and to which split.

Two layouts are known. **Cityscapes** as it is downloaded (Cordts et al., "The Cityscapes Dataset for
Semantic Urban Scene Understanding", CVPR 2016; file names as in the README of cityscapesScripts):

    leftImg8bit/<split>/<city>/<name>_leftImg8bit.png
    gtFine/<split>/<city>/<name>_gtFine_labelIds.png        or _gtFine_labelTrainIds.png

**Folder**, for any other data set; `train`, `val` and `test` folders are optional, deeper folders allowed:

    classes.toml
    images/[<split>/]<name>.png, .jpg, .jpeg or .bmp
    labels/[<split>/]<name>.png

Where labels are not wanted, `scan_images` takes the images of either layout, or of any folder.

No image is opened here: what is inside the files is checked by `engine.data.decode`.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.classes import CITYSCAPES, UNLABELLED, ClassSet, ClassSetError, load_class_set

LAYOUTS: Mapping[str, tuple[str, str]] = {
    "cityscapes": ("leftImg8bit", "gtFine"),
    "folder": ("images", "labels"),
}
"""The image folder and the label folder of each kind of data set."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

_CITYSCAPES_IMAGE = "_leftImg8bit.png"
_CITYSCAPES_LABEL_IDS = "_gtFine_labelIds.png"
_CITYSCAPES_TRAIN_IDS = "_gtFine_labelTrainIds.png"

_SPLITS = ("train", "val", "test")
_MISTAKEN_SPLITS = {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}


class DataError(Exception):
    """Data that cannot be used; the message is one line a person can act on."""


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
class Fault:
    """One thing that is wrong with one file of a data set.

    `kind` is `missing_label`, `missing_image`, `duplicate` or `misplaced` (found by `scan`), or
    `unreadable`, `format`, `size` or `label_value` (found when the file is opened); `path` is relative to
    the root of the data set; `problem` is one line: what is wrong and what would be right.
    """

    kind: str
    path: str
    problem: str


@dataclass(frozen=True)
class Catalog:
    """The pairs of a data set.

    `class_set` is the class set as the label *files* are encoded. `splits` maps "train", "val", ... to its
    samples, sorted by name; a data set without split folders is one split, "train". `faults` are the files
    that have no partner or lie where they cannot be used; they are in no split.
    """

    root: Path
    kind: str
    class_set: ClassSet
    splits: dict[str, tuple[Sample, ...]]
    faults: tuple[Fault, ...]


def scan(root: Path, kind: str = "auto", classes: str = "auto", hold_out: Collection[str] = ()) -> Catalog:
    """Find the image and label pairs below `root`; the classes `hold_out` are void in them.

    `kind` is "auto", "cityscapes" or "folder". `classes` is "cityscapes", the path of a classes.toml, or
    "auto": Cityscapes for the Cityscapes layout, `root`/classes.toml for a folder.

    Of Cityscapes' two encodings the file *names* decide, never the values: labelIds, or labelTrainIds where
    those cover more of the images. Labels without an image are faults; so are images without a label,
    except in a split other than train and val that has no label at all (such as `test` or `train_extra`
    without annotations): such a split is left out.

    Raises DataError when there is nothing to train on: no such folder, another layout, no pair at all, or
    a class set that cannot be read or lacks a class that is to be held out.
    """
    root = Path(root)
    _refuse_no_folder(root)
    kind = _layout_of(root, kind)
    class_set = _class_set(root, kind, classes)

    if kind == "cityscapes":
        images, labels, train_ids, faults = _cityscapes_files(root)
        if train_ids and classes in ("auto", "cityscapes"):
            class_set = class_set.as_train_ids()
    else:
        images, labels, faults = _folder_files(root)
    splits, partner_faults = _pair(root, kind, images, labels)
    faults = sorted([*faults, *partner_faults], key=lambda fault: (fault.path, fault.kind))
    if not splits:
        raise DataError(_nothing_found(root, kind, images, labels))
    try:
        class_set = class_set.without(hold_out)
    except ClassSetError as error:
        raise DataError(f"data.hold_out: {error}") from error
    return Catalog(root, kind, class_set, splits, tuple(faults))


def scan_images(root: Path, kind: str = "auto") -> Catalog:
    """Find the images below `root`, whether they have labels or not; no sample has one in the result.

    `kind` is "auto", "cityscapes", "folder" or "images". Of the two layouts the image folder is taken, with
    names and splits as `scan` has them. Of any other folder ("images") every image counts, however deep, in
    one split, "train", and its name is its path below `root`, suffix included.

    Raises DataError when there is no such folder or no image in it.
    """
    root = Path(root)
    _refuse_no_folder(root)
    if kind == "auto" and not any(_is_layout(root, name) for name in LAYOUTS):
        kind = "images"
    faults: list[Fault] = []
    split_of: Callable[[str], str] = _all_in_train
    if kind == "images":
        images = {file: file for file in _files_below(root) if file.lower().endswith(IMAGE_SUFFIXES)}
    else:
        kind = _layout_of(root, kind)
        if kind == "cityscapes":
            folder = LAYOUTS[kind][0]
            images = _named(folder, _files_below(root / folder), _CITYSCAPES_IMAGE)
        else:
            images, _, faults = _folder_files(root)
        split_of = _split_rule(kind, images)
    if not images:
        raise DataError(f"{root}: has no images; looked for {', '.join(IMAGE_SUFFIXES)}")
    splits: dict[str, list[Sample]] = {}
    for name in sorted(images):
        splits.setdefault(split_of(name), []).append(Sample(name, root / images[name], None))
    samples = {split: tuple(found) for split, found in splits.items()}
    return Catalog(root, kind, UNLABELLED, samples, tuple(faults))


def describe_faults(faults: Sequence[Fault], root: Path, shown: int = 10) -> str:
    """Several lines for a person: how many faults of each kind, the first `shown` of them, what to do.

    Returns "" when there are no faults.
    """
    if not faults:
        return ""
    counts = Counter(fault.kind for fault in faults)
    summary = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.most_common())
    lines = [f"{root}: {len(faults)} {'fault' if len(faults) == 1 else 'faults'}: {summary}"]
    lines += [f"  {fault.path}: {fault.problem}" for fault in faults[:shown]]
    if len(faults) > shown:
        lines.append(f"  and {len(faults) - shown} more")
    command = f"seg-engine data check {shlex.quote(str(root))}"
    lines.append(f"`{command}` shows all of them; --skip-bad goes on without these samples")
    return "\n".join(lines)


# --- Which layout ------------------------------------------------------------------------------


def _refuse_no_folder(root: Path) -> None:
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


def _class_set(root: Path, kind: str, classes: str) -> ClassSet:
    if classes == "cityscapes" or (classes == "auto" and kind == "cityscapes"):
        return CITYSCAPES
    path = root / "classes.toml" if classes == "auto" else Path(classes)
    if not path.is_file():
        wanted = "this layout needs one" if classes == "auto" else "a class set is cityscapes or a TOML file"
        raise DataError(f"{path}: there is no such file; {wanted} that names the classes and label values")
    try:
        return load_class_set(path)
    except ClassSetError as error:
        raise DataError(str(error)) from error


# --- Which files -------------------------------------------------------------------------------


def _files_below(folder: Path) -> Iterator[str]:
    """Paths of all files below `folder`, relative to it, with "/"; hidden files and folders left out.

    Links are followed, as data sets are often linked together from several disks; a link that leads back
    to a folder already seen is not.
    """
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error

    for here, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        prefix = os.path.relpath(here, folder).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        yield from (prefix + name for name in sorted(files) if not name.startswith("."))


def _cityscapes_files(root: Path) -> tuple[dict[str, str], dict[str, str], bool, list[Fault]]:
    """Images and labels (each name -> path relative to `root`), whether these are train ids, faults."""
    image_folder, label_folder = LAYOUTS["cityscapes"]
    images = _named(image_folder, _files_below(root / image_folder), _CITYSCAPES_IMAGE)
    label_files = list(_files_below(root / label_folder))
    label_ids = _named(label_folder, label_files, _CITYSCAPES_LABEL_IDS)
    train_ids = _named(label_folder, label_files, _CITYSCAPES_TRAIN_IDS)

    use_train_ids = len(images.keys() & train_ids.keys()) > len(images.keys() & label_ids.keys())
    labels, others = (train_ids, label_ids) if use_train_ids else (label_ids, train_ids)
    used, unused = ("labelTrainIds", "labelIds") if use_train_ids else ("labelIds", "labelTrainIds")
    faults = [
        Fault("missing_label", images.pop(name), f"has {unused} only, the rest of the data set {used}")
        for name in sorted((images.keys() & others.keys()) - labels.keys())
    ]
    for name in [name for name in images if "/" not in name]:
        problem = f"lies in no split; {image_folder}/<split>/<city>/ would be right"
        faults.append(Fault("misplaced", images.pop(name), problem))
        labels.pop(name, None)
    return images, labels, use_train_ids, faults


def _named(folder: str, files: Iterable[str], suffix: str) -> dict[str, str]:
    return {file.removesuffix(suffix): f"{folder}/{file}" for file in files if file.endswith(suffix)}


def _folder_files(root: Path) -> tuple[dict[str, str], dict[str, str], list[Fault]]:
    """Images and labels, each as name -> path relative to `root`; faults."""
    image_folder, label_folder = LAYOUTS["folder"]
    images: dict[str, str] = {}
    faults: list[Fault] = []
    for file in _files_below(root / image_folder):
        name, suffix = os.path.splitext(file)
        if suffix.lower() not in IMAGE_SUFFIXES:
            continue
        path = f"{image_folder}/{file}"
        if name in images:
            problem = f"has the same name as {images[name]}; a label belongs to one image"
            faults.append(Fault("duplicate", path, problem))
        else:
            images[name] = path
    labels: dict[str, str] = {}
    for file in _files_below(root / label_folder):
        name, suffix = os.path.splitext(file)
        if suffix.lower() == ".png":
            labels[name] = f"{label_folder}/{file}"

    tops = {name.split("/", 1)[0] for name in images if "/" in name}
    for top in sorted(tops):
        # Taken as an ordinary folder, it would be trained on.
        if top.lower() in _MISTAKEN_SPLITS:
            right = _MISTAKEN_SPLITS[top.lower()]
            raise DataError(
                f"{root / image_folder / top}: a split is called {', '.join(_SPLITS)}; "
                f"rename it to {right}, in {label_folder}/ as well"
            )
    if tops.isdisjoint(_SPLITS):
        return images, labels, faults
    for name in [name for name in images if "/" not in name]:
        problem = f"lies in no split, though there are {', '.join(sorted(tops))}; move it into one of them"
        faults.append(Fault("misplaced", images.pop(name), problem))
        labels.pop(name, None)
    return images, labels, faults


# --- Pairs -------------------------------------------------------------------------------------


def _pair(
    root: Path, kind: str, images: Mapping[str, str], labels: Mapping[str, str]
) -> tuple[dict[str, tuple[Sample, ...]], list[Fault]]:
    image_folder, label_folder = LAYOUTS[kind]
    split_of = _split_rule(kind, images)
    labelled_splits = {split_of(name) for name in images if name in labels} | {"train", "val"}
    splits: dict[str, list[Sample]] = {}
    faults: list[Fault] = []
    for name in sorted(images):
        if name in labels:
            sample = Sample(name, root / images[name], root / labels[name])
            splits.setdefault(split_of(name), []).append(sample)
        elif split_of(name) in labelled_splits:
            suffix = _CITYSCAPES_LABEL_IDS if kind == "cityscapes" else ".png"
            problem = f"has no label; {label_folder}/{name}{suffix} is missing"
            faults.append(Fault("missing_label", images[name], problem))
    for name in sorted(labels.keys() - images.keys()):
        suffix = _CITYSCAPES_IMAGE if kind == "cityscapes" else ".*"
        problem = f"has no image; {image_folder}/{name}{suffix} is missing"
        faults.append(Fault("missing_image", labels[name], problem))
    return {split: tuple(samples) for split, samples in splits.items()}, faults


def _split_rule(kind: str, images: Iterable[str]) -> Callable[[str], str]:
    """Which split an image belongs to, by its name: its first folder, where there are split folders."""
    tops = {name.split("/", 1)[0] for name in images if "/" in name}
    if kind == "cityscapes" or not tops.isdisjoint(_SPLITS):
        return lambda name: name.split("/", 1)[0]
    return _all_in_train


def _all_in_train(name: str) -> str:
    return "train"


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
