"""GTA5 (Richter et al., "Playing for Data: Ground Truth from Computer Games", ECCV 2016).

    images/00001.png        labels/00001.png        split.mat

Labels are palette files that hold the ids of Cityscapes, and 34 for licence plates; some tools save them
as RGB in the colours of Cityscapes. split.mat is the authors' split; without it all images train.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from engine.classes import CITYSCAPES, ClassSet
from engine.data.faults import DataError
from engine.data.layouts import OWN_CLASSES, Found, Layout, but_train_ids, register, side
from engine.data.layouts.tables import color_of
from engine.host.input_files import InputFileError, read_regular, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLIT_FILE = "split.mat"
_UNLISTED = "unlisted"
_PLATE = 34
_VOID_COLORS = (
    *("000000", "6f4a00", "510051", "faaaa0", "e6968c", "b4a5b4", "966464", "96785a", "00005a", "00006e"),
    "141414",
)


@register
class Gta5(Layout):
    """GTA5: images/, labels/ and split.mat."""

    name = "gta5"
    folders = ("images", "labels")
    refines = "folder"

    @property
    def looks_for(self) -> str:
        return f"{super().looks_for} and {SPLIT_FILE}"

    def claims(self, root: Path) -> bool:
        return (root / SPLIT_FILE).is_file() and not (root / OWN_CLASSES).exists()

    def find(self, root: Path) -> Found:
        images, labels = side(root, "images", ".png"), side(root, "labels", ".png", named=but_train_ids)
        images.places = {_UNLISTED: f"images in no list of {SPLIT_FILE}"}
        return Found(images, labels, _split(root, images.notes))

    def class_set(self, root: Path) -> ClassSet:
        return replace(CITYSCAPES, name="gta5", void_ids=CITYSCAPES.void_ids | {_PLATE})

    def cityscapes_classes(self, root: Path) -> ClassSet:
        return self.class_set(root)

    def read_labels(self, path: Path) -> NDArray[np.uint8]:
        from engine.data.image_files import read_ids_or_colors

        colors = {c.color: c.ids[0] for c in CITYSCAPES.classes}
        void = {color_of(text): 0 for text in _VOID_COLORS}
        return read_ids_or_colors(path, {**void, **colors}, {c.ids[0]: c.name for c in CITYSCAPES.classes})


def _split(root: Path, notes: list[str]) -> Callable[[str], str]:
    """The split of a name by the authors' file; images are numbered from 1. Raises DataError."""
    path = root / SPLIT_FILE
    if not path.is_file():
        notes.append(f"there is no {SPLIT_FILE}, the authors' split: all images train")
        return lambda name: "train"
    from scipy.io import loadmat

    try:
        table = loadmat(BytesIO(read_regular(path)))
        numbers = {split: table[f"{split}Ids"].ravel().astype(int) for split in ("train", "val", "test")}
    except InputFileError as error:
        raise DataError(str(error)) from error
    except Exception as error:  # SciPy raises whatever a broken file leads to
        told = "is not the authors' split, a MATLAB file with trainIds, valIds and testIds"
        raise DataError(f"{shown(path)}: {told}; without the file all images train") from error
    split_of = {i: split for split, of in numbers.items() for i in of.tolist()}
    return lambda name: split_of.get(int(name), _UNLISTED) if name.isdecimal() else _UNLISTED
