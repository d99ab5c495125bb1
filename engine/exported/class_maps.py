"""From logits at the size that a network sees to class maps at the size of an image, in NumPy.

What `engine.learning.class_maps` does with torch: the same class everywhere but at near ties, where the last
bit of a float32 decides.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.data.decode import resize_labels

BAND_VALUES = 2**22
"""Logits at the full size that exist at once: 16 MB, which a CPU's cache nearly holds."""

Logits = NDArray[np.float32]
ClassIds = NDArray[np.uint8]


def class_map(logits: Logits, size: tuple[int, int], label_resize: str) -> ClassIds:
    """Train ids uint8 [H, W] at `size` from logits [C, h, w]; `label_resize` as for torch's."""
    if label_resize == "nearest" or logits.shape[1:] == size:
        largest = logits.argmax(axis=0).astype(np.uint8)
        return largest if logits.shape[1:] == size else resize_labels(largest, size)
    return np.concatenate([wide.argmax(axis=2).astype(np.uint8) for wide in bands(logits, size)])


def probability_map(logits: Logits, size: tuple[int, int]) -> NDArray[np.float32]:
    """The largest softmax probability of each pixel, [H, W] at `size`: of logits [C, h, w], resized."""

    def largest(wide: Logits) -> NDArray[np.float32]:
        found: NDArray[np.float32] = 1 / np.exp(wide - wide.max(axis=2, keepdims=True)).sum(axis=2)
        return found

    return np.concatenate([largest(wide) for wide in bands(logits, size)])


def bands(logits: Logits, size: tuple[int, int]) -> Iterator[Logits]:
    """Logits [C, h, w] resized bilinearly to `size`, as bands [rows, W, C] from the top down."""
    pixels = np.ascontiguousarray(logits.transpose(1, 2, 0))  # [h, w, C]: an argmax runs along memory
    above, below, down = between(size[0], logits.shape[1])
    left, right, along = between(size[1], logits.shape[2])
    band = max(1, BAND_VALUES // (len(logits) * size[1]))
    for first in range(0, size[0], band):
        part = slice(first, first + band)
        rows = lerp(pixels[above[part]], pixels[below[part]], down[part, None, None])  # [band, w, C]
        yield lerp(rows[:, left], rows[:, right], along[None, :, None])


def lerp(start: Logits, end: Logits, weight: Logits) -> Logits:
    return start + (end - start) * weight


def between(wanted: int, given: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Logits]:
    """For each target row the two source rows that it lies between, and how far it is from the first."""
    place = ((np.arange(wanted) + 0.5) * (given / wanted) - 0.5).clip(0, given - 1)
    low = np.floor(place).astype(np.int64)
    return low, np.minimum(low + 1, given - 1), (place - low).astype(np.float32)
