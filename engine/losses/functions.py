"""Losses over logits [B, C, H, W] and train ids [B, H, W]; void pixels (255) take no part.

A loss is a function of sums over pixels. Sums add up over batches, micro-batches and ranks, so the loss of a
whole split is the same however the split was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from engine.classes import VOID
from engine.losses import LOSSES, LossSection


class Loss(Protocol):
    """`terms` is the number of sums; the first is that of the valid pixels."""

    terms: int

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        """float64 [terms] of a batch, with a gradient for `logits`."""

    def value(self, sums: Tensor) -> Tensor:
        """The loss, a float64 scalar, of added sums. It is finite and has no gradient where no pixel is
        valid."""


class CrossEntropy:
    """The mean over valid pixels of the cross-entropy."""

    terms = 2

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        # The kernel that adds up on CUDA has no deterministic form; the one that does not add up has.
        apart = logits.is_cuda and torch.are_deterministic_algorithms_enabled()
        total = functional.cross_entropy(
            logits.float(),
            labels.long(),
            ignore_index=VOID,
            reduction="none" if apart else "sum",
            label_smoothing=self.label_smoothing,
        )
        return torch.stack(
            [(labels != VOID).sum().double(), total.double().sum() if apart else total.double()]
        )

    def value(self, sums: Tensor) -> Tensor:
        # A batch may be all void: the mean over no pixels is 0 here, where torch's own mean gives NaN.
        # The count has no gradient to compute.
        return sums[1] / sums[0].detach().clamp(min=1)


class SoftDice:
    """1 - mean over the classes present of 2|PT| / (|P| + |T|), P the softmax.

    Milletari et al., "V-Net", 3DV 2016, with plain sums in the denominator. |PT|, |P| and |T| are pooled over
    whatever the sums are of: a batch while training, all of a split where its loss is recorded.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.terms = 1 + 3 * classes

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        valid = labels != VOID  # [B, H, W]
        probability = logits.float().softmax(dim=1) * valid.unsqueeze(1)  # [B, C, H, W]
        truth = functional.one_hot(torch.where(valid, labels, 0).long(), self.classes).movedim(
            -1, 1
        ) * valid.unsqueeze(1)
        per_class = [(probability * truth), probability, truth]
        return torch.cat(
            [valid.sum().double().unsqueeze(0), *(each.sum(dim=(0, 2, 3)).double() for each in per_class)]
        )

    def value(self, sums: Tensor) -> Tensor:
        overlap, probability, truth = sums[1:].view(3, self.classes)
        dice = 2 * overlap / (probability + truth).clamp(min=1e-6)
        present = truth > 0
        loss: Tensor = 1 - (dice * present).sum() / present.sum().clamp(min=1)
        return loss


class WeightedSum:
    """Losses that add up, each with its weight."""

    def __init__(self, losses: Sequence[tuple[float, Loss]]) -> None:
        self._losses = losses
        self._sizes = [loss.terms for _, loss in losses]
        self.terms = sum(self._sizes)

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        return torch.cat([loss.sums(logits, labels) for _, loss in self._losses])

    def value(self, sums: Tensor) -> Tensor:
        parts = zip(self._losses, torch.split(sums, self._sizes), strict=True)
        return torch.stack([weight * loss.value(part) for (weight, loss), part in parts]).sum()


def build_loss(section: LossSection, classes: int) -> Loss:
    """The loss of a config for logits of `classes` channels."""
    parts = LOSSES.parts()
    losses = [(weight, parts[name].build(section, classes)) for name, weight in section.weights().items()]
    return losses[0][1] if len(losses) == 1 and losses[0][0] == 1 else WeightedSum(losses)
