"""Scoring an exported network on a labelled split, image by image."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from engine.config.sections import DataConfig
from engine.data.catalog import DataError, Sample
from engine.data.decode import map_in_order, read_pair, resize_labels, train_id_table
from engine.data.instance_ids import read_instance_ids
from engine.data.pairs import open_pairs, refuse_other_classes
from engine.exported.class_maps import ClassIds
from engine.exported.network import ExportedModel
from engine.metrics.boundary import BoundaryCounter
from engine.metrics.image_confusions import ImageConfusions, confusion_of
from engine.metrics.instances import InstanceCounter, InstanceIds
from engine.metrics.recorded import RecordedMetrics
from engine.run.event import MetricScore

OnImage = Callable[[int, int], None]


@dataclass(frozen=True)
class ScoredSplit:
    """The confusions of a split's images, the metrics beside them, and notes on the data."""

    confusions: ImageConfusions
    metrics: list[MetricScore]
    notes: tuple[str, ...]


def score_split(
    model: ExportedModel,
    data: DataConfig,
    split: str,
    at: str,
    label_resize: str,
    cache_dir: Path,
    critical: tuple[str, ...] = (),
    boundary: bool = False,
    on_image: OnImage = lambda done, of: None,
) -> ScoredSplit:
    """Score a split. `at` is "original" or "input", and the instances of the classes `critical` and
    boundaries are scored, as for runs.

    Raises DataError, and ExportedError for a file that cannot be run.
    """
    pairs = open_pairs(data, split, cache_dir)
    refuse_other_classes(pairs, model.classes, str(model.path), may_hold_out=True)
    table = train_id_table(pairs.class_set)

    outlines = BoundaryCounter(len(model.classes)) if boundary else None
    instances = InstanceCounter(model.classes, critical) if critical else None

    def read(sample: Sample) -> tuple[str, Image.Image, ClassIds, InstanceIds | None]:
        pair, faults = read_pair(sample, pairs.class_set, pairs.root)
        if pair is None:
            raise DataError(f"{pairs.root / faults[0].path}: {faults[0].problem}")
        image, labels = pair
        ids = read_instance_ids(sample, labels.shape) if critical else None
        if at == "input":
            labels = resize_labels(labels, model.size)
            ids = resize_labels(ids, model.size) if ids is not None else None
        return sample.name, image, table[labels], ids

    notes: list[str] = []
    found = ImageConfusions(model.classes, model.sha256)
    with closing(map_in_order(read, pairs.samples)) as reading:
        for done, (name, image, target, ids) in enumerate(reading, start=1):
            height, width = target.shape
            predicted = model.class_map(image, (height, width), label_resize)
            found.add(name, confusion_of(predicted, target, len(model.classes)))
            if outlines is not None:
                outlines.add(predicted, target)
            if instances is not None:
                instances.add(predicted, target, ids, image.width * image.height / target.size)
            on_image(done, len(pairs))
    if not np.any(found.pooled()):
        raise DataError(f"{pairs.root}: the labels of {split} are all void, so nothing can be scored")
    marked = pairs.class_set.marked(critical)
    metrics = RecordedMetrics(marked, say=notes.append).of(found.pooled(), found.matrices())
    metrics += outlines.metrics(model.classes) if outlines is not None else []
    metrics += instances.metrics() if instances is not None else []
    return ScoredSplit(found, metrics, (*pairs.notes, *notes))
