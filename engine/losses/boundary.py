"""A loss of boundaries."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.losses.functions import truth_of, wide

WINDOW = 3
"""Sides of the square in which a pixel of another class makes one a boundary pixel."""
WIDEST_SQUARE = 5
"""Sides up to which one maximum over a square takes less time than two over lines."""


class Boundary:
    """1 - F1 of the boundaries, mean over the classes of each image that have one.

    Bokhovkin and Burnaev, "Boundary Loss for Remote Sensing Imagery Semantic Segmentation", ISNN 2019. A
    map's boundary is what its 3x3 maximum of 1 - y adds to 1 - y; a boundary pixel is found where the other
    map has one within `distance` pixels, along each axis. Void pixels are neither of a class nor outside it,
    so they make no boundaries.
    """

    terms = 3

    def __init__(self, distance: int) -> None:
        self.reach = 2 * distance + 1

    def sums(self, logits: Tensor, labels: Tensor) -> Tensor:
        logits = wide(logits)
        valid, truth = truth_of(labels, logits.shape[1])
        there = valid.unsqueeze(1).to(logits.dtype)
        found, true = _boundary(logits.softmax(1), there), _boundary(truth.to(logits.dtype), there)
        precision = _share(found, self._within_reach(true))  # [B, C]
        recall = _share(true, self._within_reach(found))
        f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-6)
        present = true.sum((2, 3)) > 0
        lost = ((1 - f1) * present).double().sum()
        return torch.stack([valid.sum().double(), lost, present.sum().double()])

    def value(self, sums: Tensor) -> Tensor:
        return sums[1] / sums[2].detach().clamp(min=1)

    def _within_reach(self, boundary: Tensor) -> Tensor:
        if self.reach <= WIDEST_SQUARE:
            return functional.max_pool2d(boundary, self.reach, 1, self.reach // 2)
        # Along one axis after the other, as the work of a square grows with its area.
        down = functional.max_pool2d(boundary, (self.reach, 1), 1, (self.reach // 2, 0))
        return functional.max_pool2d(down, (1, self.reach), 1, (0, self.reach // 2))


def _boundary(inside: Tensor, there: Tensor) -> Tensor:
    outside = (1 - inside) * there
    return (functional.max_pool2d(outside, WINDOW, 1, WINDOW // 2) - outside) * there


def _share(boundary: Tensor, other: Tensor) -> Tensor:
    """The share of a boundary, [B, C, H, W], that lies within reach of the other."""
    return (boundary * other).sum((2, 3)) / boundary.sum((2, 3)).clamp(min=1e-6)
