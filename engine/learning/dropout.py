"""Dropout whose masks belong to a step and an image: the same after a resumption, on any number of devices,
in micro-batches, with activation checkpointing and in a replayed CUDA graph.

Torch's own dropout draws from the device's generator: each rank draws other numbers, and a graph counts them
in its own way. Here a number for each layer and image is drawn for the global batch, like all that is random
in a step, and a hash of it and of the position says whether a value is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.learning.image_numbers import ImageNumbers
from engine.models.hashed import hashed


class Masked(nn.Module):
    """What a layer of a library becomes. Outside of a step it has no numbers and draws as it always did."""

    numbers: Tensor | None = None
    """int32 [B], of the images that come next."""

    share_name = "p"
    """What the layer calls the share that is dropped."""

    @property
    def share(self) -> float:
        """The share of values that is dropped."""
        return float(getattr(self, self.share_name))

    def mask_shape(self, input: Tensor) -> Sequence[int]:
        """The shape of the mask of an input [N, C, ...], which it is broadcast to."""
        return input.shape

    def forward(self, input: Tensor) -> Tensor:
        numbers = self.numbers
        if not self.training or numbers is None or len(input) % len(numbers):
            result: Tensor = super().forward(input)
            return result
        return input * mask(numbers, self.mask_shape(input), self.share, input.dtype)


class MaskedDropout(Masked, nn.Dropout):
    """`nn.Dropout` by the numbers of a step."""


class MaskedDropout2d(Masked, nn.Dropout2d):
    """`nn.Dropout2d`, which drops whole channels, by the numbers of a step."""

    def mask_shape(self, input: Tensor) -> Sequence[int]:
        return *input.shape[:2], *[1] * (input.ndim - 2)


class _MaskedPath(Masked):
    """Stochastic depth (Huang et al. 2016), which drops whole images, by the numbers of a step."""

    share_name = "drop_prob"

    def mask_shape(self, input: Tensor) -> Sequence[int]:
        return len(input), *[1] * (input.ndim - 1)


_KINDS: dict[type[nn.Module], type[Masked]] = {nn.Dropout: MaskedDropout, nn.Dropout2d: MaskedDropout2d}


def masked_kind(layer: nn.Module) -> type[Masked] | None:
    """What a layer that drops at random becomes; None for any other, and for subclasses, which may do more.
    That of timm is known by its name, as timm need not be here."""
    kind = type(layer)
    is_path = kind.__name__ == "DropPath" and kind.__module__.startswith("timm.")
    if is_path and not getattr(layer, "scale_by_keep", False):
        return None
    if is_path and kind not in _KINDS:
        _KINDS[kind] = type("MaskedDropPath", (_MaskedPath, kind), {})
    return _KINDS.get(kind)


class Dropouts:
    """The dropout layers of a network, and the numbers that their masks are made of.

    `images` is the most that a device has of a batch. A network without such layers costs nothing.
    """

    def __init__(self, model: nn.Module, images: int, device: torch.device) -> None:
        self.layers: list[Masked] = []
        for layer in model.modules():
            if (kind := masked_kind(layer)) is not None:
                layer.__class__ = kind
            if isinstance(layer, Masked) and 0 < layer.share < 1:
                self.layers.append(layer)
        self._numbers = ImageNumbers(len(self.layers), images, device)

    def draw(self, generator: torch.Generator, images: int, first: int, count: int) -> None:
        """Draw the numbers of a step for its `images` images; this device has `count` from `first` on."""
        self._numbers.draw(generator, images, first, count)

    def show(self, start: int, count: int) -> None:
        """Have the layers use the numbers of `count` of this device's images from `start` on."""
        for layer, numbers in zip(self.layers, self._numbers.of(start, count), strict=True):
            layer.numbers = numbers


def mask(numbers: Tensor, shape: Sequence[int], p: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """0 where a value is dropped, 1 / (1 - p) elsewhere; `shape` is [N, C, ...].

    `numbers`, int32 [B], belong to the images, each of which has N / B of the rows.
    """
    rows, channels, *sides = shape
    # In the order of channels_last, so that the memory format decides nothing.
    count = rows // len(numbers) * math.prod([*sides, channels])
    bits = hashed(numbers, count) & 0x7FFFFFFF
    kept = (bits >= int(p * 2**31)).to(dtype) / (1 - p)
    return kept.reshape(rows, *sides, channels).movedim(-1, 1)
