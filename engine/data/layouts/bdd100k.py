"""BDD100K's semantic segmentation (Yu et al., "BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask
Learning", CVPR 2020), in the folders of the download of today and in those of before 2020.

    images/10k/train/NAME.jpg       labels/sem_seg/masks/train/NAME.png
    seg/images/train/NAME.jpg       seg/labels/train/NAME_train_id.png

Labels hold the train ids of Cityscapes, 0 to 18, and 255 (bdd100k/label/label.py of the authors' toolkit).
"""

from __future__ import annotations

from pathlib import Path

from engine.classes import CITYSCAPES, ClassSet
from engine.data.layouts import Found, Layout, by_folder, register, side

_EARLIER = ("seg/images", "seg/labels")


@register
class Bdd100k(Layout):
    """BDD100K's semantic segmentation: images/10k and labels/sem_seg/masks, or seg/images and seg/labels."""

    name = "bdd100k"
    folders = ("images/10k", "labels/sem_seg/masks")
    refines = "folder"

    @property
    def looks_for(self) -> str:
        return f"{super().looks_for} or {' and '.join(f'{folder}/' for folder in _EARLIER)}"

    def recognises(self, root: Path) -> bool:
        return super().recognises(root) or all((root / folder).is_dir() for folder in _EARLIER)

    def find(self, root: Path) -> Found:
        of_today = super().recognises(root)
        images, labels = self.folders if of_today else _EARLIER
        ending = ".png" if of_today else "_train_id.png"
        return Found(side(root, images, ".jpg"), side(root, labels, ending), by_folder({}), train_ids=True)

    def class_set(self, root: Path) -> ClassSet:
        return CITYSCAPES
