"""How well the outlines of classes are met: boundary IoU, boundary F and the IoU near outlines.

- Boundary IoU (Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR
  2021): the IoU of a class, of those of its pixels alone that lie within `d` pixels of its outline, true or
  predicted. d = max(1, round(ratio * diagonal)), measured as a square window; the image border is outline.
- Boundary F (Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation",
  CVPR 2016, as DAVIS computes it): outlines are pixels that differ from the one to the right, below, or both;
  precision is the share of predicted ones that a true one is within r pixels of, recall the reverse.
- Trimap IoU (Krähenbühl and Koltun, NIPS 2011): IoU of the pixels within r of a true outline.

Counts are added up over images, and scores are of the sums, as those of IoU and Dice are.

Void is no class and no outline: next to void nothing is known, so a border with void is not counted as one,
neither true nor predicted, and void pixels are in no count, whatever is predicted there. Setting void to
background instead, as is often done, gives every prediction the outline of each void region for free.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.classes import VOID
from engine.metrics.scores import MetricsError
from engine.run.event import MetricScore

RATIO = 0.02
"""Of the diagonal of an image, for boundary IoU: that of the paper."""

RADII = (1, 3, 5)
"""Pixels, ascending, for boundary F and trimaps."""

Labels = NDArray[np.uint8]
Counts = NDArray[np.int64]

_BITS = 64
"""Classes whose outlines are handled at once, a bit each."""


@dataclass(frozen=True)
class BoundaryScores:
    """Scores from 0 to 1, by class, and their means over the classes that have one; None where neither truth
    nor prediction has an outline. Boundary F and trimap IoU by radius in pixels."""

    iou: float | None
    class_iou: tuple[float | None, ...]
    f: dict[int, float | None]
    class_f: dict[int, tuple[float | None, ...]]
    trimap_iou: dict[int, float | None]
    class_trimap_iou: dict[int, tuple[float | None, ...]]


@dataclass
class BoundaryCounter:
    """Counts of a split in constant memory, image after image."""

    classes: int
    ratio: float = RATIO
    radii: tuple[int, ...] = RADII
    counts: dict[str, Counts] = field(init=False)
    """All that is kept, by name; may be saved, restored and added up."""

    def __post_init__(self) -> None:
        classes, radii = self.classes, len(self.radii)
        shapes: dict[str, tuple[int, ...]] = {
            "intersection": (classes,),
            "union": (classes,),
            "predicted": (classes,),
            "true": (classes,),
            "predicted_met": (radii, classes),
            "true_met": (radii, classes),
            "trimap": (radii, classes, classes),
        }
        self.counts = {name: np.zeros(shape, np.int64) for name, shape in shapes.items()}

    def merge(self, other: BoundaryCounter) -> None:
        """Add what another of the same classes and radii has counted."""
        for name, counts in other.counts.items():
            self.counts[name] += counts

    def add(self, prediction: Labels, truth: Labels) -> None:
        """Count one image: train ids uint8 [H, W], predicted and true. Raises MetricsError for other shapes
        or types, and for labels that are neither a train id nor VOID."""
        self._check(prediction, truth)
        prediction = np.where(truth == VOID, np.uint8(VOID), prediction)
        self._add_iou(prediction, truth)
        self._add_f(prediction, truth)
        self._add_trimaps(prediction, truth)

    def scores(self) -> BoundaryScores:
        counts = self.counts
        class_iou = _shares(counts["intersection"], counts["union"])
        class_f = {r: self._class_f(place) for place, r in enumerate(self.radii)}
        trimaps = {r: _class_iou(counts["trimap"][place]) for place, r in enumerate(self.radii)}
        return BoundaryScores(
            iou=_mean(class_iou),
            class_iou=class_iou,
            f={r: _mean(scores) for r, scores in class_f.items()},
            class_f=class_f,
            trimap_iou={r: _mean(scores) for r, scores in trimaps.items()},
            class_trimap_iou=trimaps,
        )

    def metrics(self, classes: Sequence[str]) -> list[MetricScore]:
        """As the journal keeps them: the mean over classes, and by class; `classes` are their names."""
        scores = self.scores()
        told = [("boundary_iou", scores.iou, scores.class_iou)]
        for radius in self.radii:
            told += [
                (f"boundary_f_{radius}px", scores.f[radius], scores.class_f[radius]),
                (f"trimap_iou_{radius}px", scores.trimap_iou[radius], scores.class_trimap_iou[radius]),
            ]
        return [
            MetricScore(
                name=name,
                value=mean,
                classes=dict(zip(classes, by_class, strict=True)),
                low=0.0,
                high=1.0,
                better="higher",
            )
            for name, mean, by_class in told
        ]

    def _check(self, prediction: Labels, truth: Labels) -> None:
        for name, labels in (("prediction", prediction), ("truth", truth)):
            if labels.dtype != np.uint8 or labels.ndim != 2 or labels.shape != truth.shape:
                raise MetricsError(
                    f"the {name} is {labels.dtype} {list(labels.shape)}; "
                    "both must be uint8 [H, W] of one size"
                )
            largest = int(labels[labels != VOID].max(initial=0))
            if largest >= self.classes:
                raise MetricsError(f"found the label {largest}; train ids are below {self.classes}")

    def _add_iou(self, prediction: Labels, truth: Labels) -> None:
        distance = boundary_distance(truth.shape, self.ratio)
        of_truth = _near_outline(truth, distance, border=True)
        of_prediction = _near_outline(prediction, distance, border=True)
        both = of_truth & of_prediction & (truth == prediction)
        intersection = self._by_class(truth[both])
        self.counts["intersection"] += intersection
        self.counts["union"] += self._by_class(truth[of_truth]) - intersection
        self.counts["union"] += self._by_class(prediction[of_prediction])

    def _add_f(self, prediction: Labels, truth: Labels) -> None:
        for first in range(0, self.classes, _BITS):
            part = slice(first, min(first + _BITS, self.classes))
            predicted, true = (_outlines(labels, first) for labels in (prediction, truth))
            for name, ours, theirs in (("predicted", predicted, true), ("true", true, predicted)):
                pixels = np.flatnonzero(ours)
                width = part.stop - part.start
                self.counts[name][part] += _by_bit(ours.ravel()[pixels], width)
                for place, near in enumerate(_around(theirs, pixels, self.radii)):
                    met = _by_bit(ours.ravel()[pixels] & near, width)
                    self.counts[f"{name}_met"][place, part] += met

    def _class_f(self, place: int) -> tuple[float | None, ...]:
        counts = self.counts
        precision = _shares(counts["predicted_met"][place], counts["predicted"])
        recall = _shares(counts["true_met"][place], counts["true"])
        return tuple(_f(p, r) for p, r in zip(precision, recall, strict=True))

    def _add_trimaps(self, prediction: Labels, truth: Labels) -> None:
        for place, radius in enumerate(self.radii):
            band = near_outline(truth, radius)
            pairs = truth[band].astype(np.int64) * self.classes + prediction[band]
            cells = np.bincount(pairs, minlength=self.classes**2)
            self.counts["trimap"][place] += cells.reshape(self.classes, self.classes)

    def _by_class(self, labels: Labels) -> Counts:
        return np.bincount(labels, minlength=self.classes)


def boundary_distance(shape: tuple[int, ...], ratio: float = RATIO) -> int:
    """The `d` of boundary IoU in pixels, for an image of (height, width)."""
    return max(1, round(ratio * math.hypot(*shape)))


def near_outline(labels: Labels, distance: int) -> NDArray[np.bool_]:
    """Which pixels, bool [H, W], are within `distance` pixels, as a square window, of another class. Void is
    neither near an outline nor does it make one, and neither does the image's border."""
    return _near_outline(labels, distance, border=False)


