"""The samples of one split, read from the cache or from their files: the same pixels either way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.classes import ClassSet
from engine.data.cache_files import Cache
from engine.data.catalog import DataError, Sample
from engine.data.decode import labels_in, read_pair, resize_image, resize_labels, train_id_table
from engine.data.image_files import FileFault

Pixels = NDArray[np.uint8]


class Split(Protocol):
    """One split of a data set, in the order of its names."""

    def __len__(self) -> int: ...

    def name(self, position: int) -> str: ...

    def sample(self, position: int) -> tuple[Pixels, Pixels]:
        """Image uint8 [H, W, 3] and train ids uint8 [H, W], at the size of the run; writable, as torch warns
        of others."""

    def labels(self, position: int) -> Pixels:
        """Train ids uint8 [H, W] alone."""


@dataclass(frozen=True)
class CachedSplit:
    """A split whose samples lie decoded in a cache: `indices` [N] int64 are its rows there."""

    cache: Cache
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, position: int) -> str:
        return self.cache.names[int(self.indices[position])]

    def sample(self, position: int) -> tuple[Pixels, Pixels]:
        row = self.indices[position]
        return np.array(self.cache.images[row]), self.labels(position)

    def labels(self, position: int) -> Pixels:
        return np.array(self.cache.labels[self.indices[position]])


@dataclass(frozen=True)
class FileSplit:
    """A split that is decoded and resized from its files each time; the pixels are those of a cache."""

    samples: tuple[Sample, ...]
    size: tuple[int, int]
    class_set: ClassSet
    root: Path
    workers: int

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, position: int) -> str:
        return self.samples[position].name

    def sample(self, position: int) -> tuple[Pixels, Pixels]:
        """Raises DataError when a file has become unusable since it was checked."""
        pair, faults = read_pair(self.samples[position], self.class_set, self.root)
        if pair is None:
            raise DataError(f"{self.root / faults[0].path}: {faults[0].problem}")
        image, labels = pair
        return np.array(resize_image(image, self.size)), self._train_ids(labels)

    def labels(self, position: int) -> Pixels:
        """Raises DataError when the file has become unusable since it was checked."""
        try:
            return self._train_ids(labels_in(self.samples[position], self.class_set))
        except FileFault as fault:
            raise DataError(f"{fault.path}: {fault.problem}") from fault

    def _train_ids(self, labels: Pixels) -> Pixels:
        return train_id_table(self.class_set)[resize_labels(labels, self.size)]
