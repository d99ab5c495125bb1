"""Sliding windows in NumPy, as `engine.learning.windows` has them with torch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from engine.config.windows import WindowGrid
from engine.exported.class_maps import Logits


def windowed_logits(
    grid: WindowGrid, forward: Callable[[NDArray[np.uint8]], Logits], pixels: NDArray[np.uint8]
) -> Logits:
    """Logits float32 [C, H, W] of pixels uint8 [H, W, 3], which `forward` takes in parts: their mean over all
    windows that show a pixel."""
    size = pixels.shape[0], pixels.shape[1]
    rows, columns = grid.places(size)
    if len(rows) == len(columns) == 1:
        return forward(pixels)
    total: Logits | None = None
    for high, wide in product(rows, columns):
        logits = forward(pixels[high, wide])
        if total is None:
            total = np.zeros((len(logits), *size), np.float32)
        total[:, high, wide] += logits
    assert total is not None
    down, right = (np.array(counts, np.float32) for counts in grid.overlaps(size))
    total /= down[:, None] * right
    return total
