"""Which images an epoch shows, in which order, and which point of each a crop should contain.

A plan is a function of seed and epoch alone, so a resumed epoch goes on with it, on any number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.config.run_config import RunConfig
from engine.data.centroids import Centroids, find_centroids
from engine.data.sample_readers import Split
from engine.training.rng import class_generator, shuffled


@dataclass(frozen=True)
class Plan:
    """`order` int64 [N] are positions in the split. `focus` float32 [N, 2] is a point (y, x) of each as
    shares of height and width; NaN: none; None: none of any."""

    order: Tensor
    focus: Tensor | None = None


@dataclass(frozen=True)
class Sampling:
    """All `images` once an epoch or, with `centroids`, a share of them chosen class by class.

    Zhu et al. (2019): the classes that are there get the same number of places, and each place a centroid of
    its class; every centroid once before any comes again. The rest of the epoch are images that the seed
    draws from all, each at most once. An epoch has as many images either way.
    """

    images: int
    seed: int
    centroids: Centroids | None = None
    share: float = 0.0

    def plan(self, epoch: int) -> Plan:
        """What epoch number `epoch` shows."""
        everything = shuffled(self.images, self.seed, epoch)
        if self.centroids is None or not len(self.centroids.sample):
            return Plan(everything)
        generator = class_generator(self.seed, epoch)
        places = round(self.share * self.images)
        chosen = self._by_class(places, generator)
        sample, point = torch.from_numpy(self.centroids.sample), torch.from_numpy(self.centroids.point)
        order = torch.cat([sample[chosen], everything[: self.images - places]])
        focus = torch.cat([point[chosen], torch.full((self.images - places, 2), torch.nan)])
        mixed = torch.randperm(self.images, generator=generator)
        return Plan(order[mixed], focus[mixed])

    def _by_class(self, places: int, generator: torch.Generator) -> Tensor:
        """Rows of the centroids, int64 [places]."""
        assert self.centroids is not None
        train_id = torch.from_numpy(self.centroids.train_id)
        there = torch.from_numpy(np.unique(self.centroids.train_id))
        # What does not divide by the classes goes to some of them, others in each epoch.
        there = there[torch.randperm(len(there), generator=generator)]
        rows = []
        for place, number in enumerate(there):
            wanted = places // len(there) + (place < places % len(there))
            of_class = (train_id == number).nonzero().flatten()
            rounds = [
                of_class[torch.randperm(len(of_class), generator=generator)]
                for _ in range(-(-wanted // len(of_class)))
            ]
            rows.append(torch.cat([*rounds, of_class[:0]])[:wanted])
        return torch.cat(rows)


def sampling_of(
    config: RunConfig,
    train: Split,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> Sampling:
    """How a run samples its training split. Images alone have no classes to choose by. `on_progress` and
    errors as in `find_centroids`."""
    if not config.data.class_uniform or not config.needs_labels:
        return Sampling(len(train), config.seed)
    centroids = find_centroids(train, config.train_size, cache_dir, on_progress)
    return Sampling(len(train), config.seed, centroids, config.data.class_uniform)
