"""Scoring an exported network on a labelled split, image by image."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from engine.config.sections import DataConfig
from engine.data.catalog import DataError, Sample
from engine.data.decode import map_in_order, read_pair, resize_labels, train_id_table
from engine.data.pairs import open_pairs, refuse_other_classes
from engine.exported.class_maps import ClassIds
from engine.exported.network import ExportedModel
from engine.metrics.image_confusions import ImageConfusions, confusion_of

OnImage = Callable[[int, int], None]


def score_split(
    model: ExportedModel,
    data: DataConfig,
    split: str,
    at: str,
    label_resize: str,
    cache_dir: Path,
    on_image: OnImage = lambda done, of: None,
) -> tuple[ImageConfusions, tuple[str, ...]]:
    """The confusions of a split's images, and notes on the data. `at` is "original" or "input", as for runs.

    Raises DataError, and ExportedError for a file that cannot be run.
    """
    pairs = open_pairs(data, split, cache_dir)
    refuse_other_classes(pairs, model.classes, str(model.path))
    table = train_id_table(pairs.class_set)

    def read(sample: Sample) -> tuple[str, Image.Image, ClassIds]:
        pair, faults = read_pair(sample, pairs.class_set, pairs.root)
        if pair is None:
            raise DataError(f"{pairs.root / faults[0].path}: {faults[0].problem}")
        image, labels = pair
        return sample.name, image, table[resize_labels(labels, model.size) if at == "input" else labels]

    found = ImageConfusions(model.classes, model.sha256)
    with closing(map_in_order(read, pairs.samples)) as reading:
        for done, (name, image, target) in enumerate(reading, start=1):
            height, width = target.shape
            predicted = model.class_map(image, (height, width), label_resize)
            found.add(name, confusion_of(predicted, target, len(model.classes)))
            on_image(done, len(pairs))
    if not np.any(found.pooled()):
        raise DataError(f"{pairs.root}: the labels of {split} are all void, so nothing can be scored")
    return found, pairs.notes
