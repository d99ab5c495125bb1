"""How many pixels each sample has of each value, on the device and without a wait."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.classes import VOID

VALUES = 256


def value_counts(values: Tensor) -> Tensor:
    """How often each row has each value: uint8 [N, ...] -> int64 [N, 256].

    The order of the additions is not fixed, but their sum is: they are integers.
    """
    index = values.flatten(1).long()
    one = torch.ones(1, dtype=torch.int64, device=values.device)
    table = torch.zeros(len(index), VALUES, dtype=torch.int64, device=values.device)
    return table.scatter_add_(1, index, one.expand(index.shape))


def thinned(labels: Tensor, side: int = 256) -> Tensor:
    """Every n-th row and column of labels [B, H, W], at most `side` of each: enough to tell shares by."""
    height, width = labels.shape[1:]
    return labels[:, :: -(-height // side), :: -(-width // side)]


def class_counts(labels: Tensor) -> Tensor:
    """Pixels of each class, int64 [B, 255], void left out, of labels uint8 [B, H, W]."""
    return value_counts(labels)[:, :VOID]
