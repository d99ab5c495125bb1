"""Random numbers that belong to an image: hashes of a number of the image and of a place.

They are the same on any device, in any micro-batch and when they are computed again, and take no generator,
so that a CUDA graph may replay them.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SPREAD, _FIRST, _SECOND = 0x9E3779B1 - 2**32, 0x7FEB352D, 0x846CA68B - 2**32
"""Odd numbers that mix bits: the golden ratio's, and those of Wellons' hash of 32 bits, lowbias32."""


def hashed(numbers: Tensor, count: int) -> Tensor:
    """int32 [N, count]: `count` numbers of 32 random bits for each of `numbers`, int32 [N]."""
    bits = torch.arange(count, dtype=torch.int32, device=numbers.device) * _SPREAD
    bits = bits ^ numbers[:, None]
    bits = (bits ^ _shifted(bits, 16)) * _FIRST
    bits = (bits ^ _shifted(bits, 15)) * _SECOND
    return bits ^ _shifted(bits, 16)


def uniform(numbers: Tensor, count: int) -> Tensor:
    """float32 [N, count], from 0 to below 1, for each of `numbers`, int32 [N]."""
    return _shifted(hashed(numbers, count), 8).float() * 2**-24


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Bits of int32 moved to the right, with zeros from the left."""
    return (bits >> by) & ((1 << (32 - by)) - 1)
