"""Component-level scores of anomaly segmentation, as SegmentMeIfYouCan defines them (Chan et al.,
"SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation", NeurIPS Datasets and Benchmarks 2021, section 4.2).

A component is a set of pixels that touch by an edge or a corner. Of a true component k, with the predicted
ones that meet it as K, sIoU(k) = |k and K| / |(k or K) without the pixels of other true components|: who
finds two neighbours with one blob is not punished for it. Of a predicted component, PPV is the share of its
pixels that lie on true ones. At a threshold t true components with sIoU >= t are found (TP), others missed
(FN), and predicted ones with PPV < t are false (FP). F1 = 2TP / (2TP + FN + FP) is averaged over t = 0.25,
0.3 ... 0.75.

As in the benchmark's own program, predictions on ignored pixels do not count, predicted components of less
than `least_predicted` pixels are dropped, and true ones of less than `least_true` are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

OUT, IGNORED = 1, 255
"""Values of a mask; 0 is in-distribution."""

THRESHOLDS = np.linspace(0.25, 0.75, 11)

LEAST_PREDICTED, LEAST_TRUE = 500, 100
"""Pixels; those of the benchmark's RoadAnomaly21 track."""

_TOUCHING = np.ones((3, 3), dtype=np.int64)


@dataclass
class ComponentCounter:
    """Counts over images, in constant memory: true and false positives and misses at each threshold."""

    least_predicted: int = LEAST_PREDICTED
    least_true: int = LEAST_TRUE
    found: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(THRESHOLDS), np.int64))
    missed: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(THRESHOLDS), np.int64))
    false: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(THRESHOLDS), np.int64))

    def add(self, predicted: NDArray[np.bool_], mask: NDArray[np.uint8]) -> None:
        """Count one image: pixels [H, W] taken for out-of-distribution, and the mask uint8 [H, W]."""
        from scipy import ndimage  # takes long to load, and every worker loads this module

        true, _ = ndimage.label(mask == OUT, _TOUCHING)
        blobs, _ = ndimage.label(predicted & (mask != IGNORED), _TOUCHING)
        blobs[np.bincount(blobs.ravel())[blobs] < self.least_predicted] = 0
        small = np.bincount(true.ravel()) < self.least_true
        small[0] = False
        ignored = (mask == IGNORED) | small[true]
        true[ignored], blobs[ignored] = 0, 0
        overlap, sizes, blob_sizes = _overlaps(true, blobs)

        siou = np.zeros(len(sizes))
        for k, of_k in enumerate(overlap):
            met = of_k > 0
            inside = int(of_k.sum())
            others = int(overlap[:, met].sum()) - inside
            siou[k] = inside / (sizes[k] + int(blob_sizes[met].sum()) - inside - others)
        ppv = overlap.sum(axis=0) / blob_sizes
        self.found += (siou[:, None] >= THRESHOLDS).sum(axis=0)
        self.missed += (siou[:, None] < THRESHOLDS).sum(axis=0)
        self.false += (ppv[:, None] < THRESHOLDS).sum(axis=0)

    @property
    def f1(self) -> float | None:
        """The mean over thresholds; None where there were neither true nor predicted components."""
        all_of_them = 2 * self.found + self.missed + self.false
        return float((2 * self.found / all_of_them).mean()) if all_of_them.all() else None


def _overlaps(
    true: NDArray[np.int32], blobs: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pixels that each true component [T] shares with each predicted one [P]: int64 [T, P]; their sizes."""
    width = int(blobs.max(initial=0)) + 1
    height = int(true.max(initial=0)) + 1
    pairs = np.bincount(true.ravel().astype(np.int64) * width + blobs.ravel(), minlength=height * width)
    table = pairs.reshape(height, width)
    kept = np.flatnonzero(table[1:].sum(axis=1)) + 1
    kept_blobs = np.flatnonzero(table[:, 1:].sum(axis=0)) + 1
    return table[np.ix_(kept, kept_blobs)], table[kept].sum(axis=1), table[:, kept_blobs].sum(axis=0)
