"""Which split an image belongs to, where the folder at the top of its name says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.data.faults import DataError, Fault, listed
from engine.data.layouts import Found, by_folder
from engine.data.partners import Side
from engine.host.input_files import shown

SPLITS = ("train", "val", "test")

_MISTAKEN = {
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


def splits_of(root: Path, found: Found) -> Callable[[str], str]:
    """The split of a name: what the layout says, or what the folders at the top say.

    Files that lie beside those folders become faults of `found`. Raises DataError for a folder that is a
    split under another name.
    """
    if found.split_of is not None:
        return found.split_of
    images, labels = found.images, found.labels
    refuse_mistaken_splits(root, images, labels.folder if labels is not None else "")
    tops = images.tops
    if tops.isdisjoint(SPLITS):
        if tops:
            images.notes.append(
                f"{images.folder}/ has no folder train, val or test: all of it is the training folder, "
                f"with {listed(sorted(tops))}"
            )
        return lambda name: "train"
    problem = f"is in no split, though there are {', '.join(sorted(tops))}; move it into one of them"
    for name in [name for name in images.named if "/" not in name]:
        found.faults.append(Fault("misplaced", images.named.pop(name), problem))
        if labels is not None:
            labels.named.pop(name, None)
    return by_folder({})


def refuse_nested(root: Path, found: Found) -> None:
    """Raises DataError where no image has a label, as all files of a folder lie in another one of its name,
    which is how some archives unpack."""
    if found.labels is None or found.images.named.keys() & found.labels.named.keys():
        return
    for side in (found.images, found.labels):
        for folder in [side.folder] if side.folder else side.places.values():
            inner = f"{folder}/{folder.rsplit('/', 1)[-1]}"
            paths = [path for path in side.named.values() if path.startswith(f"{folder}/")]
            if paths and all(path.startswith(f"{inner}/") for path in paths):
                raise DataError(
                    f"{shown(root / inner)}: all files of {folder}/ lie one level too deep; "
                    f"move what is in {inner}/ up into {folder}/"
                )


def refuse_mistaken_splits(root: Path, images: Side, label_folder: str) -> None:
    """Raises DataError for a folder that is a split under another name: taken for an ordinary folder it would
    be trained on."""
    for top in sorted(images.tops):
        plain = "".join(letter for letter in top.casefold() if letter.isalnum())
        right = _MISTAKEN.get(plain, "")
        if right and top != right:
            also = f", in {label_folder}/ as well" if label_folder else ""
            raise DataError(
                f"{shown(root / images.folder / top)}: a split is called {', '.join(SPLITS)}; "
                f"rename it to {right}{also}"
            )
