"""How many of the critical objects are found: recall by the size of an instance and its way to the road.

An instance is what Cityscapes' instance ids tell apart. Where there are none it is a connected component of
the true mask of its class, pixels touching by an edge or a corner: people who touch are one, somebody behind
a pole is two. Pixels of a class that belong to no instance, such as groups of people in Cityscapes, are in no
count here.

- An instance is found if at least half of its pixels are predicted as its class. `instance_recall` is the
  share of instances that are found, `instance_pixel_recall` the share of all their pixels.
- Sizes are those of COCO (Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014): small below
  32^2 pixels, large above 96^2, medium between, in pixels of the original image.
- The distance to the road is ours: from the middle of the lowest row of an instance to the nearest pixel that
  is labelled road, in pixels of the original image; on the road up to 4, near it up to 64, else far. Whoever
  stands on the road has a distance of 1.
- `iiou` is Cityscapes' instance-level IoU, iTP / (iTP + FP + iFN), where pixels of an instance weigh as much
  as the average size of its class over its own (Cordts et al., CVPR 2016; sizes as in cityscapesScripts,
  evalPixelLevelSemanticLabeling). It needs instance ids for every image.

Void pixels belong to no instance. Counts are added up over images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.classes import VOID
from engine.metrics.scores import MetricsError
from engine.run.event import MetricScore

SMALL, LARGE = 32**2, 96**2
"""Pixels of the original image: small is below the first, large above the second."""

ON_ROAD, NEAR_ROAD = 4.0, 64.0
"""Pixels of the original image, the largest distances of these bins."""

GROUPS = ("", "small", "medium", "large", "on_road", "near_road", "far_from_road")
"""What recall is told of; "" is all instances. Those by distance need the class `ROAD`."""

ROAD = "road"

AVERAGE_SIZES = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
"""Of an instance in Cityscapes, in pixels."""

FIRST_INSTANCE = 1001
"""In Cityscapes' instance files, 1000 times the class plus a number; below are regions without instances."""

Labels = NDArray[np.uint8]
InstanceIds = NDArray[np.uint16]

_TOUCHING = np.ones((3, 3), dtype=np.int64)


@dataclass
class InstanceCounter:
    """Counts of a split in constant memory, image after image, for the class names `classes`; recall is told
    of those that are `critical`."""

    classes: tuple[str, ...]
    critical: tuple[str, ...]
    counts: dict[str, NDArray[Any]] = field(init=False)
    """All that is kept, by name; may be saved, restored and added up."""

    def __post_init__(self) -> None:
        shape = (len(GROUPS), len(self.classes))
        self.counts = {name: np.zeros(shape, np.int64) for name in ("instances", "found", "pixels", "met")}
        self.counts |= {name: np.zeros(len(self.classes)) for name in ("weighted_met", "weighted_missed")}
        self.counts["false"] = np.zeros(len(self.classes), np.int64)
        self.counts["images"] = np.zeros(2, np.int64)  # all, and those with instance ids

    def merge(self, other: InstanceCounter) -> None:
        """Add what another of the same classes has counted."""
        for name, counts in other.counts.items():
            self.counts[name] += counts

    def add(
        self, prediction: Labels, truth: Labels, ids: InstanceIds | None = None, scale: float = 1.0
    ) -> None:
        """Count one image: train ids uint8 [H, W], predicted and true, and Cityscapes' instance ids where
        there are such. `scale` is how many pixels of the original image one of these stands for. Raises
        MetricsError for other shapes."""
        for name, one in (("prediction", prediction), ("instance ids", ids)):
            if one is not None and one.shape != truth.shape:
                raise MetricsError(f"the {name}: {list(one.shape)} is not {list(truth.shape)} of the labels")
        self.counts["images"] += (1, ids is not None)
        regions = self._components(prediction, truth) if ids is None else self._of_ids(prediction, truth, ids)
        road = truth == self.classes.index(ROAD) if ROAD in self.classes else None
        for region in regions:
            name = self.classes[region.class_id]
            if ids is not None and name in AVERAGE_SIZES:
                weight = AVERAGE_SIZES[name] / (region.pixels * scale)
                self.counts["weighted_met"][region.class_id] += weight * region.met
                self.counts["weighted_missed"][region.class_id] += weight * (region.pixels - region.met)
            if name in self.critical:
                for group in _groups(region, road, scale):
                    place = GROUPS.index(group), region.class_id
                    self.counts["instances"][place] += 1
                    self.counts["found"][place] += 2 * region.met >= region.pixels
                    self.counts["pixels"][place] += region.pixels
                    self.counts["met"][place] += region.met
        if ids is not None:
            false = prediction[(prediction != truth) & (truth != VOID) & (prediction != VOID)]
            self.counts["false"] += np.bincount(false, minlength=len(self.classes))

    def _components(self, prediction: Labels, truth: Labels) -> Iterator[_Region]:
        from scipy.ndimage import label  # takes long to load, and every worker loads this module

        for name in self.critical:
            class_id = self.classes.index(name)
            mask = truth == class_id
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            if len(rows):
                top, left = int(rows[0]), int(columns[0])
                box = slice(top, rows[-1] + 1), slice(left, columns[-1] + 1)
                numbers, count = label(mask[box], _TOUCHING)
                met = prediction[box] == class_id
                yield from _regions(numbers, met, np.full(count, class_id), top, left)

    def _of_ids(self, prediction: Labels, truth: Labels, ids: InstanceIds) -> Iterator[_Region]:
        of_instance = (ids >= FIRST_INSTANCE) & (truth != VOID)
        class_of = np.zeros(2**16, np.uint8)
        class_of[ids[of_instance]] = truth[of_instance]
        of_instance[of_instance] = class_of[ids[of_instance]] == truth[of_instance]
        present = np.flatnonzero(np.bincount(ids[of_instance], minlength=2**16))
        number_of = np.zeros(2**16, np.int32)
        number_of[present] = np.arange(1, len(present) + 1)
        numbers = np.where(of_instance, number_of[ids], 0)
        yield from _regions(numbers, prediction == truth, class_of[present])

    def metrics(self) -> list[MetricScore]:
        """As the journal keeps them: recall and numbers of the critical classes, and `iiou` of all that have
        one. What no instance is in is left out."""
        told = []
        for place, group in enumerate(GROUPS):
            counts = {name: self.counts[name][place] for name in ("instances", "found", "pixels", "met")}
            if group and not counts["instances"].any():
                continue
            ending = f"_{group}" if group else ""
            told += [
                self._share(f"instance_recall{ending}", self.critical, counts["found"], counts["instances"]),
                self._share(f"instance_pixel_recall{ending}", self.critical, counts["met"], counts["pixels"]),
                self._number(f"instances{ending}", counts["instances"]),
            ]
        images, with_ids = self.counts["images"]
        if images and images == with_ids:
            met, missed = self.counts["weighted_met"], self.counts["weighted_missed"]
            weighed = [name for name in self.classes if name in AVERAGE_SIZES]
            told.append(self._share("iiou", weighed, met, met + missed + self.counts["false"]))
        return told

    def _share(self, name: str, of: Sequence[str], part: NDArray[Any], whole: NDArray[Any]) -> MetricScore:
        places = {one: self.classes.index(one) for one in of}
        by_class = {one: float(part[i] / whole[i]) if whole[i] else None for one, i in places.items()}
        known = [value for value in by_class.values() if value is not None]
        mean = sum(known) / len(known) if known else None
        return MetricScore(name=name, value=mean, classes=by_class, low=0.0, high=1.0, better="higher")

    def _number(self, name: str, counts: NDArray[np.int64]) -> MetricScore:
        by_class: dict[str, float | None] = {
            one: float(counts[self.classes.index(one)]) for one in self.critical
        }
        total = float(counts.sum())
        return MetricScore(name=name, value=total, classes=by_class, low=0.0, unit="instances")


