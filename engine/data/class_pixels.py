"""How many training pixels each class has: counted once when a run begins, and kept in its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from engine.classes import ClassSet
from engine.data.catalog import DataError
from engine.data.decode import resize_labels, train_id_table
from engine.data.lessons import labels_of
from engine.data.sample_readers import CachedSplit, FileSplit, Split
from engine.run.files import write_json


def count_class_pixels(split: Split, class_set: ClassSet) -> list[int]:
    """The pixels of each class in the labels of a split at its size."""
    if isinstance(split, CachedSplit):
        labels = (split.cache.labels[row] for row in split.indices)
    else:
        assert isinstance(split, FileSplit)
        table = train_id_table(class_set)
        labels = (table[resize_labels(each, split.size)] for each in labels_of(split.samples, class_set))
    total = [0] * len(class_set)
    for each in labels:
        counts = Image.fromarray(each).histogram()
        total = [one + more for one, more in zip(total, counts, strict=False)]
    return total


def write_class_pixels(path: Path, class_set: ClassSet, pixels: Sequence[int]) -> None:
    """Whole or not at all. Raises OSError."""
    write_json(path, {"format": 1, "pixels": dict(zip(class_set.names, pixels, strict=True))})


def read_class_pixels(path: Path, class_set: ClassSet) -> list[int] | None:
    """None when there is no such file. Raises DataError when it is damaged or of other classes."""
    try:
        table = json.loads(path.read_bytes())["pixels"]
        pixels = [table[name] for name in class_set.names]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pixels = []
    if not pixels or not all(type(count) is int and 0 <= count < 2**62 for count in pixels):
        raise DataError(
            f"{path}: is damaged: it must have a whole number of pixels for each class of the run"
        )
    return pixels
