"""Any folder of images, however deep, for what needs no labels."""

from __future__ import annotations

from pathlib import Path

from engine.data.layouts import Found, Layout, Side, register
from engine.data.walk import IMAGE_SUFFIXES, NO_IMAGE, is_image_name, walk


@register
class Images(Layout):
    """Any folder of images, found however deep; for task=pretrain, which needs no labels."""

    name = "images"
    labelled = False

    @property
    def looks_for(self) -> str:
        return f"images that end in {', '.join(IMAGE_SUFFIXES)}"

    def recognises(self, root: Path) -> bool:
        return root.is_dir()

    def find(self, root: Path) -> Found:
        """A name is the path below `root`, suffix included, so that no two images share one."""
        found = walk(root)
        files = {file: file for file in found.files if is_image_name(file)}
        images = Side("", found, files, pattern=", ".join(IMAGE_SUFFIXES))
        odd = [file for file in found.files if file not in files]
        images.notes = [*images.told(), *images.left_out(odd, NO_IMAGE)]
        images.faults = images.drop_unstorable()
        return Found(images, split_of=lambda name: "train")
