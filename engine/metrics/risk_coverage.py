"""What rejecting images buys: the mean Dice of those that are accepted, for every share that may be accepted.

El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification", JMLR 2010: coverage is the
share that is accepted, risk the loss on it, here 1 - Dice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RiskCoverage:
    """`coverage` (0, 1] and the mean Dice of what is then accepted, [N]; `area` is the mean risk over N."""

    coverage: NDArray[np.float64]
    dice: NDArray[np.float64]

    @property
    def area(self) -> float:
        """AURC: the mean of 1 - Dice over all coverages; smaller is better."""
        return float((1 - self.dice).mean())


def risk_coverage(scores: Sequence[float], dice: Sequence[float]) -> RiskCoverage | None:
    """The curve of images accepted in order of their scores, smallest first; None without images.

    Images of equal scores are accepted together, so their order does not matter.
    """
    if not scores:
        return None
    values, places, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    accepted = np.cumsum(counts)
    sums = np.cumsum(np.bincount(places, weights=np.asarray(dice, dtype=np.float64), minlength=len(values)))
    # A step of tied images stands as often as it has images, so that the area weighs images alike.
    return RiskCoverage(
        np.repeat(accepted / len(scores), counts),
        np.repeat(sums / accepted, counts),
    )
