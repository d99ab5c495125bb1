"""What the metrics give for a split, as the journal keeps it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.classes import CRITICAL_RECALL, ClassSet
from engine.metrics import Measured, measure
from engine.metrics.builtin import METRICS
from engine.run.event import MetricScore

Matrix = NDArray[np.int64]


class RecordedMetrics:
    """The metrics of a run's splits; what one of them has to complain of is said once."""

    def __init__(self, classes: ClassSet, say: Callable[[str], None]) -> None:
        self._classes, self._say = classes, say
        self._said: set[str] = set()

    def of(self, confusion: Matrix, images: Sequence[Matrix] | None = None) -> list[MetricScore]:
        """Of the confusions of a split, int64 [C, C + 1], and those of each image where they are known."""
        own = [_score(one) for one in measure(confusion, images, self._classes, self._say_once)]
        return own + ([critical_recall(confusion, self._classes)] if self._classes.critical else [])

    def _say_once(self, line: str) -> None:
        name = line.partition(": ")[0]
        if name not in self._said:
            self._said.add(name)
            self._say(line)


def critical_recall(confusion: Matrix, classes: ClassSet) -> MetricScore:
    """The share of the pixels of each critical class that are found, and the lowest of these: a mean would
    hide it. `confusion` is int64 [C, C + 1]."""
    found: dict[str, float | None] = {}
    for name in classes.critical:
        row = confusion[classes.names.index(name)]
        found[name] = float(row[classes.names.index(name)] / row.sum()) if row.any() else None
    lowest = min((value for value in found.values() if value is not None), default=None)
    return MetricScore(name=CRITICAL_RECALL, value=lowest, classes=found, low=0.0, high=1.0, better="higher")


def _score(one: Measured) -> MetricScore:
    metric = one.metric
    return MetricScore(
        name=metric.name,
        value=one.value,
        classes=dict(one.classes),
        unit=metric.unit,
        low=metric.low,
        high=metric.high,
        better=metric.better,
    )


def wants_images() -> bool:
    """Whether some metric takes the confusions of each image."""
    return any(metric.per_image for metric in METRICS.all().values())
