"""Pascal VOC (Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective", IJCV 2015),
the folder VOC2012 of its archive; and with the labels of SBD (Hariharan et al. 2011) as they are shared.

    JPEGImages/NAME.jpg      SegmentationClass/NAME.png        ImageSets/Segmentation/train.txt, val.txt
                             SegmentationClassAug/NAME.png     ImageSets/Segmentation/trainaug.txt, val.txt

Labels are palette files: 0 is the background, a class of its own, and 255 the border between objects.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from engine.classes import ClassInfo, ClassSet, Color
from engine.data.faults import DataError, Fault, counted
from engine.data.layouts import Found, Layout, register, side
from engine.host.input_files import InputFileError, read_regular, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
_BORDER = 255
_LISTS = "ImageSets/Segmentation"


@register
class Voc(Layout):
    """Pascal VOC: JPEGImages/, SegmentationClass/ and the lists of ImageSets/Segmentation/."""

    name = "voc"
    folders = ("JPEGImages", "SegmentationClass")
    lists: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("train",), "val": ("val",), "test": ("test",)}

    def find(self, root: Path) -> Found:
        split_of = self._split_of(root)
        known: Callable[[str], str] = lambda name: name if name in split_of else ""  # noqa: E731
        images = side(root, self.folders[0], ".jpg", named=known)
        labels = side(root, self.folders[1], ".png", named=known)
        images.places = {"test": self._list(root, "test")}
        faults = [
            Fault("missing_image", images.path_of(name), f"is in {self._list(root, split)} and is missing")
            for name, split in sorted(split_of.items())
            if name not in images.named and name not in labels.named and split != "test"
        ]
        for files in (images, labels):
            ending = files.ending
            unlisted = sum(file.lower().endswith(ending) for file in files.found.files) - len(files.named)
            if unlisted:
                what = f"{counted(unlisted, 'file')} of {files.folder}/ left out"
                files.notes.append(f"{what}, as the lists in {_LISTS}/ do not name them")
        return Found(images, labels, lambda name: split_of[name], faults=faults)

    def class_set(self, root: Path) -> ClassSet:
        classes = (ClassInfo(name, voc_color(i), (i,)) for i, name in enumerate(_NAMES))
        return ClassSet("voc", tuple(classes), frozenset({_BORDER}))

    def cityscapes_classes(self, root: Path) -> ClassSet:
        raise DataError(
            f"{shown(root)}: no table from the classes of Pascal VOC to those of Cityscapes is published: "
            "its persons are both persons and riders there, and its background is most of a street"
        )

    def read_labels(self, path: Path) -> NDArray[np.uint8]:
        from engine.data.image_files import read_ids_or_colors

        ids = (*range(len(_NAMES)), _BORDER)
        names = {**dict(enumerate(_NAMES)), _BORDER: "border"}
        return read_ids_or_colors(path, {voc_color(i): i for i in ids}, names)

    def _list(self, root: Path, split: str) -> str:
        """The list of a split: the first that is there, by whichever of its names."""
        places = [f"{_LISTS}/{name}.txt" for name in self.lists[split]]
        return next((place for place in places if (root / place).exists()), places[0])

    def _split_of(self, root: Path) -> dict[str, str]:
        """The split of every name in the lists. Raises DataError."""
        found: dict[str, str] = {}
        for split in self.lists:
            path = root / self._list(root, split)
            if split == "test" and not path.exists():
                continue  # it has no labels that one could have
            try:
                lines = read_regular(path).decode("utf-8-sig", "surrogateescape").splitlines()
            except InputFileError as error:
                raise DataError(f"{error}; it lists the images of the split {split}, one a line") from error
            for word in (line.split()[0] for line in lines if line.strip()):
                # DeepLab's lists have paths: /JPEGImages/NAME.jpg /SegmentationClassAug/NAME.png
                name = PurePosixPath(word).stem if "/" in word else word
                if found.setdefault(name, split) != split:
                    other = self._list(root, found[name])
                    raise DataError(f"{shown(path)}: {shown(name)} is in {other} as well; it can be in one")
        return found


@register
class VocAug(Voc):
    """Pascal VOC with SBD's training labels: JPEGImages/, SegmentationClassAug/ and trainaug.txt."""

    name = "voc_aug"
    folders = ("JPEGImages", "SegmentationClassAug")
    lists: ClassVar = {**Voc.lists, "train": ("trainaug", "train_aug")}


def voc_color(value: int) -> Color:
    """VOC's colour of a label: its bits, three at a time, go to red, green and blue from the highest down."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (value >> (3 * place + channel) & 1) << (7 - place)
    return channels[0], channels[1], channels[2]
