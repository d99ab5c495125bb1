"""SYNTHIA-RAND-CITYSCAPES (Ros et al., "The SYNTHIA Dataset", CVPR 2016): the folder RAND_CITYSCAPES.

    RGB/0000000.png         GT/LABELS/0000000.png

Labels are PNG files of 16 bits and several channels: the first holds the class, the second the instance.
There is no official split. The colours are Cityscapes' where it has the class, else free: labels hold none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.classes import CITYSCAPES, ClassSet
from engine.data.layouts import Found, Layout, but_train_ids, register, side
from engine.data.layouts.tables import numbered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CLASSES = """
sky 4682b4
building 464646
road 804080
sidewalk f423e8
fence be9999
vegetation 6b8e23
pole 999999
car 00008e
traffic sign dcdc00
pedestrian dc143c
bicycle 770b20
motorcycle 0000e6
parking slot faaaa0
road work 806040
traffic light faaa1e
terrain 98fb98
rider ff0000
truck 000046
bus 003c64
train 005064
wall 66669c
lane marking 66cc33
"""


@register
class Synthia(Layout):
    """SYNTHIA-RAND-CITYSCAPES: RGB/ and GT/LABELS/."""

    name = "synthia"
    folders = ("RGB", "GT/LABELS")
    as_cityscapes = {"pedestrian": "person"} | {
        name: name for name in CITYSCAPES.names if name != "person" and name in _CLASSES
    }
    mapped_by = "by the names of its list, as Hoyer et al. 2022"

    def find(self, root: Path) -> Found:
        images, labels = side(root, "RGB", ".png"), side(root, "GT/LABELS", ".png", named=but_train_ids)
        return Found(images, labels, lambda name: "train")

    def class_set(self, root: Path) -> ClassSet:
        return ClassSet("synthia", numbered(_CLASSES, first=1), frozenset({0}))

    def read_labels(self, path: Path) -> NDArray[np.uint8]:
        from engine.data.image_files import read_first_channel

        return read_first_channel(path)
