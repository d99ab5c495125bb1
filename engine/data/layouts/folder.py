"""Images and labels in folders of their own, for any data set; deeper folders are allowed.

classes.toml
images/[train/, val/ or test/]<name>.png, .jpg, .jpeg, .bmp or .webp
labels/[train/, val/ or test/]<name>.png
"""

from __future__ import annotations

from pathlib import Path

from engine.data.layouts import Found, Layout, Side, register
from engine.data.walk import IMAGE_SUFFIXES, NO_IMAGE, walk

IMAGES, LABELS = "images", "labels"


@register
class Folder(Layout):
    """Images and labels of the same names: images/, labels/ and classes.toml."""

    name = "folder"
    folders = (IMAGES, LABELS)

    def find(self, root: Path) -> Found:
        types = f"{', '.join(IMAGE_SUFFIXES[:-1])} or {IMAGE_SUFFIXES[-1]}"
        images = Side(IMAGES, walk(root / IMAGES)).use(
            *IMAGE_SUFFIXES,
            pattern=f"{IMAGES}/<name>{types}",
            wanted=f"an image must end in {', '.join(IMAGE_SUFFIXES)}",
            left_out=NO_IMAGE,
        )
        labels = Side(LABELS, walk(root / LABELS)).use(
            ".png",
            pattern=f"{LABELS}/<name>.png",
            wanted="a label must be a PNG",
            left_out="are not PNG, which labels must be",
        )
        return Found(images, labels)
