"""From logits at the size that a network sees to class maps at the size of an image, in little memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

BAND_VALUES = 2**24
"""Logits at the full size that exist at once: 64 MB, a third of those of 19 classes at 1024x2048."""


def largest_class(values: Tensor, dim: int = 1) -> Tensor:
    """The class of the largest value along `dim`, as uint8; of equal ones the first, as argmax has it.

    Torch's `max` finds it beside the value, on the CPU in four fifths of the time of its argmax and, where
    the classes do not lie side by side in memory, in less than half of it.
    """
    return values.max(dim).indices.to(torch.uint8)


def class_map(logits: Tensor, size: tuple[int, int], label_resize: str) -> Tensor:
    """Train ids uint8 [H, W] at `size` from logits [1, C, h, w].

    "bilinear-logits": the logits are resized, pixel centres at halves (torch's align_corners=False), and
    the largest wins. "nearest": the largest wins first, and each pixel takes the class of the source pixel
    under its centre, as labels are resized in `engine.data.decode`. At the logits' own size both are the
    plain argmax.
    """
    height, width = logits.shape[2:]
    if label_resize == "nearest" or (height, width) == size:
        classes = largest_class(logits)[0]
        rows, columns = _nearest(size[0], height, logits), _nearest(size[1], width, logits)
        return classes if (height, width) == size else classes[rows[:, None], columns]
    return torch.cat([largest_class(band)[0] for band in _bilinear_bands(logits, size)])


def logits_at(logits: Tensor, size: tuple[int, int], label_resize: str) -> Tensor:
    """All logits of `class_map` at `size`, float32 [H, W, C]: their argmax is that class map."""
    height, width = logits.shape[2:]
    if label_resize == "nearest" or (height, width) == size:
        pixels = logits[0].permute(1, 2, 0)
        if (height, width) != size:
            rows, columns = _nearest(size[0], height, logits), _nearest(size[1], width, logits)
            pixels = pixels[rows[:, None], columns]
        return pixels.contiguous()
    whole = logits.new_empty(*size, logits.shape[1])
    first = 0
    for band in _bilinear_bands(logits, size):
        rows_here = band.shape[2]
        whole[first : first + rows_here] = band[0].permute(1, 2, 0)
        first += rows_here
    return whole


def _bilinear_bands(logits: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Bands [1, C, rows, W] of the logits at `size`, from the top down, with the classes innermost in
    memory."""
    height, width = logits.shape[2:]
    low, high, weight = _between(size[0], height, logits)
    # With the classes innermost a pixel's logits lie side by side: the argmax is several times as fast.
    pixels = logits[0].permute(1, 2, 0).contiguous()  # [h, w, C]
    band = max(1, BAND_VALUES // (logits.shape[1] * size[1]))
    for first in range(0, size[0], band):
        part = slice(first, first + band)
        rows = torch.lerp(
            pixels.index_select(0, low[part]), pixels.index_select(0, high[part]), weight[part, None, None]
        )
        wide = rows.permute(2, 0, 1).unsqueeze(0)  # [1, C, band, w], channels last in memory
        if width != size[1]:
            wide = functional.interpolate(wide, size=(wide.shape[2], size[1]), mode="bilinear")
        yield wide


def logit_bands(logits: Tensor, size: tuple[int, int], values: int) -> Iterator[Tensor]:
    """Logits [1, C, h, w] resized bilinearly to `size`, as horizontal bands [C, rows, W] from the top down.

    A band has about `values` logits, at least one row. Pixel centres are at halves, as in `class_map`.
    """
    height, width = logits.shape[2:]
    low, high, weight = _between(size[0], height, logits)
    band = max(1, values // (logits.shape[1] * size[1]))
    # One class after the other in memory: what is done along the classes then runs along rows. At the full
    # size that is a copy of each band while it is in the cache, which costs a tenth of a copy of the whole.
    planes = logits[0] if height == size[0] else logits[0].contiguous()
    for first in range(0, size[0], band):
        part = slice(first, first + band)
        if height == size[0]:
            rows = planes[:, part].contiguous()
        else:
            above, below = planes.index_select(1, low[part]), planes.index_select(1, high[part])
            rows = torch.lerp(above, below, weight[part, None])
        if width != size[1]:
            rows = functional.interpolate(rows.unsqueeze(0), (rows.shape[1], size[1]), mode="bilinear")[0]
        yield rows


def _nearest(wanted: int, given: int, on: Tensor) -> Tensor:
    """The source row (or column) of each target row: floor((i + 1/2) * given / wanted), in whole numbers."""
    return (2 * torch.arange(wanted, device=on.device) + 1) * given // (2 * wanted)


def _between(wanted: int, given: int, on: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each target row the two source rows it lies between, and how far it is from the first."""
    target = torch.arange(wanted, dtype=torch.float64, device=on.device)
    place = ((target + 0.5) * (given / wanted) - 0.5).clamp(0, given - 1)
    low = place.floor().long()
    return low, (low + 1).clamp(max=given - 1), (place - low).to(on.dtype)
