"""Image scores: how far the pooled features of a network's bottleneck are from those of its training
images."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.inference.ood.scores import Score, State
from engine.models.contract import SegmentationNetwork

NEIGHBOURS = 10
"""Which neighbour's distance counts; fewer training images have fewer."""

MOST_IMAGES = 10_000
"""Training images whose features are kept: 41 MB at 1,024 channels."""


class PooledFeatures:
    """Within a `with`, what the bottleneck makes of the image that goes through the network."""

    def __init__(self, model: SegmentationNetwork) -> None:
        self._part = model.bottleneck()
        self._passes: list[Tensor] = []

    def begin(self) -> None:
        """An image comes next, as a whole or in windows."""
        self._passes = []

    @property
    def last(self) -> Tensor:
        """Float32 [D] on the host: the mean over all places of the image; each of its windows weighs the
        same."""
        return torch.stack(self._passes).mean(dim=0).cpu()

    def __enter__(self) -> Self:
        self._hook = self._part.register_forward_hook(self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()

    def _keep(self, part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._passes.append(output[0].detach().float().mean(dim=(1, 2)))


class _OfFeatures:
    """Keeps the features [D] of training images, the first MOST_IMAGES of them."""

    def __init__(self) -> None:
        self._features: list[NDArray[np.float32]] = []

    def fit(self, seen: Tensor) -> None:
        if len(self._features) < MOST_IMAGES:
            self._features.append(seen.numpy().astype(np.float32))


class Mahalanobis(_OfFeatures):
    """Distance to the mean of the training images, in units of their covariance.

    Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
    Attacks", NeurIPS 2018, with one Gaussian, as a street scene is of no single class. Images are often fewer
    than features, so the covariance is shrunk towards a multiple of the identity as Ledoit and Wolf derive it
    ("A well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate Analysis 2004).
    """

    def __init__(self) -> None:
        super().__init__()
        self._fitted: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def score(self, seen: Tensor) -> Tensor:
        mean, precision = self._moments()
        away = seen.numpy().astype(np.float64) - mean
        return torch.tensor(np.sqrt(max(float(away @ precision @ away), 0.0)))

    def state(self) -> State:
        mean, precision = self._moments()
        return {"mean": mean, "precision": precision}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._fitted = state["mean"], state["precision"]

    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self._fitted is None:
            features = np.stack(self._features).astype(np.float64)
            mean: NDArray[np.float64] = features.mean(axis=0)
            precision = np.asarray(np.linalg.inv(shrunk_covariance(features - mean)), dtype=np.float64)
            self._fitted = mean, precision
        return self._fitted


def shrunk_covariance(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Ledoit-Wolf estimate [D, D] of the covariance of rows [N, D] whose mean is 0; never singular."""
    count, width = centred.shape
    sample = centred.T @ centred / count
    scale = np.trace(sample) / width
    identity = np.eye(width)
    spread = ((sample - scale * identity) ** 2).sum()
    fourth = (centred**2).sum(axis=1) ** 2
    noise = (fourth.sum() / count - (sample**2).sum()) / count
    share = min(max(noise / spread, 0.0), 1.0) if spread > 0 else 1.0
    shrunk: NDArray[np.float64] = (1 - share) * sample + share * scale * identity
    # Of one image alone, or of equal ones, nothing is known but where they lie.
    shrunk += np.finfo(np.float64).eps * max(scale, 1.0) * identity
    return shrunk


class NearestNeighbours(_OfFeatures):
    """Distance to the NEIGHBOURS-th nearest training image, all features scaled to length 1.

    Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unit: NDArray[np.float32] | None = None

    def score(self, seen: Tensor) -> Tensor:
        near = self._units() - _of_length_1(seen.numpy().astype(np.float32))
        distances = np.sqrt((near**2).sum(axis=1))
        place = min(NEIGHBOURS, len(distances)) - 1
        return torch.tensor(float(np.partition(distances, place)[place]))

    def state(self) -> State:
        return {"unit": self._units()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._unit = state["unit"]

    def _units(self) -> NDArray[np.float32]:
        if self._unit is None:
            self._unit = _of_length_1(np.stack(self._features))
        return self._unit


def _of_length_1(features: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.sqrt((features**2).sum(axis=-1, keepdims=True))
    scaled: NDArray[np.float32] = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    return scaled


def image_scores() -> dict[str, Score[Tensor]]:
    """Every image score by its name, unfitted."""
    return {"mahalanobis": Mahalanobis(), "knn": NearestNeighbours()}
