"""An image through a network in sliding windows, which overlap, or as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Self

import torch
from torch import Tensor

from engine.config.windows import SlidingWindowKeys
from engine.learning.constants import constant


@dataclass(frozen=True)
class Windows:
    """Windows of `size` (height, width), `stride` (down, right) apart; `size` None: the whole image.

    The last window of a row or column is shifted back to the border, and a window is no larger than the
    image, as in mmsegmentation's sliding inference.
    """

    size: tuple[int, int] | None = None
    stride: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, keys: SlidingWindowKeys) -> Self:
        """Those of a section of the config."""
        return cls(keys.window_size, keys.window_stride or (0, 0))

    def count(self, size: tuple[int, int]) -> int:
        """How many windows an image of `size` (height, width) has."""
        rows, columns = self._places(size)
        return len(rows) * len(columns)

    def logits(self, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Logits [B, C, H, W] of images [B, 3, H, W], which `forward` takes in parts [B, 3, h, w].

        Of a single window they are what `forward` gives. Of several they are float32 with the classes
        innermost in memory, the mean over all windows that show a pixel, each with the same weight; besides
        the sum, only one window's logits exist at a time.
        """
        size = inputs.shape[2], inputs.shape[3]
        rows, columns = self._places(size)
        if len(rows) == len(columns) == 1:
            return forward(inputs)
        total: Tensor | None = None
        for high, wide in product(rows, columns):
            logits = forward(inputs[:, :, high, wide])
            if total is None:
                shape = len(inputs), *size, logits.shape[1]
                total = logits.new_zeros(shape, dtype=torch.float32).permute(0, 3, 1, 2)
            total[:, :, high, wide] += logits
        assert total is not None
        assert self.size is not None
        down, right = (
            constant(_overlaps(*each), total.device)
            for each in zip(size, self.size, self.stride, strict=True)
        )
        # The windows are a grid: how many show a pixel is a product of two numbers.
        return total.div_(down[:, None] * right)

    def _places(self, size: tuple[int, int]) -> tuple[list[slice], list[slice]]:
        """The rows and the columns of an image of `size` that windows show."""
        if self.size is None:
            return [slice(0, size[0])], [slice(0, size[1])]
        rows, columns = (_along(*each) for each in zip(size, self.size, self.stride, strict=True))
        return rows, columns


WHOLE_IMAGES = Windows()


def _along(side: int, window: int, stride: int) -> list[slice]:
    """Where windows lie along a side, in its pixels."""
    window = min(window, side)
    last = side - window
    firsts = [min(number * stride, last) for number in range(-(-last // stride) + 1)]
    return [slice(first, first + window) for first in firsts]


@lru_cache
def _overlaps(side: int, window: int, stride: int) -> tuple[float, ...]:
    """How many windows show each pixel of a side."""
    places = _along(side, window, stride)
    return tuple(float(sum(place.start <= at < place.stop for place in places)) for at in range(side))