@dataclass(frozen=True)
class _Region:
    """One instance: its pixels, those predicted as its class, and the middle of its lowest row."""

    class_id: int
    pixels: int
    met: int
    row: int
    column: int


def _regions(
    numbers: NDArray[np.int32], met: NDArray[np.bool_], class_ids: NDArray[Any], top: int = 0, left: int = 0
) -> Iterator[_Region]:
    """What `numbers` [H, W] tells apart, from 1 to the number of `class_ids`; 0 is no instance. `top` and
    `left` are where these pixels begin in the image."""
    from scipy.ndimage import find_objects

    pixels = np.bincount(numbers.ravel(), minlength=len(class_ids) + 1)
    found = np.bincount(numbers[met], minlength=len(class_ids) + 1)
    for number, box in enumerate(find_objects(numbers), start=1):
        lowest = box[0].stop - 1
        columns = np.flatnonzero(numbers[lowest, box[1]] == number)
        yield _Region(
            class_id=int(class_ids[number - 1]),
            pixels=int(pixels[number]),
            met=int(found[number]),
            row=top + lowest,
            column=left + box[1].start + int(columns[len(columns) // 2]),
        )


def _groups(region: _Region, road: NDArray[np.bool_] | None, scale: float) -> Iterator[str]:
    yield ""
    area = region.pixels * scale
    yield "small" if area < SMALL else "medium" if area <= LARGE else "large"
    if road is not None:
        side = scale**0.5
        distance = side * _nearest(road, region.row, region.column, reach=int(NEAR_ROAD / side) + 1)
        yield "on_road" if distance <= ON_ROAD else "near_road" if distance <= NEAR_ROAD else "far_from_road"


def _nearest(mask: NDArray[np.bool_], row: int, column: int, reach: int) -> float:
    """The distance from a pixel to the nearest one of a mask, no further than `reach`; else infinite."""
    top, left = max(0, row - reach), max(0, column - reach)
    rows, columns = np.nonzero(mask[top : row + reach + 1, left : column + reach + 1])
    if not len(rows):
        return float("inf")
    return float(np.sqrt(((rows + top - row) ** 2 + (columns + left - column) ** 2).min()))
