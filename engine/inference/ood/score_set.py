"""All scores of an image from one forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.inference.ood.features import image_scores
from engine.inference.ood.scores import LogitBand, Score, State, band_values, pixel_scores
from engine.learning.class_maps import logit_bands

Maps = dict[str, NDArray[np.float32]]


@dataclass
class ScoreSet:
    """Every score of a network of so many classes, and their fits."""

    classes: int
    pixel: dict[str, Score[LogitBand]] = field(init=False)
    image: dict[str, Score[Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        self.pixel = pixel_scores(self.classes)
        self.image = image_scores()

    @property
    def names(self) -> list[str]:
        """All scores that an image has; those of pixels count by their mean over the image."""
        return [*self.pixel, *self.image]

    @torch.inference_mode()
    def fit(self, logits: Tensor, features: Tensor) -> None:
        """Take one training image into account: logits [1, C, h, w] and pooled features [D]."""
        size = (logits.shape[2], logits.shape[3])
        for rows in logit_bands(logits, size, band_values(logits.device)):
            band = LogitBand(rows.flatten(1))
            for score in self.pixel.values():
                score.fit(band)
        for of_features in self.image.values():
            of_features.fit(features)

    @torch.inference_mode()
    def maps(self, logits: Tensor, size: tuple[int, int]) -> Maps:
        """Every pixel score, float32 [H, W] at `size`, of logits [1, C, h, w] resized bilinearly to it.

        In horizontal bands, so that all scores of a band find its logits in the cache, and what they share is
        computed once.
        """
        made = torch.empty(len(self.pixel), *size, device=logits.device)
        first = 0
        for rows in logit_bands(logits, size, band_values(logits.device)):
            band, part = LogitBand(rows.flatten(1)), made[:, first : first + rows.shape[1]]
            for score, place in zip(self.pixel.values(), part, strict=True):
                place.copy_(score.score(band).view_as(place))
            first += rows.shape[1]
        # One copy to the host, which waits for the device once.
        return dict(zip(self.pixel, made.cpu().numpy(), strict=True))

    def of_image(self, maps: Maps, features: Tensor) -> dict[str, float]:
        """Every score of a whole image: the mean of each pixel score, and the image scores."""
        means = {name: float(values.mean(dtype=np.float64)) for name, values in maps.items()}
        return means | {name: float(score.score(features)) for name, score in self.image.items()}

    def state(self) -> State:
        """What all scores have learned, by names such as `sml/sums`."""
        every: Mapping[str, Score[Any]] = {**self.pixel, **self.image}
        return {f"{name}/{key}": value for name, s in every.items() for key, value in s.state().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave. Raises KeyError when something of it is missing."""
        every: Mapping[str, Score[Any]] = {**self.pixel, **self.image}
        for name, score in every.items():
            start = f"{name}/"
            own = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
            score.restore(own)
