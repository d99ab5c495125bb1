"""Scores that say how far what a network sees is from what it was trained on; larger is farther, everywhere.

There are two kinds. A pixel score is made of a pixel's logits, an image score of the features in the
network's bottleneck. Both have the same protocol: `fit` takes what the network makes of one more part of the
training split, `score` judges, `state` and `restore` are for the file. A score that needs no fit is a
function of a `LogitBand` and an entry in `LOGIT_SCORES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

State = dict[str, NDArray[Any]]
Seen = TypeVar("Seen", contravariant=True)

CORE_BAND_VALUES = 2**18
"""Logits looked at together on the CPU: with what the scores make of them they stay in a core's cache."""
GPU_BAND_VALUES = 2**25
"""On a GPU, where each band costs launches: 128 MB, and five times that with what is made of them."""


def band_values(device: torch.device) -> int:
    """How many logits are looked at together on this device."""
    return CORE_BAND_VALUES if device.type == "cpu" else GPU_BAND_VALUES


class Score(Protocol[Seen]):
    """One way to tell how out-of-distribution something is."""

    def fit(self, seen: Seen) -> None:
        """Take one more part of the training split into account."""

    def score(self, seen: Seen) -> Tensor:
        """Larger means more out-of-distribution."""

    def state(self) -> State:
        """What `fit` has learned."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Be as the score was that gave this state."""


@dataclass(frozen=True)
class LogitBand:
    """The logits [C, N] of N pixels. What more than one score needs is computed once.

    All is written in differences to the largest logit, so nothing overflows and no difference of large
    numbers is taken.
    """

    logits: Tensor

    @cached_property
    def largest(self) -> Tensor:
        """The largest logit [N]."""
        return self.logits.amax(dim=0)

    @cached_property
    def predicted(self) -> Tensor:
        """The predicted class int64 [N]; of equal logits the first."""
        # The index of each class, and added to it something huge where the class is not the largest: argmax
        # goes down the columns and takes twenty times as long as these two, which run along the rows.
        indices = torch.arange(len(self.logits), device=self.logits.device, dtype=self.logits.dtype)
        huge = torch.finfo(self.logits.dtype).max
        return torch.sub(indices[:, None], self.differences, alpha=huge).amin(dim=0).long()

    @cached_property
    def differences(self) -> Tensor:
        """Logits less the largest one, [C, N], at most 0."""
        return self.logits - self.largest

    @cached_property
    def exponentials(self) -> Tensor:
        """Those to the power of e, [C, N]: probabilities but for their sum."""
        return self.differences.exp()

    @cached_property
    def total(self) -> Tensor:
        """Their sum [N], at least 1: one by the probability of the predicted class."""
        return self.exponentials.sum(dim=0)

    @cached_property
    def log_total(self) -> Tensor:
        """Its logarithm [N]: log-sum-exp less the largest logit."""
        return self.total.log()


def msp(band: LogitBand) -> Tensor:
    """1 - probability of the predicted class, 0 to 1. Hendrycks and Gimpel, "A Baseline for Detecting
    Misclassified and Out-of-Distribution Examples in Neural Networks", ICLR 2017."""
    return -torch.expm1(-band.log_total)


def entropy(band: LogitBand) -> Tensor:
    """Entropy of the softmax in nats, 0 to log C. Of pixels: Chan et al., "Entropy Maximization and Meta
    Classification for Out-of-Distribution Detection in Semantic Segmentation", ICCV 2021."""
    return band.log_total - (band.exponentials * band.differences).sum(dim=0) / band.total


def max_logit(band: LogitBand) -> Tensor:
    """The largest logit, negated. Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World
    Settings", ICML 2022."""
    return -band.largest


def energy(band: LogitBand) -> Tensor:
    """-log sum exp of the logits, at temperature 1. Liu et al., "Energy-based Out-of-distribution Detection",
    NeurIPS 2020."""
    return -(band.log_total + band.largest)


@dataclass(frozen=True)
class Unfitted:
    """A score that is a function of the logits alone."""

    function: Callable[[LogitBand], Tensor]

    def fit(self, seen: LogitBand) -> None:
        """There is nothing to learn."""

    def score(self, seen: LogitBand) -> Tensor:
        return self.function(seen)

    def state(self) -> State:
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """There is nothing to restore."""


def sum_by_class(classes: Tensor, values: Tensor, count: int) -> Tensor:
    """The sum of `values` [N] for each of `count` classes, by the class of each value: float64 [count]."""
    if values.is_cuda:
        # torch.bincount with weights has no deterministic kernel there, and the host waits for it.
        return torch.zeros(count, dtype=torch.float64, device=values.device).index_add_(0, classes, values)
    return torch.bincount(classes, values, count)


class StandardisedMaxLogit:
    """The negated largest logit, standardised by mean and deviation of those of its predicted class in
    training.

    Jung et al., "Standardized Max Logits: A Simple yet Effective Approach for Identifying Unexpected Road
    Obstacles in Urban-Scene Segmentation", ICCV 2021, without its smoothing of borders. A class that was
    predicted for fewer than two training pixels, or with one logit always, takes the moments of all pixels.
    """

    def __init__(self, classes: int) -> None:
        self._sums = torch.zeros(3, classes, dtype=torch.float64)
        self._moments: tuple[Tensor, Tensor] | None = None

    def fit(self, seen: LogitBand) -> None:
        largest = seen.largest.double()
        ones = torch.ones_like(largest)
        classes = self._sums.shape[1]
        parts = [sum_by_class(seen.predicted, w, classes) for w in (ones, largest, largest * largest)]
        self._sums += torch.stack(parts).cpu()
        self._moments = None

    def score(self, seen: LogitBand) -> Tensor:
        if self._moments is None or self._moments[0].device != seen.logits.device:
            mean, deviation = self.moments()
            self._moments = mean.to(seen.logits), deviation.to(seen.logits)
        mean, deviation = self._moments
        return (mean[seen.predicted] - seen.largest) / deviation[seen.predicted]

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the largest logit for each predicted class, float64 [C]."""
        pooled = self._sums.sum(dim=1, keepdim=True)
        mean, variance = _moments(self._sums)
        mean_of_all, variance_of_all = _moments(pooled)
        poor = (self._sums[0] < 2) | (variance <= 0)
        variance = torch.where(poor, variance_of_all, variance)
        return torch.where(poor, mean_of_all, mean), torch.where(variance > 0, variance, 1.0).sqrt()

    def state(self) -> State:
        return {"sums": self._sums.numpy().copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._sums = torch.from_numpy(np.array(state["sums"]))
        self._moments = None


def _moments(sums: Tensor) -> tuple[Tensor, Tensor]:
    count = sums[0].clamp(min=1)
    mean = sums[1] / count
    # What rounding leaves of a variance of 0 is taken for 0.
    variance = sums[2] / count - mean * mean
    return mean, torch.where(variance > 1e-12 * mean * mean, variance, 0.0)


LOGIT_SCORES: dict[str, Callable[[LogitBand], Tensor]] = {
    "msp": msp,
    "entropy": entropy,
    "max_logit": max_logit,
    "energy": energy,
}


def pixel_scores(classes: int) -> dict[str, Score[LogitBand]]:
    """Every pixel score by its name, unfitted, for a network of so many classes."""
    made: dict[str, Score[LogitBand]] = {name: Unfitted(function) for name, function in LOGIT_SCORES.items()}
    return made | {"sml": StandardisedMaxLogit(classes)}
