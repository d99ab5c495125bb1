"""Random streams: each has a generator of its own, seeded by what it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Generator, Tensor


def shuffled(images: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0..images-1 that depends on seed and epoch alone."""
    return torch.randperm(images, generator=step_generator(seed, epoch, -1))


def step_generator(seed: int, epoch: int, step: int) -> Generator:
    """A CPU generator for one step of one epoch; step -1 is the order of the epoch."""
    return Generator().manual_seed(_mixed(seed, epoch, step + 1))


def class_generator(seed: int, epoch: int) -> Generator:
    """A CPU generator for the images of an epoch that are chosen by class."""
    return Generator().manual_seed(_mixed(seed, epoch, 0, 3))


def mask_generator(seed: int, epoch: int, step: int) -> Generator:
    """A CPU generator for what one step drops of the features."""
    return Generator().manual_seed(_mixed(seed, epoch, step + 1, 4))


def own_loss_generator(seed: int, epoch: int, step: int) -> Generator:
    """A CPU generator for what is random in a network's own loss of one step."""
    return Generator().manual_seed(_mixed(seed, epoch, step + 1, 5))


def style_generator(seed: int, epoch: int, step: int) -> Generator:
    """A CPU generator for the styles that one step mixes."""
    return Generator().manual_seed(_mixed(seed, epoch, step + 1, 6))


class Noise(Protocol):
    """A source of normal noise for the images of one batch."""

    def like(self, images: Tensor) -> Tensor:
        """float32 of the images' shape [B, H, W, 3], on their device."""


@dataclass(frozen=True)
class StepNoise:
    """The noise of one step: drawn for the global batch of `global_size` images, of which this rank has those
    from `first` on. So it does not depend on how many ranks share the batch."""

    seed: int
    epoch: int
    step: int
    global_size: int
    first: int = 0

    def like(self, images: Tensor) -> Tensor:
        # The CPU would be too slow for a GPU.
        generator = _generator(images.device, self.seed, self.epoch, self.step + 1, 1)
        shape = (self.global_size, *images.shape[1:])
        drawn = torch.randn(shape, generator=generator, device=images.device)
        return drawn[self.first : self.first + len(images)]


@dataclass(frozen=True)
class ScoringNoise:
    """The noise of images of the validation split, the first of which is at `position` there: each image has
    its own, the same in every epoch and whatever batch it is in."""

    seed: int
    position: int

    def like(self, images: Tensor) -> Tensor:
        device = images.device
        return torch.stack(
            [
                torch.randn(image.shape, generator=_generator(device, self.seed, position, 2), device=device)
                for position, image in enumerate(images, start=self.position)
            ]
        )


def _generator(device: torch.device, *words: int) -> Generator:
    return Generator(device).manual_seed(_mixed(*words))


def _mixed(*words: int) -> int:
    """One seed of several numbers, of the 63 bits that torch takes."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1
