"""An image through a network in sliding windows, which overlap, or as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from engine.config.windows import WindowGrid
from engine.learning.constants import constant


@dataclass(frozen=True)
class Windows(WindowGrid):
    """The windows in which a network of torch sees images."""

    def logits(self, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Logits [B, C, H, W] of images [B, 3, H, W], which `forward` takes in parts [B, 3, h, w].

        Of a single window they are what `forward` gives. Of several they are float32 with the classes
        innermost in memory, the mean over all windows that show a pixel, each with the same weight; besides
        the sum, only one window's logits exist at a time.
        """
        size = inputs.shape[2], inputs.shape[3]
        rows, columns = self.places(size)
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
        down, right = (constant(counts, total.device) for counts in self.overlaps(size))
        return total.div_(down[:, None] * right)


WHOLE_IMAGES = Windows()
