"""What is drawn at random: each from a generator of its own, seeded by what it is for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor


def shuffled(images: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0..images-1 that depends on seed and epoch alone."""
    return torch.randperm(images, generator=step_generator(seed, epoch, -1))


def step_generator(seed: int, epoch: int, step: int) -> Generator:
    """A CPU generator for one step of one epoch; step -1 is the order of the epoch."""
    return Generator().manual_seed(_mixed(seed, epoch, step + 1))


def noise_generator(seed: int, epoch: int, step: int, device: torch.device, rank: int = 0) -> Generator:
    """A generator of noise for one rank's part of one step, on the device: the CPU would be too slow for a
    GPU."""
    words = (seed, epoch, step + 1, 1)
    return Generator(device).manual_seed(_mixed(*words, rank) if rank else _mixed(*words))


def scoring_generator(seed: int, step: int, device: torch.device) -> Generator:
    """A generator for one batch of the validation split, the same in every epoch."""
    return Generator(device).manual_seed(_mixed(seed, step, 2))


def _mixed(*words: int) -> int:
    """One seed of several numbers, of the 63 bits that torch takes."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1
