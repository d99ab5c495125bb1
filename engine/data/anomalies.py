"""Where images with anomalies lie: images with a mask of their pixels, or without one.

A mask is a PNG of 0 (in-distribution), 1 (out-of-distribution) and 255 (ignored). These layouts are known:

    images/NAME.*    masks/NAME.png                            a plain folder
    images/NAME.*    labels_masks/NAME_labels_semantic.png     SegmentMeIfYouCan (Chan et al. 2021)
    images/NAME.*    labels_masks/NAME.png                     the same, as it is often passed on
    original/NAME.*  labels/NAME.png                           Fishyscapes, as it is often passed on
    **/NNNN_NAME_labels.png with **/NAME_leftImg8bit.png       Fishyscapes Lost and Found (Blum et al. 2021)

Any other folder, and one of the layouts of `engine.data.layouts`, is images without masks. Files are found as
`engine.data.walk` finds them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.classes import CITYSCAPES, ClassSet
from engine.data.catalog import DataError, Fault, scan_images
from engine.data.faults import counted, listed
from engine.data.image_files import FileFault, read_image, read_labels
from engine.data.layouts.recognise import fitting_layouts, refuse_no_folder
from engine.data.partners import Side
from engine.data.walk import IMAGE_SUFFIXES, walk
from engine.host.input_files import is_text, shown

IN, OUT, IGNORED = 0, 1, 255
"""Values of a mask."""

_LAYOUTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("images", "labels_masks", ("_labels_semantic.png", ".png")),
    ("images", "masks", (".png",)),
    ("original", "labels", (".png",)),
)
"""Folder of the images, folder of the masks, and what may follow an image's name in its mask's."""

_BESIDE = ("_labels_semantic_color.png",)
"""What SegmentMeIfYouCan has beside its masks."""

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
            told = f"is {mask.shape[0]}x{mask.shape[1]}, its image {image.height}x{image.width}"
            raise FileFault(self.mask, "size", told)
        return image, mask


@dataclass(frozen=True)
class Scenes:
    """What was found below a folder, sorted by name; `notes` tell, a line each, what was left out."""

    scenes: tuple[Scene, ...]
    notes: tuple[str, ...] = ()


def find_scenes(root: Path) -> Scenes:
    """The images below `root`. Raises DataError: no such folder, no image, two of one name, or masks that
    belong to none."""
    refuse_no_folder(root)
    for images, masks, endings in _LAYOUTS:
        if (root / images).is_dir() and (root / masks).is_dir():
            return _folders(root, images, masks, endings)
    published = _lost_and_found(root)
    if published is not None:
        return published
    catalog = scan_images(root, next((layout.name for layout in fitting_layouts(root)), "auto"))
    _refuse_faults(catalog.faults, root)
    found = (Scene(s.name, s.image, None) for _, part in sorted(catalog.splits.items()) for s in part)
    notes = list(catalog.notes)
    if (root / "labels").is_dir():
        notes.append(f"{shown(root)}: labels/ is not read; masks of anomalies go into masks/")
    return Scenes(tuple(found), tuple(notes))


def _refuse_faults(faults: Sequence[Fault], root: Path) -> None:
    if faults:
        more = f"; and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise DataError(f"{shown(root)}: {faults[0].path}: {faults[0].problem}{more}")


def _folders(root: Path, images: str, masks: str, endings: tuple[str, ...]) -> Scenes:
    side, found = Side(images, walk(root / images)).use(*IMAGE_SUFFIXES), walk(root / masks)
    for first, second in side.twice.values():
        raise DataError(
            f"{shown(root / second)}: has the name of {shown(first)}; a mask belongs to one image"
        )
    _refuse_faults(side.faults, root)
    if not side.named:
        raise DataError(f"{root / images}: has no images; looked for {', '.join(IMAGE_SUFFIXES)}")
    there, used = set(found.files), dict[str, str]()
    for name in side.named:
        mine = [name + ending for ending in endings if name + ending in there]
        if len(mine) > 1:
            raise DataError(f"{root / masks}: {mine[0]} and {mine[1]} are both the mask of {name}; keep one")
        if mine:
            used[name] = mine[0]
    scenes = tuple(
        Scene(name, root / path, root / masks / used[name] if name in used else None)
        for name, path in sorted(side.named.items())
    )
    odd = sorted(there - set(used.values()))
    if not used and odd:
        example, wanted = scenes[0], " or ".join(scenes[0].name + ending for ending in endings)
        raise DataError(f"{root / masks}: no mask belongs to an image; {example.image.name} needs {wanted}")
    alone = [side.named[name] for name in sorted(side.named.keys() - used.keys())]
    odd = [f"{masks}/{file}" for file in odd if not file.endswith(_BESIDE)]
    notes = [*side.told(), *found.notes(masks)]
    if alone:
        notes.append(
            f"{counted(len(alone), 'image')} without a mask, each scored as a whole: {listed(alone)}"
        )
    if odd:
        notes.append(f"{counted(len(odd), 'file')} left out, masks without an image: {listed(odd)}")
    left = [f"{images}/{file}" for file in side.found.files if f"{images}/{file}" not in side.named.values()]
    if left:
        notes.append(f"{counted(len(left), 'file')} left out, not a supported file type: {listed(left)}")
    return Scenes(scenes, tuple(f"{shown(root)}: {note}" for note in notes))


def _lost_and_found(root: Path) -> Scenes | None:
    """The masks as published, whose images come with Lost and Found; None where there are none."""
    found, suffix = walk(root), "_leftImg8bit"
    files = [Path(file) for file in found.files if is_text(file)]
    named = ((re.match(r"\d{4}_(.+)_labels\.png", path.name), path) for path in files)
    masks = {match[1]: path for match, path in named if match}
    if not masks:
        return None
    images = {path.stem.removesuffix(suffix): path for path in files if path.stem.endswith(suffix)}
    alone = sorted(masks.keys() - images.keys())
    if alone:
        raise DataError(f"{root / masks[alone[0]]}: has no image; {alone[0]}{suffix}.png is missing")
    scenes = tuple(Scene(name, root / images[name], root / mask) for name, mask in sorted(masks.items()))
    notes = [f"{shown(root)}: {note}" for note in found.notes()]
    others = [str(images[name]) for name in sorted(images.keys() - masks.keys())]
    if others:
        notes.append(
            f"{shown(root)}: {counted(len(others), 'image')} without a mask left out: {listed(others)}"
        )
    return Scenes(scenes, tuple(notes))


def pseudo_mask_table(class_set: ClassSet, held_out: bool) -> NDArray[np.uint8]:
    """uint8 [256]: the value of a mask for every source id, where the labels themselves say what is out.

    With `held_out` the classes that were held out of training are, and void is ignored. Without, void is, but
    for what Cityscapes calls the ego vehicle, the rectification border and the region out of interest, where
    labels hold its ids. Raises DataError when the class set has nothing of the kind.
    """
    table = np.full(256, IGNORED, dtype=np.uint8)
    table[[i for c in class_set.classes for i in c.ids]] = IN
    held = {i for c in class_set.held_out for i in c.ids}
    if held_out and not held:
        never = ", ".join(c.name for c in class_set.held_out)
        told = f"no label value of {class_set.name} means {never}, held out of training" if never else ""
        told = told or "no class was held out of training (data.hold_out)"
        raise DataError(f"{told}, so there is nothing to detect")
    own_ids = {c.name: c.ids for c in (*class_set.classes, *class_set.held_out)}
    camera = _CAMERA_IDS if own_ids == {c.name: c.ids for c in CITYSCAPES.classes} else frozenset()
    out = held if held_out else class_set.void_ids - held - camera
    table[sorted(out)] = OUT
    return table
