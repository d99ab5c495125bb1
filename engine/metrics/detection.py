"""How well a score tells out-of-distribution (the positives) from in-distribution: AUROC, AP, FPR at 95 %
TPR.

A larger score means more out-of-distribution. All three are functions of how many positives and negatives
share each score, from the largest down (`Groups`), so the scores themselves are needed no longer once they
are counted. `ScoreCounter` counts any number of them in constant memory: up to a limit it keeps them as they
are, beyond it whole bins of a histogram, and then every measure comes with a bound of its error.

Definitions. AUROC: the probability that a positive scores above a negative, ties counting half. AP: the sum
over thresholds of (recall - recall before) * precision, without interpolation (scikit-learn's
`average_precision_score`). FPR95: the share of negatives at or above the first threshold, coming from the
largest, at which at least 95 % of the positives are; other programs interpolate between two thresholds or
take the nearest one and get other numbers. Undefined (None) where a class is missing.

The bounds. A bin holds p positives and n negatives whose order is unknown; tp and fp are the positives and
negatives above it, P and N all of them. The histogram counts them as tied.
 - AUROC: a tie counts p * n / 2 pairs as right, the truth lies between 0 and p * n. So the error is at most
   the sum of p * n over bins, by 2 * P * N.
 - FPR95: the first threshold lies in the bin in which the recall reaches 95 %, so the error is at most n / N.
 - AP: each positive adds 1/P times the precision at its threshold. That is at most (tp + p) / (tp + p + fp),
   all positives of the bin before its negatives, and for the i-th positive at least
   (tp + i) / (tp + i + fp + n), all negatives first. The sum of the latter over i is
   p - (fp + n) * sum 1 / (a + i) with a = tp + fp + n. As 1/x is convex, 1 / (a + i) is at most its integral
   from a + i - 1/2 to a + i + 1/2, and the sum at most log(1 + p / (a + 1/2)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.metrics.scores import MetricsError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

TPR_PERCENT = 95
"""The true positive rate, in per cent, at which the false positive rate is told."""

EXACT_SCORES = 2**22
"""Scores that a counter keeps as they are: 20 MB."""
BINS = 2**20
"""Bins of a histogram beyond that, at most: 16 MB."""


@dataclass(frozen=True)
class Detection:
    """The measures of one score, in [0, 1]; None: undefined, as there are no positives or no negatives.

    `error` is the largest that any of the three can be wrong by; 0 where the scores were kept as they are.
    `best_f1_threshold` is the score above which, taken for out-of-distribution, pixels have the best F1.
    """

    positives: int
    negatives: int
    auroc: float | None
    average_precision: float | None
    fpr95: float | None
    error: float = 0.0
    best_f1_threshold: float | None = None


@dataclass(frozen=True)
class Groups:
    """Scores that are counted as equal, the largest first: `positives` and `negatives` of each, int64 [G].

    `lowest` [G] is a score that none of the group lies below and all of the next lie below or at. `exact`:
    the scores of each group are equal indeed.
    """

    positives: Counts
    negatives: Counts
    lowest: Floats
    exact: bool


def detection(groups: Groups) -> Detection:
    """The measures of scores that have been counted."""
    p, n = groups.positives, groups.negatives
    total_p, total_n = int(p.sum()), int(n.sum())
    if not total_p or not total_n:
        return Detection(total_p, total_n, None, None, None)
    tp, fp = np.cumsum(p), np.cumsum(n)
    above_p, above_n = tp - p, fp - n
    pairs = float(total_p) * float(total_n)
    auroc = float((above_p * n.astype(np.float64) + 0.5 * p * n.astype(np.float64)).sum() / pairs)
    average_precision = float((p * (tp / (tp + fp))).sum() / total_p)
    # In whole numbers: 19 of 20 is 95 %, whatever floating point makes of it.
    first = int(np.argmax(100 * tp >= TPR_PERCENT * total_p))
    error = 0.0
    if not groups.exact:
        highest = (p * (tp / (tp + above_n).clip(min=1))).sum() / total_p
        before = above_p + fp
        inverses = np.where(p == 1, 1 / (before + 1), np.log1p(p / (before + 0.5)))
        lowest = (p - np.minimum(fp * inverses, p)).sum() / total_p
        error = max(
            float((p * n.astype(np.float64)).sum() / (2 * pairs)),
            float(n[first] / total_n),
            float(highest - average_precision),
            float(average_precision - lowest),
        )
    f1 = 2 * tp / (tp + fp + total_p)
    return Detection(
        total_p,
        total_n,
        auroc,
        average_precision,
        float(fp[first] / total_n),
        error,
        _just_below(groups, int(np.argmax(f1))),
    )


def _just_below(groups: Groups, last: int) -> float:
    """A threshold above which lie the scores up to the group `last`, and no others."""
    if not groups.exact:
        # A score may lie on the very edge of its bin. Scores are float32, and so must be what is just below.
        return float(np.nextafter(np.float32(groups.lowest[last]), np.float32(-np.inf)))
    if last + 1 < len(groups.lowest):
        return float(groups.lowest[last + 1])
    return float(groups.lowest[last] - 1 - abs(groups.lowest[last]))


def accepting_threshold(scores: NDArray[Any], share: float) -> float:
    """The smallest of `scores` [N] that at least `share` (0 to 1) of them do not exceed. N is at least 1."""
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    return float(ordered[max(math.ceil(share * len(ordered) - 1e-9), 1) - 1])


class ScoreCounter:
    """Counts scores in constant memory: exactly up to `limit` of them, then in a histogram.

    The histogram has at most `bins` bins of equal width, a power of two with its edges at multiples of it.
    When a score lies outside, bins are merged in twos until it fits, so no count is ever guessed.
    """

    def __init__(self, limit: int = EXACT_SCORES, bins: int = BINS) -> None:
        self.limit, self._bins = limit, bins
        self._kept: list[tuple[NDArray[Any], NDArray[np.bool_]]] = []
        self._count = 0
        self._exponent = 0
        self._first = 0
        self._counts: Counts | None = None  # [2, bins]: negatives and positives

    def __len__(self) -> int:
        """Scores counted."""
        return self._count

    @property
    def exact(self) -> bool:
        return self._counts is None

    def add(self, scores: NDArray[Any], positive: NDArray[np.bool_] | bool) -> None:
        """Count scores [N]; `positive` says which of them, or whether all, are out-of-distribution.

        Raises MetricsError when one is not a finite number; none of them is then counted.
        """
        if not np.isfinite(scores).all():
            strange = scores[~np.isfinite(scores)]
            raise MetricsError(f"{len(strange)} scores are not finite numbers, the first is {strange[0]}")
        if not len(scores):
            return
        flags = np.broadcast_to(np.asarray(positive), scores.shape)
        self._count += len(scores)
        if self.exact:
            self._kept.append((scores.copy(), flags.copy()))
            if self._count <= self.limit:
                return
            kept, self._kept = self._kept, []
            lowest = min(float(some.min()) for some, _ in kept)
            highest = max(float(some.max()) for some, _ in kept)
            self._open(lowest, highest)
            for some, which in kept:
                self._sort_in(some, which)
            return
        self._make_room(float(scores.min()), float(scores.max()))
        self._sort_in(scores, flags)

    def groups(self) -> Groups:
        """What has been counted, the largest scores first."""
        if self._counts is None:
            scores = np.concatenate([np.zeros(0), *(some for some, _ in self._kept)])
            flags = np.concatenate([np.zeros(0, np.bool_), *(which for _, which in self._kept)])
            values, places = np.unique(scores, return_inverse=True)
            positives = np.bincount(places[flags], minlength=len(values)).astype(np.int64)
            negatives = np.bincount(places[~flags], minlength=len(values)).astype(np.int64)
            return Groups(positives[::-1], negatives[::-1], values[::-1].astype(np.float64), True)
        filled = np.flatnonzero(self._counts.any(axis=0))[::-1]
        lowest = np.ldexp((filled + self._first).astype(np.float64), self._exponent)
        return Groups(self._counts[1, filled], self._counts[0, filled], lowest, False)

    def accepting_threshold(self, share: float) -> float:
        """The smallest score known to have at least `share` of all counted scores at or below it.

        Exact, or the upper edge of a bin. Raises MetricsError when nothing was counted.
        """
        return float(self.quantiles(np.array([share]))[0])

    def quantiles(self, shares: Floats) -> Floats:
        """The `accepting_threshold` of each of `shares`. Raises MetricsError when nothing was counted."""
        if not self._count:
            raise MetricsError("no score was counted, so there is no threshold")
        ranks = np.ceil(shares * self._count - 1e-9).clip(1, self._count).astype(np.int64)
        if self._counts is None:
            ordered = np.sort(np.concatenate([some for some, _ in self._kept]))
            return ordered[ranks - 1].astype(np.float64)
        places = np.searchsorted(np.cumsum(self._counts.sum(axis=0)), ranks)
        return np.ldexp((places + self._first + 1).astype(np.float64), self._exponent)

    def _open(self, lowest: float, highest: float) -> None:
        """Begin the histogram with the narrowest bins that hold a range."""
        span = max(highest - lowest, abs(highest) * 2.0**-40, abs(lowest) * 2.0**-40, 2.0**-60)
        self._exponent = math.ceil(math.log2(span)) - int(math.log2(self._bins)) + 1
        self._first = math.floor(math.ldexp(lowest, -self._exponent)) - self._bins // 4
        self._counts = np.zeros((2, self._bins), dtype=np.int64)

    def _make_room(self, lowest: float, highest: float) -> None:
        """Shift the histogram, and merge bins in twos, until a range lies within it."""
        assert self._counts is not None
        while True:
            low = math.floor(math.ldexp(lowest, -self._exponent))
            high = math.floor(math.ldexp(highest, -self._exponent))
            if self._first <= low and high < self._first + self._bins:
                return
            filled = np.flatnonzero(self._counts.any(axis=0))
            places = filled + self._first
            least, most = min(low, int(places[0])), max(high, int(places[-1]))
            if most - least < self._bins:
                self._first = least - (self._bins - 1 - (most - least)) // 2
            else:
                places >>= 1
                self._exponent += 1
                self._first = int(places[0]) - self._bins // 4
            moved = np.zeros_like(self._counts)
            for row, counts in zip(moved, self._counts, strict=True):
                np.add.at(row, places - self._first, counts[filled])
            self._counts = moved

    def _sort_in(self, scores: NDArray[Any], flags: NDArray[np.bool_]) -> None:
        assert self._counts is not None
        places = np.floor(np.ldexp(scores.astype(np.float64), -self._exponent)).astype(np.int64) - self._first
        self._counts[1] += np.bincount(places[flags], minlength=self._bins)
        self._counts[0] += np.bincount(places[~flags], minlength=self._bins)