def _near_outline(labels: Labels, distance: int, border: bool) -> NDArray[np.bool_]:
    """Which pixels that are not void have another class, or with `border` the image's border, within
    `distance`: in the square of 2 * distance + 1 pixels around them."""
    from scipy.ndimage import maximum_filter1d, minimum_filter1d  # slow to load, and every worker loads this

    void, side = labels == VOID, 2 * distance + 1
    # Void must not win: it is above all where the lowest is sought, below all for the highest.
    lowest = labels
    highest = np.where(void, np.int16(-1), labels)
    outside = "constant" if border else "nearest"
    for axis in (0, 1):
        lowest = minimum_filter1d(lowest, side, axis, mode="nearest")
        highest = maximum_filter1d(highest, side, axis, mode=outside, cval=VOID)
    near: NDArray[np.bool_] = (lowest != highest) & ~void
    return near


def _outlines(labels: Labels, first: int) -> NDArray[np.uint64]:
    """The outline pixels of the classes from `first` on, [H, W], a bit for each class: where either a pixel
    or its neighbour to the right, below or both is of the class. The last row has no pixel below and the
    last column none to the right, so the last pixel is no outline."""
    table = np.zeros(256, np.uint64)
    last = min(first + _BITS, VOID)
    table[first:last] = np.uint64(1) << np.arange(last - first, dtype=np.uint64)
    bits, known = table[labels], labels != VOID
    outline = np.zeros_like(bits)
    everywhere, but_last, but_first = slice(None), slice(None, -1), slice(1, None)
    for here, there in (
        ((everywhere, but_last), (everywhere, but_first)),
        ((but_last, everywhere), (but_first, everywhere)),
        ((but_last, but_last), (but_first, but_first)),
    ):
        outline[here] |= np.where(known[here] & known[there], bits[here] ^ bits[there], np.uint64(0))
    return outline


