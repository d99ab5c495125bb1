"""Mapillary Vistas (Neuhold et al., "The Mapillary Vistas Dataset for Semantic Understanding of Street
Scenes", ICCV 2017), in the archives of version 1.2 and of version 2.0, which has the labels of both.

    training/images/NAME.jpg       training/labels/NAME.png             (archive of 1.2)
    validation/images/NAME.jpg     training/v1.2/labels/NAME.png        (archive of 2.0)
    testing/images/NAME.jpg        training/v2.0/labels/NAME.png

Labels are palette files whose numbers are positions in the list of config.json, config_v1.2.json or
config_v2.0.json.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from engine.classes import MAX_CLASSES, ClassInfo, ClassSet
from engine.data.faults import DataError
from engine.data.layouts import Found, Layout, by_folder, parts, register
from engine.data.layouts.tables import numbered
from engine.host.input_files import InputFileError, read_regular, shown

_SPLITS = {"train": "training", "val": "validation", "test": "testing"}

_CLASSES = """
Bird a52a2a
Ground Animal 00c000
Curb c4c4c4
Fence be9999
Guard Rail b4a5b4
Barrier 5a7896
Wall 66669c
Bike Lane 8040ff
Crosswalk - Plain 8c8cc8
Curb Cut aaaaaa
Parking faaaa0
Pedestrian Area 606060
Rail Track e6968c
Road 804080
Service Lane 6e6e6e
Sidewalk f423e8
Bridge 966464
Building 464646
Tunnel 96785a
Person dc143c
Bicyclist ff0000
Motorcyclist ff0064
Other Rider ff00c8
Lane Marking - Crosswalk c88080
Lane Marking - General ffffff
Mountain 40aa40
Sand e6a032
Sky 4682b4
Snow beffff
Terrain 98fb98
Vegetation 6b8e23
Water 00aa1e
Banner ffff80
Bench fa001e
Bike Rack 648cb4
Billboard dcdcdc
Catch Basin dc8080
CCTV Camera de2828
Fire Hydrant 64aa1e
Junction Box 282828
Mailbox 212121
Manhole 6480a0
Phone Booth 8e0000
Pothole 466496
Street Light d2aa64
Pole 999999
Traffic Sign Frame 808080
Utility Pole 000050
Traffic Light faaa1e
Traffic Sign (Back) c0c0c0
Traffic Sign (Front) dcdc00
Trash Can 8c8c14
Bicycle 770b20
Boat 9600ff
Bus 003c64
Car 00008e
Caravan 00005a
Motorcycle 0000e6
On Rails 005064
Other Vehicle 804040
Trailer 00006e
Truck 000046
Wheeled Slow 0000c0
Car Mount 202020
Ego Vehicle 780a0a
"""
"""Version 1.2; the number after the last is that of pixels without a label."""

_KERSSIES = {
    "road": ("Road", "Lane Marking - General", "Manhole"),
    "sidewalk": ("Sidewalk", "Curb"),
    "building": ("Building",),
    "wall": ("Wall",),
    "fence": ("Fence",),
    "pole": ("Pole", "Utility Pole"),
    "traffic light": ("Traffic Light",),
    "traffic sign": ("Traffic Sign (Front)",),
    "vegetation": ("Vegetation",),
    "terrain": ("Terrain",),
    "sky": ("Sky",),
    "person": ("Person",),
    "rider": ("Bicyclist", "Motorcyclist", "Other Rider"),
    "car": ("Car",),
    "truck": ("Truck",),
    "bus": ("Bus",),
    "train": ("On Rails",),
    "motorcycle": ("Motorcycle",),
    "bicycle": ("Bicycle",),
}


class _Vistas(Layout):
    """What both versions have in common; `labels` are the places of labels below a split's folder."""

    labels: ClassVar[tuple[str, ...]]

    def recognises(self, root: Path) -> bool:
        return (root / "training/images").is_dir() and self._label_folder(root) is not None

    def find(self, root: Path) -> Found:
        place = self._label_folder(root) or self.labels[0]
        images = parts(root, {split: f"{folder}/images" for split, folder in _SPLITS.items()}, ".jpg")
        labels = parts(root, {split: f"{folder}/{place}" for split, folder in _SPLITS.items()}, ".png")
        return Found(images, labels, by_folder({}))

    def _label_folder(self, root: Path) -> str | None:
        return next((place for place in self.labels if (root / "training" / place).is_dir()), None)


@register
class MapillaryV1(_Vistas):
    """Mapillary Vistas, its 65 classes of version 1.2: training/images and training/v1.2/labels."""

    name = "mapillary_v1"
    folders = ("training/images", "training/v1.2/labels")
    labels = ("v1.2/labels", "labels")
    as_cityscapes: ClassVar = {own: name for name, owns in _KERSSIES.items() for own in owns}
    mapped_by = "Kerssies et al. 2024"

    @property
    def looks_for(self) -> str:
        return "training/images/ and training/v1.2/labels/ or training/labels/"

    def class_set(self, root: Path) -> ClassSet:
        classes = numbered(_CLASSES)
        return ClassSet("mapillary_v1", classes, frozenset({len(classes)}))


@register
class MapillaryV2(_Vistas):
    """Mapillary Vistas, its classes of version 2.0: training/images and training/v2.0/labels."""

    name = "mapillary_v2"
    folders = ("training/images", "training/v2.0/labels")
    labels = ("v2.0/labels",)

    def class_set(self, root: Path) -> ClassSet:
        path = root / "config_v2.0.json"
        try:
            labels = json.loads(read_regular(path))["labels"]
            read = [(str(label["readable"]), str(label["name"]), _color(label["color"])) for label in labels]
            scored = [bool(label.get("evaluate", True)) for label in labels]
        except InputFileError as error:
            raise DataError(f"{error}; it names the classes and comes with the images") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{shown(path)}: is no list of labels as Mapillary publishes it") from error
        if not any(scored) or len(read) > MAX_CLASSES:
            raise DataError(f"{shown(path)}: has {len(read)} labels; 1 to {MAX_CLASSES} would be right")
        often = Counter(readable for readable, _, _ in read)
        classes = tuple(
            ClassInfo(readable if often[readable] == 1 else name, color, (i,))
            for i, (readable, name, color) in enumerate(read)
            if scored[i]
        )
        return ClassSet("mapillary_v2", classes, frozenset(i for i, kept in enumerate(scored) if not kept))

    def cityscapes_classes(self, root: Path) -> ClassSet:
        raise DataError(
            f"{shown(root)}: no table from the classes of Mapillary Vistas 2.0 to those of Cityscapes is "
            "published; data.layout=mapillary_v1 data.classes=cityscapes maps the labels of version 1.2"
        )

    def classes_from(self, root: Path) -> str:
        return str(root / "config_v2.0.json")


def _color(value: Any) -> tuple[int, int, int]:
    red, green, blue = (int(channel) for channel in value)
    if not all(0 <= channel <= 255 for channel in (red, green, blue)):
        raise ValueError(value)
    return red, green, blue
