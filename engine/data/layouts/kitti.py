"""KITTI's semantic segmentation (Alhaija et al., "Augmented Reality Meets Computer Vision", IJCV 2018).

    training/image_2/000000_10.png      training/semantic/000000_10.png
    testing/image_2/000000_10.png       (no labels)

Labels hold the ids of Cityscapes. There is no official validation split.
"""

from __future__ import annotations

from pathlib import Path

from engine.classes import CITYSCAPES, ClassSet
from engine.data.layouts import Found, Layout, by_folder, parts, register


@register
class Kitti(Layout):
    """KITTI's semantic segmentation: training/image_2 and training/semantic."""

    name = "kitti"
    folders = ("training/image_2", "training/semantic")

    def find(self, root: Path) -> Found:
        images = parts(root, {"train": "training/image_2", "test": "testing/image_2"}, ".png")
        labels = parts(root, {"train": "training/semantic", "test": "testing/semantic"}, ".png")
        return Found(images, labels, by_folder({}))

    def class_set(self, root: Path) -> ClassSet:
        return CITYSCAPES
