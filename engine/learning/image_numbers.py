"""Numbers that are drawn for the images of a step and kept where a CUDA graph reads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor


class ImageNumbers:
    """`rows` numbers of 32 random bits for each image of this device, of which there are at most `images`.

    They are drawn for the global batch, so that an image has the same ones whichever rank it is on. They stay
    in the same memory from step to step.
    """

    def __init__(self, rows: int, images: int, device: torch.device) -> None:
        self.rows = rows
        self._numbers = torch.zeros(rows, images, dtype=torch.int32, device=device)
        self._parts: dict[tuple[int, int], Sequence[Tensor]] = {}

    def draw(self, generator: Generator, images: int, first: int, count: int) -> None:
        """Draw those of a step for its `images` images; this device has `count` from `first` on."""
        if self.rows == 0:
            return
        shape = self.rows, images
        drawn = torch.randint(-(2**31), 2**31, shape, generator=generator, dtype=torch.int64).int()
        own = drawn[:, first : first + count].to(self._numbers.device, non_blocking=True)
        self._numbers[:, :count].copy_(own)

    def of(self, start: int, count: int) -> Sequence[Tensor]:
        """Those of `count` of this device's images from `start` on: for each row int32 [count], the same
        tensors in every step."""
        if (start, count) not in self._parts:
            self._parts[start, count] = list(self._numbers[:, start : start + count])
        return self._parts[start, count]
