"""What augmentations draw, and whom they may mix a sample with: the same on any number of ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from engine.learning.distributed import ALONE, Group


@dataclass(frozen=True)
class Draws:
    """Random numbers for the samples of a batch, or of a part of one from sample `first` on.

    They are drawn for the `whole` batch, so that a sample gets the same ones whoever works on it; 0: the
    samples are all of it. `group` are the ranks that share the batch.
    """

    generator: Generator
    whole: int = 0
    first: int = 0
    group: Group = ALONE
    focus: Tensor | None = None
    """Where crops should lie, float32 [B, 2] on the CPU: a point (y, x) of each sample as shares of its
    height and width; NaN: anywhere. None: anywhere for all."""
    are_cropped: bool = False
    """Whether the samples are crops already, cut out where `Window.corners` of the same draws says."""

    def of(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), float32 of this shape on the CPU, whose last number is that of the samples."""
        *rows, samples = shape
        drawn = torch.rand(*rows, self.whole or samples, generator=self.generator)
        return drawn.narrow(-1, self.first, samples)

    def partners(self, uniform: Tensor) -> Tensor:
        """Another sample of the whole batch for each sample, int64 of the shape [..., B] of these uniform
        numbers; of a batch of one, that one."""
        samples = uniform.shape[-1]
        whole = self.whole or samples
        own = torch.arange(self.first, self.first + samples)
        steps = 1 + (uniform * (whole - 1)).long().clamp_(max=max(0, whole - 2))
        return (own + steps) % whole

    def whole_batch(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, H, W, 3] and labels uint8 [B, H, W] of the whole batch, to which each rank
        brings its own. All ranks must ask."""
        if self.group.count == 1:
            return images, labels
        pairs = torch.cat([images, labels.unsqueeze(-1)], dim=-1)
        pairs = self.group.whole_batch(pairs, self.whole)
        return pairs[..., :3], pairs[..., 3]


class Change(Protocol):
    """Changes images uint8 [B, H, W, 3] and labels uint8 [B, H, W] alike. Returns as many of the same types;
    only what crops returns another size, the same for each batch."""

    def __call__(self, images: Tensor, labels: Tensor, draws: Draws) -> tuple[Tensor, Tensor]: ...
