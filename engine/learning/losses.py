"""Losses over logits [B, C, H, W] and train ids [B, H, W]; void pixels (255) take no part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from engine.classes import VOID
from engine.config import LossConfig

Loss = Callable[[Tensor, Tensor], Tensor]


def build_loss(config: LossConfig) -> Loss:
    """The loss of a config: (logits [B, C, H, W], labels uint8 [B, H, W]) -> float32 scalar."""

    def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
        # A batch may be all void: the mean over no pixels is 0 here, where torch's own mean gives NaN.
        total = functional.cross_entropy(
            logits.float(),
            labels.long(),
            ignore_index=VOID,
            reduction="sum",
            label_smoothing=config.label_smoothing,
        )
        return total / (labels != VOID).sum().clamp(min=1)

    def cross_entropy_dice(logits: Tensor, labels: Tensor) -> Tensor:
        return 0.5 * cross_entropy(logits, labels) + 0.5 * soft_dice_loss(logits, labels)

    return cross_entropy if config.name == "cross_entropy" else cross_entropy_dice


def soft_dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - mean over the classes present in the batch of 2|PT| / (|P| + |T|), P the softmax.

    Milletari et al., "V-Net", 3DV 2016, with plain sums in the denominator; counts are pooled over the batch.
    """
    classes = logits.shape[1]
    valid = labels != VOID  # [B, H, W]
    probability = logits.float().softmax(dim=1) * valid.unsqueeze(1)  # [B, C, H, W]
    truth = functional.one_hot(torch.where(valid, labels, 0).long(), classes).movedim(
        -1, 1
    ) * valid.unsqueeze(1)
    overlap = (probability * truth).sum(dim=(0, 2, 3))  # [C]
    truth_size = truth.sum(dim=(0, 2, 3))
    dice = 2 * overlap / (probability.sum(dim=(0, 2, 3)) + truth_size).clamp(min=1e-6)
    present = truth_size > 0
    return 1 - (dice * present).sum() / present.sum().clamp(min=1)
