"""What an evaluation counts beside confusions, by threads while the network works on the next images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.config.task_sections import EvaluateConfig
from engine.inference.progress import readers
from engine.metrics.boundary import BoundaryCounter
from engine.metrics.image_confusions import load_beside
from engine.metrics.instances import InstanceCounter, InstanceIds
from engine.metrics.scores import MetricsError
from engine.run.event import MetricScore

ClassIds = NDArray[np.uint8]


class Counter(Protocol):
    """Counts of a split in constant memory."""

    counts: dict[str, NDArray[Any]]

    def add(self, *image: Any) -> None: ...

    def merge(self, other: Self) -> None: ...


C = TypeVar("C", bound=Counter)


class Counting(Generic[C]):
    """The counts of a split. `add` returns at once; `settle` waits for what is under way.

    `fresh` makes a counter of nothing. `what` they count is a word for messages; names of arrays in a file
    begin with it.
    """

    def __init__(self, what: str, fresh: Callable[[], C]) -> None:
        self.what = what
        self._fresh = fresh
        self._counter = fresh()
        self._threads = ThreadPoolExecutor(readers())
        self._under_way: deque[Future[C]] = deque()

    @property
    def prefix(self) -> str:
        """Of the names of its arrays in a file."""
        return f"{self.what}_"

    def add(self, *image: Any) -> None:
        """Count an image, given as the counter wants it. Waits where the threads cannot keep up."""
        self._under_way.append(self._threads.submit(self._counted, *image))
        if len(self._under_way) > 2 * readers():
            self._counter.merge(self._under_way.popleft().result())

    def settle(self) -> C:
        """The counter, once all that was added is in it."""
        while self._under_way:
            self._counter.merge(self._under_way.popleft().result())
        return self._counter

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was counted, for a file."""
        return {f"{self.prefix}{name}": counts for name, counts in self.settle().counts.items()}

    def loaded(self, path: Path) -> dict[str, NDArray[Any]]:
        """The counts that `arrays` gave, from a file of confusions. Raises MetricsError where something is
        missing or of another size."""
        found = load_beside(path, self.prefix)
        counts = {name.removeprefix(self.prefix): array for name, array in found.items()}
        shapes = {name: array.shape for name, array in self._counter.counts.items()}
        if {name: array.shape for name, array in counts.items()} != shapes:
            raise MetricsError(f"no {self.what} of the images scored so far was counted")
        return counts

    def go_on_with(self, counts: dict[str, NDArray[Any]]) -> None:
        """Continue from counts that were `loaded`."""
        for name, array in counts.items():
            self._counter.counts[name] += array

    def _counted(self, *image: Any) -> C:
        counter = self._fresh()
        counter.add(*image)
        return counter


@dataclass(frozen=True)
class Beside:
    """What an evaluation counts beside the confusions; None where it does not."""

    boundary: Counting[BoundaryCounter] | None
    instances: Counting[InstanceCounter] | None

    @classmethod
    def of(cls, about: EvaluateConfig, classes: tuple[str, ...]) -> Beside:
        """Raises MetricsError for critical classes that the network does not have."""
        if strange := [name for name in about.critical if name not in classes]:
            raise MetricsError(f"evaluate.critical: no such class: {', '.join(strange)}")
        boundary = Counting("boundary", lambda: BoundaryCounter(len(classes)))
        instances = Counting("instance", lambda: InstanceCounter(classes, about.critical))
        return cls(boundary if about.boundary else None, instances if about.critical else None)

    def add(self, predicted: ClassIds, target: ClassIds, ids: InstanceIds | None, scale: float) -> None:
        """Count an image, as `InstanceCounter.add` takes it."""
        if self.boundary is not None:
            self.boundary.add(predicted, target)
        if self.instances is not None:
            self.instances.add(predicted, target, ids, scale)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was counted, for a file."""
        arrays: dict[str, NDArray[Any]] = {}
        for each in self._all():
            arrays |= each.arrays()
        return arrays

    def go_on_with(self, path: Path) -> None:
        """Continue from what `arrays` gave, in a file of confusions. Raises MetricsError."""
        loaded = [each.loaded(path) for each in self._all()]  # all, before any of it is counted
        for each, counts in zip(self._all(), loaded, strict=True):
            each.go_on_with(counts)

    def metrics(self, classes: tuple[str, ...]) -> list[MetricScore]:
        """What all that was counted gives, as the journal keeps it."""
        boundary = self.boundary.settle().metrics(classes) if self.boundary is not None else []
        return boundary + (self.instances.settle().metrics() if self.instances is not None else [])

    def _all(self) -> list[Counting[Any]]:
        return [each for each in (self.boundary, self.instances) if each is not None]