def _around(
    outline: NDArray[np.uint64], pixels: NDArray[np.intp], radii: tuple[int, ...]
) -> Iterator[NDArray[np.uint64]]:
    """For each radius what outlines are within it of each of the pixels (flat indices), a bit a class."""
    reach = max(radii)
    padded = np.pad(outline, reach)
    width = padded.shape[1]
    row, column = np.divmod(pixels, outline.shape[1])
    at = (row + reach) * width + column + reach
    flat, near = padded.ravel(), np.zeros(len(pixels), np.uint64)
    inner = -1
    for radius in radii:
        for y in range(-radius, radius + 1):
            for x in range(-radius, radius + 1):
                if inner < y * y + x * x <= radius * radius:
                    near |= flat[at + (y * width + x)]
        inner = radius * radius
        yield near


def _by_bit(bits: NDArray[np.uint64], width: int) -> Counts:
    """How many of the values have each bit set, [width]."""
    as_bytes = bits.astype("<u8").view(np.uint8).reshape(-1, 8)
    counts: Counts = np.unpackbits(as_bytes, axis=1, bitorder="little").sum(axis=0, dtype=np.int64)
    return counts[:width]


def _shares(part: Counts, whole: Counts) -> tuple[float | None, ...]:
    return tuple(int(p) / int(w) if w else None for p, w in zip(part, whole, strict=True))


def _class_iou(confusion: Counts) -> tuple[float | None, ...]:
    hits = confusion.diagonal()
    return _shares(hits, confusion.sum(axis=0) + confusion.sum(axis=1) - hits)


def _f(precision: float | None, recall: float | None) -> float | None:
    """None where there is neither a true nor a predicted outline, 0 where there is one of them."""
    if precision is None and recall is None:
        return None
    p, r = precision or 0.0, recall or 0.0
    return 2 * p * r / (p + r) if p + r else 0.0


def _mean(scores: tuple[float | None, ...]) -> float | None:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None
