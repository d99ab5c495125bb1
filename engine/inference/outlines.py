"""Boundary scores of an evaluation, counted by threads while the network works on the next images."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.inference.progress import readers
from engine.metrics.boundary import BoundaryCounter
from engine.metrics.scores import MetricsError
from engine.run.event import MetricScore

PREFIX = "boundary_"
"""Of the names of its arrays in a file."""

ClassIds = NDArray[np.uint8]


class OutlineScoring:
    """The counts of a split. `add` returns at once; `settle` waits for what is under way."""

    def __init__(self, classes: int) -> None:
        self._counter = BoundaryCounter(classes)
        self._threads = ThreadPoolExecutor(readers())
        self._under_way: deque[Future[BoundaryCounter]] = deque()

    def add(self, predicted: ClassIds, target: ClassIds) -> None:
        """Count an image: train ids uint8 [H, W]. Waits where the threads cannot keep up."""
        self._under_way.append(self._threads.submit(_counted, self._counter.classes, predicted, target))
        if len(self._under_way) > 2 * readers():
            self._counter.merge(self._under_way.popleft().result())

    def settle(self) -> None:
        while self._under_way:
            self._counter.merge(self._under_way.popleft().result())

    def arrays(self) -> dict[str, NDArray[np.int64]]:
        """All that was counted, for a file."""
        self.settle()
        return {f"{PREFIX}{name}": counts for name, counts in self._counter.counts.items()}

    def go_on_with(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Continue from what `arrays` gave. Raises MetricsError where something is missing or of another
        size."""
        own = self._counter.counts
        found = {name.removeprefix(PREFIX): counts for name, counts in arrays.items()}
        if {name: counts.shape for name, counts in found.items()} != {n: c.shape for n, c in own.items()}:
            raise MetricsError("the boundaries of the images scored so far were not counted")
        for name, counts in found.items():
            own[name] += counts

    def metrics(self, classes: Sequence[str]) -> list[MetricScore]:
        """As the journal keeps them, each with its mean over classes and by class."""
        self.settle()
        scores = self._counter.scores()
        told = [("boundary_iou", scores.iou, scores.class_iou)]
        for radius in self._counter.radii:
            told += [
                (f"boundary_f_{radius}px", scores.f[radius], scores.class_f[radius]),
                (f"trimap_iou_{radius}px", scores.trimap_iou[radius], scores.class_trimap_iou[radius]),
            ]
        return [
            MetricScore(
                name=name,
                value=mean,
                classes=dict(zip(classes, by_class, strict=True)),
                unit="",
                low=0.0,
                high=1.0,
                better="higher",
            )
            for name, mean, by_class in told
        ]


def _counted(classes: int, predicted: ClassIds, target: ClassIds) -> BoundaryCounter:
    counter = BoundaryCounter(classes)
    counter.add(predicted, target)
    return counter
