"""Cityscapes as it is downloaded (Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene
Understanding", CVPR 2016; file names as in the README of cityscapesScripts).

    leftImg8bit/<split>/<city>/<name>_leftImg8bit.png
    gtFine/<split>/<city>/<name>_gtFine_labelIds.png        or _gtFine_labelTrainIds.png
"""

from __future__ import annotations

from pathlib import Path

from engine.classes import CITYSCAPES, ClassSet
from engine.data.faults import Fault
from engine.data.layouts import Found, Layout, Side, by_folder, register
from engine.data.layouts.splits import refuse_mistaken_splits
from engine.data.walk import walk

IMAGES, LABELS = "leftImg8bit", "gtFine"
_IMAGE = "_leftImg8bit.png"
_IDS = "_gtFine_labelIds.png"
_TRAIN_IDS = "_gtFine_labelTrainIds.png"
_BESIDE = (
    "_gtFine_color.png",
    "_gtFine_instanceIds.png",
    "_gtFine_instanceTrainIds.png",
    "_gtFine_polygons.json",
)
"""What lies beside the labels, and nobody misses."""


@register
class Cityscapes(Layout):
    """Cityscapes as it is downloaded: leftImg8bit/ and gtFine/."""

    name = "cityscapes"
    folders = (IMAGES, LABELS)

    def class_set(self, root: Path) -> ClassSet:
        return CITYSCAPES

    def find(self, root: Path) -> Found:
        """Of the two encodings the file *names* decide, never the values: labelIds, or labelTrainIds where
        those cover more of the images."""
        places = f"{IMAGES}/<split>/<city>/*{_IMAGE}", f"{LABELS}/<split>/<city>/*{_IDS}"
        wanted = "an image must end in .png"
        images = Side(IMAGES, walk(root / IMAGES)).use(_IMAGE, pattern=places[0], wanted=wanted)
        refuse_mistaken_splits(root, images, LABELS)
        labels = walk(root / LABELS)
        ids, train_ids = (
            Side(LABELS, labels).use(
                ending,
                beside=(other, *_BESIDE),
                pattern=places[1],
                wanted="a label must be a PNG",
                left_out=f"are not called *{_IDS}",
            )
            for ending, other in ((_IDS, _TRAIN_IDS), (_TRAIN_IDS, _IDS))
        )
        known = images.named.keys()
        by_train_ids = len(known & train_ids.named.keys()) > len(known & ids.named.keys())
        used, others = (train_ids, ids) if by_train_ids else (ids, train_ids)
        used_name, other_name = [side.ending[len("_gtFine_") : -len(".png")] for side in (used, others)]
        problem = f"has {other_name} only, the rest of the data set {used_name}"
        faults = [
            Fault("missing_label", images.named.pop(name), problem)
            for name in sorted((known & others.named.keys()) - used.named.keys())
        ]
        problem = f"is in no split; move it to {IMAGES}/<split>/<city>/"
        for name in [name for name in images.named if "/" not in name]:
            faults.append(Fault("misplaced", images.named.pop(name), problem))
            used.named.pop(name, None)
        return Found(images, used, by_folder({}), train_ids=by_train_ids, faults=faults)
