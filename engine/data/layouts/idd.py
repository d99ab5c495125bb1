"""IDD (Varma et al., "IDD: A Dataset for Exploring Problems of Autonomous Navigation in Unconstrained
Environments", WACV 2019), its segmentation in two parts.

    leftImg8bit/<split>/<drive>/NAME_leftImg8bit.png or .jpg
    gtFine/<split>/<drive>/NAME_gtFine_polygons.json

The archives have polygons. The authors' tool makes label images of them beside the polygons, in one of
several encodings. Read are labelids (40 ids), labellevel3Ids (26 classes) and labelcsTrainIds (19 classes).
The table is that of helpers/anue_labels.py in github.com/AutoNUE/public-code.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from engine.classes import CITYSCAPES, VOID, ClassInfo, ClassSet
from engine.data.faults import DataError
from engine.data.layouts import Found, Layout, Side, by_folder, register
from engine.data.layouts.tables import color_of
from engine.data.walk import walk
from engine.host.input_files import shown

IMAGES, LABELS = "leftImg8bit", "gtFine"
_POLYGONS = "_gtFine_polygons.json"
_ENDINGS = {
    "id": ("_gtFine_labelids.png",),
    "level3Id": ("_gtFine_labellevel3Ids.png", "_gtFine_labelLevel3Ids.png"),
    "csTrainId": ("_gtFine_labelcsTrainIds.png",),
}
_BESIDE = (
    *(_POLYGONS, "_gtFine_labelColors.png", "_gtFine_instanceids.png", "_gtFine_instancelevel3Ids.png"),
    *("_gtFine_instancecsTrainIds.png", "_gtFine_panopticlevel3Ids.png"),
)
_TOOL = "python preperation/createLabels.py --datadir {} --id-type {} (github.com/AutoNUE/public-code)"

# Ids in their order, by level-3 class: the class's name and colour, then the Cityscapes train id of each id.
_LEVEL3 = """
road                    804080  0
drivable fallback       510051  - -
sidewalk                f423e8  1
non-drivable fallback   98fb98  - 9
person or animal        dc143c  11 -
rider                   ff0000  12
motorcycle              0000e6  17
bicycle                 770b20  18
autorickshaw            ffcc36  -
car                     00008e  13
truck                   000046  14
bus                     003c64  15
vehicle fallback        888f99  - - 16 -
curb                    dcbe28  -
wall                    66669c  3
fence                   be9999  4
guard rail              b4a5b4  -
billboard               ae4043  -
traffic sign            dcdc00  7
traffic light           faaa1e  6
pole                    999999  5 -
obs-str-bar-fallback    a9bbd6  -
building                464646  2
bridge or tunnel        966464  - -
vegetation              6b8e23  8
sky                     4682b4  10 -
"""
_VOID_IDS = frozenset(range(35, 40)) | {VOID}


@register
class Idd(Layout):
    """IDD's segmentation: leftImg8bit/ and gtFine/ with numbered drives, once its polygons are drawn."""

    name = "idd"
    folders = (IMAGES, LABELS)
    refines = "cityscapes"
    mapped_by = "the authors' csTrainId"

    @property
    def looks_for(self) -> str:
        return f"{IMAGES}/ and {LABELS}/<split>/<number>/"

    def claims(self, root: Path) -> bool:
        return _has_numbered_drives(root / LABELS)

    def find(self, root: Path) -> Found:
        # Without label images there are none to find, and the class set has said why.
        encoding = _encoding(root) if _counts(root) else "id"
        endings = _ENDINGS[encoding]
        others = tuple(e for of, all_of in _ENDINGS.items() if of != encoding for e in all_of)
        images = Side(IMAGES, walk(root / IMAGES)).use("_leftImg8bit.png", "_leftImg8bit.jpg")
        labels = Side(LABELS, walk(root / LABELS)).use(*endings, beside=(*others, *_BESIDE))
        labels.ending = endings[0]
        return Found(images, labels, by_folder({}))

    def class_set(self, root: Path) -> ClassSet:
        encoding = _encoding(root)
        if encoding == "csTrainId":
            return CITYSCAPES.as_train_ids()
        classes = tuple(
            ClassInfo(name, color, tuple(ids) if encoding == "id" else (level3,))
            for level3, (name, color, ids) in enumerate(_table())
        )
        return ClassSet("idd", classes, _VOID_IDS if encoding == "id" else frozenset({VOID}))

    def cityscapes_classes(self, root: Path) -> ClassSet:
        encoding = _encoding(root)
        if encoding == "csTrainId":
            return CITYSCAPES.as_train_ids()
        if encoding == "level3Id":
            raise DataError(
                f"{shown(root)}: its level-3 labels mix classes of Cityscapes with others, such as sky with "
                f"background; {_TOOL.format(shown(root), 'id')} makes labels that can be mapped"
            )
        meant = {i: train for _, _, ids in _table() for i, train in ids.items()}
        classes = tuple(
            replace(c, ids=tuple(i for i, train in meant.items() if train == index))
            for index, c in enumerate(CITYSCAPES.classes)
        )
        void = _VOID_IDS | {i for i, train in meant.items() if train == VOID}
        return ClassSet("idd as cityscapes", classes, void)

    def mapping_notes(self, root: Path) -> list[str]:
        if _encoding(root) != "id":
            return []
        void = len(self.cityscapes_classes(root).void_ids - _VOID_IDS)
        return [f"data.classes=cityscapes: of IDD's 35 labels {void} become void ({self.mapped_by})"]


def _table() -> list[tuple[str, tuple[int, int, int], dict[int, int]]]:
    """The level-3 classes: name, colour and ids, each with its train id in Cityscapes."""
    rows, following = [], 0
    for line in _LEVEL3.strip().splitlines():
        name, rest = line[:24].strip(), line[24:].split()
        trains = [VOID if text == "-" else int(text) for text in rest[1:]]
        rows.append((name, color_of(rest[0]), dict(enumerate(trains, following))))
        following += len(trains)
    return rows


def _counts(root: Path) -> Counter[str]:
    """How many label images there are in each encoding."""
    files = walk(root / LABELS).files
    return Counter(of for file in files for of, endings in _ENDINGS.items() if file.endswith(endings))


def _encoding(root: Path) -> str:
    """Which of the encodings most label files have. Raises DataError where there are none."""
    counts = _counts(root)
    if not counts:
        polygons = sum(file.endswith(_POLYGONS) for file in walk(root / LABELS).files)
        told = f"has polygons ({polygons}) and no label images; make them with the authors' tool: "
        raise DataError(f"{shown(root / LABELS)}: {told}{_TOOL.format(shown(root), 'id')}")
    return max(_ENDINGS, key=lambda of: counts[of])


def _has_numbered_drives(labels: Path) -> bool:
    """Whether the first folders of labels are IDD's: numbered, with its label images or polygons alone."""
    for split in ("train", "val"):
        if not (labels / split).is_dir():
            continue
        drives = sorted(entry.name for entry in os.scandir(labels / split) if entry.is_dir())[:3]
        names = [file.name for drive in drives for file in os.scandir(labels / split / drive)]
        own = tuple(ending for endings in _ENDINGS.values() for ending in endings)
        if any(name.endswith(own) for name in names):
            return True
        foreign = any(name.endswith(("_labelIds.png", "_labelTrainIds.png")) for name in names)
        if names and not foreign and all(drive.isdecimal() for drive in drives):
            return any(name.endswith(_POLYGONS) for name in names)
    return False
