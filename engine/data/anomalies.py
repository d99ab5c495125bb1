"""Where images with anomalies lie: images with a mask of their pixels, or without one.

A mask is a PNG of 0 (in-distribution), 1 (out-of-distribution) and 255 (ignored). These layouts are known:

    images/NAME.*    masks/NAME.png                            a plain folder
    images/NAME.*    labels_masks/NAME_labels_semantic.png     SegmentMeIfYouCan (Chan et al. 2021)
    original/NAME.*  labels/NAME.png                           Fishyscapes, as it is often passed on
    **/NNNN_NAME_labels.png with **/NAME_leftImg8bit.png       Fishyscapes Lost and Found (Blum et al. 2021)

Any other folder, and one of the layouts of `engine.data.catalog`, is images without masks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.classes import ClassSet
from engine.data.catalog import IMAGE_SUFFIXES, DataError, scan_images
from engine.data.decode import FileFault, read_image, read_labels

IN, OUT, IGNORED = 0, 1, 255
"""Values of a mask."""

_SUFFIXES = (*IMAGE_SUFFIXES, ".webp")

_LAYOUTS: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("images", "labels_masks", lambda name: f"{name}_labels_semantic.png"),
    ("images", "masks", lambda name: f"{name}.png"),
    ("original", "labels", lambda name: f"{name}.png"),
)
"""Folder of the images, folder of the masks, and what the mask of an image is called."""

_CAMERA_IDS = frozenset({1, 2, 3})
"""Void ids of Cityscapes that are no things in the scene: ego vehicle, rectification border, out of roi."""


@dataclass(frozen=True)
class Scene:
    """One image, with its mask where there is one. `name` is its path below the folder of images, without the
    suffix."""

    name: str
    image: Path
    mask: Path | None

    def read(self) -> tuple[Image.Image, NDArray[np.uint8] | None]:
        """The RGB image, and its mask uint8 [H, W] of the same size. Raises DataError."""
        image = read_image(self.image)
        if self.mask is None:
            return image, None
        mask = read_labels(self.mask)
        strange = np.setdiff1d(np.unique(mask), [IN, OUT, IGNORED])
        if strange.size:
            told = f"holds the value {strange[0]}; a mask has 0 (in), 1 (out) and 255 (ignored)"
            raise FileFault(self.mask, "label_value", told)
        if mask.shape != image.size[::-1]:
            told = f"is {mask.shape[1]}x{mask.shape[0]}, its image {image.width}x{image.height}"
            raise FileFault(self.mask, "size", told)
        return image, mask


def find_scenes(root: Path) -> tuple[Scene, ...]:
    """The images below `root`, sorted by name. Raises DataError: no such folder, no image, or masks that
    belong to none."""
    for images, masks, called in _LAYOUTS:
        if (root / images).is_dir() and (root / masks).is_dir():
            return _folders(root, images, masks, called)
    published = _lost_and_found(root) if root.is_dir() else ()
    if published:
        return published
    catalog = scan_images(root)
    return tuple(Scene(s.name, s.image, None) for _, part in sorted(catalog.splits.items()) for s in part)


def _folders(root: Path, images: str, masks: str, called: Callable[[str], str]) -> tuple[Scene, ...]:
    found: dict[str, Path] = {}
    for path in sorted((root / images).rglob("*")):
        name = path.relative_to(root / images).with_suffix("").as_posix()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."):
            if name in found:
                raise DataError(f"{path}: has the name of {found[name].name}; a mask belongs to one image")
            found[name] = path
    if not found:
        raise DataError(f"{root / images}: has no images; looked for {', '.join(_SUFFIXES)}")
    scenes = tuple(
        Scene(name, path, mask if (mask := root / masks / called(name)).is_file() else None)
        for name, path in sorted(found.items())
    )
    if all(scene.mask is None for scene in scenes) and any((root / masks).iterdir()):
        wanted = called(scenes[0].name)
        raise DataError(f"{root / masks}: no mask belongs to an image; {scenes[0].image.name} needs {wanted}")
    return scenes


def _lost_and_found(root: Path) -> tuple[Scene, ...]:
    """The masks as published, whose images come with Lost and Found."""
    named = ((re.match(r"\d{4}_(.+)_labels", path.name), path) for path in root.rglob("*_labels.png"))
    masks = {match[1]: path for match, path in named if match}
    if not masks:
        return ()
    suffix = "_leftImg8bit"
    images = {path.stem.removesuffix(suffix): path for path in root.rglob(f"*{suffix}.*")}
    alone = sorted(masks.keys() - images.keys())
    if alone:
        raise DataError(f"{masks[alone[0]]}: has no image; {alone[0]}{suffix}.png is missing")
    return tuple(Scene(name, images[name], mask) for name, mask in sorted(masks.items()))


def pseudo_mask_table(class_set: ClassSet, held_out: bool) -> NDArray[np.uint8]:
    """uint8 [256]: the value of a mask for every source id, where the labels themselves say what is out.

    With `held_out` the classes that were held out of training are, and void is ignored. Without, void is, but
    for what Cityscapes calls the ego vehicle, the rectification border and the region out of interest. Raises
    DataError when the class set has nothing of the kind.
    """
    table = np.full(256, IGNORED, dtype=np.uint8)
    table[[i for c in class_set.classes for i in c.ids]] = IN
    held = {i for c in class_set.held_out for i in c.ids}
    if held_out and not held:
        raise DataError("no class was held out of training (data.hold_out), so there is none to be found")
    camera = _CAMERA_IDS if class_set.name == "cityscapes" else frozenset()
    out = held if held_out else class_set.void_ids - held - camera
    table[sorted(out)] = OUT
    return table
