"""Random changes of training images, as tensor operations on a whole batch on its own device."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from engine.config import AugmentConfig


def augment(
    config: AugmentConfig, images: Tensor, labels: Tensor, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Images uint8 [B, H, W, 3] and labels uint8 [B, H, W], changed alike.

    `generator` is a CPU generator whatever the device, so that the CPU and every GPU draw the same.
    """
    if config.flip > 0:
        chosen = torch.rand(len(images), generator=generator) < config.flip  # [B]
        chosen = chosen.to(images.device, non_blocking=True)
        images = torch.where(chosen[:, None, None, None], images.flip(2), images)
        labels = torch.where(chosen[:, None, None], labels.flip(2), labels)
    return images, labels
