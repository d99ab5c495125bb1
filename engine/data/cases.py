"""What an out-of-distribution evaluation looks at: images that are to be accepted and images that are not.

Free of torch, so that a front end can refuse bad data before a run exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.classes import ClassSet
from engine.config import DataConfig, OodConfig
from engine.data.anomalies import Scene, find_scenes, pseudo_mask_table
from engine.data.catalog import LAYOUTS, DataError, Sample, scan
from engine.data.decode import read_pair, train_id_table
from engine.data.pairs import open_pairs
from engine.data.split import split_random

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Read:
    """An image decoded, with its mask (0 in, 1 out, 255 ignored) and its train ids where it has them; all of
    one size."""

    image: Image.Image
    mask: Labels | None
    target: Labels | None


@dataclass(frozen=True)
class Case:
    """One image to judge. `origin` is the data set that it came from; `masked`: it will have a mask."""

    name: str
    origin: Literal["in", "out"]
    masked: bool
    read: Callable[[], Read]


@dataclass(frozen=True)
class Material:
    """`training` is fitted on and `calibrating` sets the thresholds: held out of training, not among the
    cases.

    `notes` are what a person should know of how it was put together.
    """

    class_set: ClassSet
    root: Path
    training: tuple[Sample, ...]
    calibrating: tuple[Sample, ...]
    cases: tuple[Case, ...]
    notes: tuple[str, ...] = ()


def open_material(config: DataConfig, about: OodConfig, cache_dir: Path) -> Material:
    """Find everything. Raises DataError: no such data, too few images held out, masks that do not fit.

    The images that the run held out are divided: half of them calibrate, the other half are the
    in-distribution cases when `about.in_root` is the run's own data. A data set that the run knows nothing of
    gives all images of its split.
    """
    training, held_out = open_pairs(config, "train", cache_dir), open_pairs(config, "val", cache_dir)
    try:
        calibrating, rest = split_random(held_out.samples, 0.5, config.split_seed)
    except DataError as error:
        raise DataError(f"{config.root}: two images must be held out of training, to calibrate on") from error
    root, class_set, notes = held_out.root, held_out.class_set, []
    own = Path(about.in_root) == root
    labelled: tuple[Sample, ...] = rest
    scenes: tuple[Scene, ...] = ()
    in_root, in_set = root, class_set
    if own and about.split == "test":
        labelled = open_pairs(config, "test", cache_dir).samples
    elif not own:
        in_root, labelled = Path(about.in_root), ()
        if any(all((in_root / part).is_dir() for part in layout) for layout in LAYOUTS.values()):
            catalog = scan(in_root, hold_out=config.held_out)
            in_set, labelled = catalog.class_set, _of_split(catalog.splits, about.split, in_root)
        else:
            scenes = find_scenes(in_root)
    comparable = in_set.names == class_set.names
    if labelled and not comparable:
        notes.append(f"{in_root}: its classes are others than the run's, so its images have no Dice")
    table = pseudo_mask_table(in_set, about.pseudo == "held-out") if about.pseudo != "none" else None
    if table is not None and not labelled:
        raise DataError(f"{in_root}: has no labels, from which pseudo-outliers could be made")
    cases = [_labelled_case(sample, in_set, in_root, table, comparable) for sample in labelled]
    cases += [_scene_case(scene, "in") for scene in scenes]
    if about.out_root:
        cases += [_scene_case(scene, "out") for scene in find_scenes(Path(about.out_root))]
    return Material(class_set, root, training.samples, calibrating, tuple(cases), tuple(notes))


def read_labelled(sample: Sample, class_set: ClassSet, root: Path) -> tuple[Image.Image, Labels]:
    """The image and its source ids, uint8 [H, W]. Raises DataError."""
    pair, faults = read_pair(sample, class_set, root)
    if pair is None:
        raise DataError(f"{root / faults[0].path}: {faults[0].problem}")
    return pair


def _of_split(splits: dict[str, tuple[Sample, ...]], wanted: str, root: Path) -> tuple[Sample, ...]:
    if wanted in splits:
        return splits[wanted]
    if len(splits) == 1:
        return next(iter(splits.values()))
    raise DataError(f"{root}: has no labelled images in {wanted}; there are: {', '.join(sorted(splits))}")


def _labelled_case(
    sample: Sample, class_set: ClassSet, root: Path, table: Labels | None, comparable: bool
) -> Case:
    train_ids = train_id_table(class_set)

    def read() -> Read:
        image, labels = read_labelled(sample, class_set, root)
        mask = None if table is None else table[labels]
        return Read(image, mask, train_ids[labels] if comparable else None)

    return Case(sample.name, "in", table is not None, read)


def _scene_case(scene: Scene, origin: Literal["in", "out"]) -> Case:
    def read() -> Read:
        image, mask = scene.read()
        return Read(image, mask, None)

    return Case(scene.name, origin, scene.mask is not None, read)
