"""ACDC (Sakaridis et al., "ACDC: The Adverse Conditions Dataset with Correspondences for Semantic Driving
Scene Understanding", ICCV 2021).

    rgb_anon/<condition>/<split>/<sequence>/NAME_rgb_anon.png
    gt/<condition>/<split>/<sequence>/NAME_gt_labelIds.png      or _gt_labelTrainIds.png

Labels hold the ids of Cityscapes. The splits train_ref, val_ref and test_ref are images of the same places in
good weather, without labels.
"""

from __future__ import annotations

from pathlib import Path

from engine.classes import CITYSCAPES, ClassSet
from engine.data.layouts import Found, Layout, register, side

IMAGES, LABELS = "rgb_anon", "gt"
_IDS, _TRAIN_IDS = "_gt_labelIds.png", "_gt_labelTrainIds.png"
_BESIDE = ("_gt_labelColor.png", "_gt_invIds.png", "_gt_invGray.png", "_gt_invColor.png")
_SPLITS = tuple(f"{split}{kind}" for split in ("train", "val", "test") for kind in ("", "_ref"))


@register
class Acdc(Layout):
    """ACDC: rgb_anon/ and gt/, by condition (fog, night, rain, snow) and split."""

    name = "acdc"
    folders = (IMAGES, LABELS)

    def find(self, root: Path) -> Found:
        images = side(root, IMAGES, "_rgb_anon.png")
        images.places = {split: f"{IMAGES}/*/{split}" for split in _SPLITS}
        labels = side(root, LABELS, _IDS, beside=(_TRAIN_IDS, *_BESIDE))
        by_train_ids = not labels.named
        if by_train_ids:
            labels = side(root, LABELS, _TRAIN_IDS, beside=(_IDS, *_BESIDE))
        return Found(images, labels, _split, train_ids=by_train_ids)

    def class_set(self, root: Path) -> ClassSet:
        return CITYSCAPES


def _split(name: str) -> str:
    """The folder below that of the condition."""
    return [*name.split("/"), ""][1]
