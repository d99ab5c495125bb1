"""Random changes of training images, as tensor operations on a whole batch on its own device.

What is random is drawn from a CPU generator whatever the device, so that the CPU and every GPU draw the
same and a resumed run repeats what the unbroken one would have drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional

from engine.augment import AUGMENTATIONS, AugmentSection
from engine.classes import VOID
from engine.learning.constants import constant

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in perceived brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class Draws:
    """Random numbers for the samples of a batch, or of a part of one from sample `first` on.

    They are drawn for the `whole` batch, so that a sample gets the same ones whoever works on it; 0: the
    samples are all of it.
    """

    generator: Generator
    whole: int = 0
    first: int = 0

    def of(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), float32 of this shape, whose last number is that of the samples."""
        *rows, samples = shape
        drawn = torch.rand(*rows, self.whole or samples, generator=self.generator)
        return drawn.narrow(-1, self.first, samples)


class Change(Protocol):
    """Changes images uint8 [B, H, W, 3] and labels uint8 [B, H, W] alike; same shapes and types back."""

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]: ...


def build_augmentations(section: AugmentSection) -> Change:
    """All changes that a config asks for, one after the other."""
    built = [part.build(section) for part in AUGMENTATIONS.parts().values()]
    changes = [change for change in built if change is not None]

    def augment(images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        for change in changes:
            images, labels = change(images, labels, draws)
        return images, labels

    return augment


@dataclass(frozen=True)
class Mirror:
    """A left-right mirror image, with this probability."""

    probability: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        chosen = draws.of(len(images)) < self.probability  # [B]
        chosen = chosen.to(images.device, non_blocking=True)
        images = torch.where(chosen[:, None, None, None], images.flip(2), images)
        return images, torch.where(chosen[:, None, None], labels.flip(2), labels)


@dataclass(frozen=True)
class Zoom:
    """Scale each sample by a factor of its own and crop or pad it back to its size at a random place.

    One grid of sampling positions serves images (bilinear) and labels (nearest, so that no class is
    invented). What lies outside is black and void.
    """

    smallest: float
    largest: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        count = len(images)
        drawn = draws.of(3, count).to(images.device, non_blocking=True)
        # Log-uniform: halving is as likely as doubling.
        scale = self.smallest * (self.largest / self.smallest) ** drawn[0]
        # In grid coordinates the sample is [-1, 1]; the window of half-width 1 / scale moves within it.
        room = (1 - 1 / scale).abs()
        shift = (2 * drawn[1:] - 1) * room  # [2, B]: x, y
        theta = torch.zeros(count, 2, 3, device=images.device)
        theta[:, 0, 0] = theta[:, 1, 1] = 1 / scale
        theta[:, :, 2] = shift.T
        grid = functional.affine_grid(theta, [count, 1, *labels.shape[1:]], align_corners=False)

        pixels = images.movedim(-1, 1).float()
        pixels = functional.grid_sample(pixels, grid, mode="bilinear", align_corners=False)
        images = pixels.round_().clamp_(0, 255).to(torch.uint8).movedim(1, -1)
        # Outside is 0 in the sampled tensor: with ids one higher, that is void once they are lowered again.
        ids = (labels.float() + 1).remainder_(VOID + 1).unsqueeze(1)
        ids = functional.grid_sample(ids, grid, mode="nearest", align_corners=False).squeeze(1)
        return images, (ids + VOID).remainder_(VOID + 1).to(torch.uint8)


@dataclass(frozen=True)
class ColourJitter:
    """Scale brightness, contrast about the mean and saturation about grey, each by a factor of its own."""

    brightness: float
    contrast: float
    saturation: float

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        strengths = torch.tensor([self.brightness, self.contrast, self.saturation])
        factors = 1 + (2 * draws.of(3, len(images)) - 1) * strengths[:, None]
        factors = factors.to(images.device, non_blocking=True)
        brightness, contrast, saturation = factors[..., None, None, None]
        pixels = images.float() * brightness
        grey = (pixels * constant(LUMA, images.device)).sum(-1, keepdim=True)  # [B, H, W, 1]
        pixels = grey + (pixels - grey) * saturation
        mean = grey.mean(dim=(1, 2), keepdim=True)
        pixels = mean + (pixels - mean) * contrast
        return torch.round(pixels).clamp_(0, 255).to(torch.uint8), labels
