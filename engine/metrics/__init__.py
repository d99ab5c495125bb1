"""Metrics: numbers that confusion matrices give. Torch-free: front ends list them.

A metric is a function that computes it, registered by its decorator. Dice, mean IoU and pixel accuracy are no
metrics in this sense: every epoch has them, in columns of their own (`engine.metrics.scores`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from engine.components.origin import ComponentError
from engine.components.registry import NamedRegistry, check_arguments, first_line
from engine.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engine.classes import ClassSet

    Matrix = NDArray[np.int64]

__all__ = ["METRICS", "Measured", "Metric", "register"]

Better = Literal["higher", "lower", "neither"]


class MetricError(EngineError):
    """A metric that gave no number that can be kept; the message is one line."""


@dataclass(frozen=True)
class Metric:
    """A function that computes a metric, and what its numbers mean.

    `low` and `high` bound them, None where there is no bound; `unit` is empty for a share. `per_image`: it
    takes the confusions of each image instead of those of the whole split.
    """

    name: str
    compute: Callable[[Any, ClassSet], Any]
    help: str
    better: Better
    low: float | None
    high: float | None
    unit: str
    per_image: bool


@dataclass(frozen=True)
class Measured:
    """What a metric gave: one number of the split and, where it gives one per class, those by class. None
    where it is undefined."""

    metric: Metric
    value: float | None
    classes: Mapping[str, float | None]


METRICS: NamedRegistry[Metric] = NamedRegistry("metric", "seg_engine.metrics")
"""Every metric by name; the name is that of its function."""

C = TypeVar("C", bound=Callable[..., Any])


def register(
    better: Better = "higher",
    low: float | None = 0.0,
    high: float | None = 1.0,
    unit: str = "",
    per_image: bool = False,
) -> Callable[[C], C]:
    """Make a metric known by the name of the function that computes it; used as a decorator.

    The function takes a confusion matrix int64 [C, C + 1], as `engine.metrics.scores` has it, and the class
    set; with `per_image` a sequence of them, one an image, in a fixed order. It returns a number, or one per
    class in the order of the class set; None and NaN are undefined. The first line of its docstring says
    what it is. Raises ComponentError when it has none, or when its name is taken.
    """

    def decorate(compute: C) -> C:
        name, help = compute.__name__, first_line(compute)
        if not help:
            raise ComponentError(f"{name}: needs a docstring, whose first line says what it is")
        if better not in ("higher", "lower", "neither"):
            raise ComponentError(f"{name}: better must be higher, lower or neither, got {better!r}")
        if low is not None and high is not None and not low < high:
            raise ComponentError(f"{name}: low must be below high, got {low} and {high}")
        check_arguments(name, compute, ("confusion", "classes"))
        METRICS.add(name, Metric(name, compute, help, better, low, high, unit, per_image), compute)
        return compute

    return decorate


def measure(
    confusion: Matrix, images: Sequence[Matrix] | None, classes: ClassSet, say: Callable[[str], None]
) -> Iterator[Measured]:
    """What every metric gives for a split.

    `images` are the confusions of each image, None where only their sum is known: metrics of images are then
    left out. A metric that fails is left out, and `say` gets a line on why: no run ends for it.
    """
    from engine.plugins import errors_of_plugins  # knows the config, which knows nothing of metrics

    for metric in METRICS.all().values():
        if metric.per_image and images is None:
            continue
        try:
            with errors_of_plugins(MetricError):
                found = metric.compute(images if metric.per_image else confusion.copy(), classes)
            yield _measured(metric, found, classes)
        except Exception as error:
            told = str(error) if isinstance(error, MetricError) else f"{type(error).__name__}: {error}"
            say(f"metric {metric.name}: {' '.join(told.split())}; it is left out")


def _measured(metric: Metric, found: Any, classes: ClassSet) -> Measured:
    if found is not None and hasattr(found, "__len__"):
        if len(found) != len(classes):
            raise MetricError(f"gave {len(found)} numbers for {len(classes)} classes")
        values = {name: _number(metric, value) for name, value in zip(classes.names, found, strict=True)}
        known = [value for value in values.values() if value is not None]
        return Measured(metric, sum(known) / len(known) if known else None, values)
    return Measured(metric, _number(metric, found), {})


def _number(metric: Metric, found: Any) -> float | None:
    """A number that can be kept, None where it is undefined. Raises MetricError."""
    if found is None:
        return None
    try:
        value = float(found)
    except (TypeError, ValueError) as error:
        raise MetricError(f"gave {found!r:.60}, which is not a number") from error
    if math.isnan(value):
        return None
    low = -MOST if metric.low is None else metric.low - ROUNDING
    high = MOST if metric.high is None else metric.high + ROUNDING
    if not low <= value <= high:
        raise MetricError(f"gave {value}, which is outside of {metric.low} to {metric.high}")
    return value


MOST = 1e30
"""The largest number that a journal takes."""

ROUNDING = 1e-6
"""How far beyond its bounds rounding may take a number."""
