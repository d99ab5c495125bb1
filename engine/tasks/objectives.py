"""What a network learns: which targets a batch has, what the network is shown, how far its answer is off.

The training loop is the same for every task; an objective is what differs.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional

from engine.classes import VOID
from engine.config import LossConfig, RunConfig
from engine.data.batches import normalise
from engine.learning.losses import build_loss
from engine.models.registry import CHANNELS


class Objective(Protocol):
    """Images are uint8 [B, H, W, 3], labels train ids, uint8 [B, H, W]; answers are [B, C, H, W]."""

    def targets(self, images: Tensor, labels: Tensor, generator: Generator) -> Tensor:
        """What is right for a batch, [B, ...]; what is random in it comes from a generator on its device."""

    def inputs(self, images: Tensor, targets: Tensor) -> Tensor:
        """What the network is shown, float32 [B, 3, H, W]."""

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        """A float32 scalar, a mean over what `weight` counts."""

    def weight(self, targets: Tensor) -> Tensor | int:
        """How much a part of a batch counts in the mean over the whole."""


class Segmentation:
    """Which class each pixel is of: the targets are the labels."""

    def __init__(self, config: LossConfig) -> None:
        self.loss = build_loss(config)

    def targets(self, images: Tensor, labels: Tensor, generator: Generator) -> Tensor:
        return labels

    def inputs(self, images: Tensor, targets: Tensor) -> Tensor:
        return normalise(images)

    def weight(self, targets: Tensor) -> Tensor | int:
        """The pixels that are of a class."""
        return (targets != VOID).sum()


class Denoising:
    """Which noise was added to an image, in L2.

    Brempong et al., "Denoising Pretraining for Semantic Segmentation", CVPR 2022 workshops: of an image x of
    variance about 1 and noise e of variance 1 the network sees (x + s e) / sqrt(1 + s^2), whose variance is
    again about 1, and answers with e.
    """

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def targets(self, images: Tensor, labels: Tensor, generator: Generator) -> Tensor:
        # In the order of the image's memory, so that both add up without a copy.
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        return noise.movedim(-1, 1)  # [B, 3, H, W]

    def inputs(self, images: Tensor, targets: Tensor) -> Tensor:
        return (normalise(images) + self.noise * targets) / math.sqrt(1 + self.noise**2)

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        return functional.mse_loss(answers.float(), targets)

    def weight(self, targets: Tensor) -> Tensor | int:
        """The images."""
        return len(targets)


def build_objective(config: RunConfig) -> Objective:
    """The objective of a config's task."""
    return Denoising(config.pretrain.noise) if config.task == "pretrain" else Segmentation(config.loss)


def output_channels(config: RunConfig, classes: int) -> int:
    """Channels of the network's answer: a logit a class, or the noise of each colour."""
    return CHANNELS if config.task == "pretrain" else classes
