"""Instance ids as Cityscapes has them: files `*_instanceIds.png` beside the label files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.data.catalog import DataError, Sample
from engine.data.image_files import read_wide_labels
from engine.host.input_files import shown

_LABELS = re.compile(r"_label(Train)?Ids\.png$")


def instance_file(label: Path) -> Path | None:
    """The file of instance ids that lies beside a label file of Cityscapes; None where there is none."""
    if not _LABELS.search(label.name):
        return None
    path = label.with_name(_LABELS.sub("_instanceIds.png", label.name))
    return path if path.exists() else None


def read_instance_ids(sample: Sample, shape: tuple[int, ...]) -> NDArray[np.uint16] | None:
    """The instance ids uint16 [H, W] of a sample whose labels have this shape; None where it has none. Raises
    DataError."""
    path = instance_file(sample.label) if sample.label is not None else None
    if path is None:
        return None
    ids = read_wide_labels(path)
    if ids.shape != shape:
        wrong, right = ("{}x{}".format(*size) for size in (ids.shape, shape))
        raise DataError(f"{shown(path)}: is {wrong}, but the labels beside it are {right}")
    return ids
