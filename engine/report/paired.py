"""The difference between two systems over seeds, with an interval of what chance alone would explain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The mean of the differences of `n` seeds, and its interval by Student's t with n - 1 degrees of freedom
    at CONFIDENCE; None of a single seed, which says nothing of chance."""

    mean: float
    n: int
    interval: tuple[float, float] | None

    @property
    def is_noise(self) -> bool | None:
        """Whether chance explains it, as the interval includes 0; None: it is not known."""
        return None if self.interval is None else self.interval[0] <= 0 <= self.interval[1]


def by_seed(numbers: Iterable[tuple[int, float | None]]) -> dict[int, float]:
    """The number of each seed, of several runs of one seed their mean; a run that has none is left out."""
    found: dict[int, list[float]] = {}
    for seed, number in numbers:
        if number is not None:
            found.setdefault(seed, []).append(number)
    return {seed: mean(of_seed) for seed, of_seed in found.items()}


def paired_difference(of: Mapping[int, float], to: Mapping[int, float]) -> PairedDifference | None:
    """`of` minus `to`, numbers by seed, over the seeds that both have; None where they share none.

    Runs of one seed share what the seed draws alike, so that noise in common drops out.
    """
    differences = [of[seed] - to[seed] for seed in sorted(of.keys() & to.keys())]
    if not differences:
        return None
    middle, n = mean(differences), len(differences)
    if n < 2:
        return PairedDifference(middle, n, None)
    half = _quantile(n - 1) * stdev(differences) / math.sqrt(n)
    return PairedDifference(middle, n, (middle - half, middle + half))


def _quantile(freedom: int) -> float:
    from scipy.special import stdtrit  # slow to load, and few reports need it

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
