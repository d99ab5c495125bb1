"""CamVid (Brostow et al., "Semantic Object Classes in Video: A High-Definition Ground Truth Database",
Pattern Recognition Letters 2009): the original in colours, and SegNet's version of it in 11 classes.

    701_StillsRaw_full/NAME.png     LabeledApproved_full/NAME_L.png            (the original)
    train/NAME.png                  train_labels/NAME_L.png, class_dict.csv    (the original, split)
    train/NAME.png                  trainannot/NAME.png                        (SegNet's)

The split of the original is the one that SegNet's authors published (Badrinarayanan et al. 2017).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from engine.classes import ClassSet
from engine.data.layouts import Found, Layout, by_folder, parts, register, side
from engine.data.layouts.tables import numbered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CLASSES = """
Animal 408040
Archway c00080
Bicyclist 0080c0
Bridge 008040
Building 800000
Car 400080
CartLuggagePram 4000c0
Child c08040
Column_Pole c0c080
Fence 404080
LaneMkgsDriv 8000c0
LaneMkgsNonDriv c00040
Misc_Text 808040
MotorcycleScooter c000c0
OtherMoving 804040
ParkingBlock 40c080
Pedestrian 404000
Road 804080
RoadShoulder 8080c0
Sidewalk 0000c0
SignSymbol c08080
Sky 808080
SUVPickupTruck 4080c0
TrafficCone 000040
TrafficLight 004040
Train c04080
Tree 808000
Truck_Bus c080c0
Tunnel 400040
VegetationMisc c0c000
Wall 40c000
"""

_VOID = 255

_SEGNET = """
Sky 808080
Building 800000
Pole c0c080
Road 804080
Pavement 3c28de
Tree 808000
SignSymbol c08080
Fence 404080
Car 400080
Pedestrian 404000
Bicyclist 0080c0
"""

_SPLITS = ("train", "val", "test")


@register
class CamVid(Layout):
    """CamVid in 31 colours: 701_StillsRaw_full/ and LabeledApproved_full/, or train/ and train_labels/."""

    name = "camvid"
    folders = ("701_StillsRaw_full", "LabeledApproved_full")
    # A bicyclist is a rider and a bicycle in Cityscapes: which pixel is which, CamVid does not say.
    as_cityscapes: ClassVar = {
        "Building": "building",
        "Car": "car",
        "Column_Pole": "pole",
        "Fence": "fence",
        "Pedestrian": "person",
        "Road": "road",
        "Sidewalk": "sidewalk",
        "SignSymbol": "traffic sign",
        "Sky": "sky",
        "Tree": "vegetation",
    }
    mapped_by = "MSeg, Lambert et al. 2020"

    @property
    def looks_for(self) -> str:
        return f"{super().looks_for} or train/, train_labels/ and class_dict.csv"

    def recognises(self, root: Path) -> bool:
        return super().recognises(root) or self._is_split(root)

    def _is_split(self, root: Path) -> bool:
        folders = all((root / folder).is_dir() for folder in ("train", "train_labels"))
        return folders and (root / "class_dict.csv").is_file()

    def find(self, root: Path) -> Found:
        if self._is_split(root):
            images = parts(root, {split: split for split in _SPLITS}, ".png")
            labels = parts(root, {split: f"{split}_labels" for split in _SPLITS}, "_L.png")
            return Found(images, labels, by_folder({}))
        images, labels = (side(root, self.folders[0], ".png"), side(root, self.folders[1], "_L.png"))
        return Found(images, labels, _published_split)

    def class_set(self, root: Path) -> ClassSet:
        return ClassSet("camvid", numbered(_CLASSES), frozenset({_VOID}))

    def read_labels(self, path: Path) -> NDArray[np.uint8]:
        from engine.data.image_files import read_colors

        classes = numbered(_CLASSES)
        colors = {c.color: c.ids[0] for c in classes} | {(0, 0, 0): _VOID}
        return read_colors(path, colors, {c.ids[0]: c.name for c in classes} | {_VOID: "Void"})


@register
class CamVidSegNet(Layout):
    """CamVid as SegNet's authors publish it, 11 classes: train/ and trainannot/, val/ and valannot/."""

    name = "camvid_segnet"
    folders = ("train", "trainannot")
    as_cityscapes: ClassVar = {
        "Sky": "sky",
        "Building": "building",
        "Pole": "pole",
        "Road": "road",
        "Pavement": "sidewalk",
        "Tree": "vegetation",
        "SignSymbol": "traffic sign",
        "Fence": "fence",
        "Car": "car",
        "Pedestrian": "person",
    }
    mapped_by = "MSeg, Lambert et al. 2020"

    def find(self, root: Path) -> Found:
        images = parts(root, {split: split for split in _SPLITS}, ".png")
        labels = parts(root, {split: f"{split}annot" for split in _SPLITS}, ".png")
        return Found(images, labels, by_folder({}))

    def class_set(self, root: Path) -> ClassSet:
        return ClassSet("camvid_segnet", numbered(_SEGNET), frozenset({11}))


def _published_split(name: str) -> str:
    """SegNet's split: val is a clip of 0016E5; test is Seq05VD and the second half of 0001TP."""
    match = re.fullmatch(r"(\w+?)_f?(\d+)", name)
    sequence, frame = (match[1], int(match[2])) if match else (name, 0)
    if sequence == "0016E5" and 7959 <= frame <= 8159:
        return "val"
    return "test" if sequence == "Seq05VD" or (sequence == "0001TP" and frame >= 8550) else "train"
