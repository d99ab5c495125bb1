"""What a meter counts of a batch on a GPU, for channels_last logits, by one kernel that waits for nothing.

Of the logits it takes the largest, of that and the label the confusion of each image, of these their sum and
the images' Dice: as `engine.metrics.confusion` does by some forty launches. Whatever programs add up together
is a whole number, so bits repeat.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.classes import VOID
from engine.metrics.confusion import DICE_UNIT
from engine.models.cooperative import launch_passes, wait_for_all

TILE = 4096
"""Logits that a program holds at a time."""
MOST_CLASSES = 64
"""Whose confusions a program can hold at once."""


@triton.jit  # type: ignore[untyped-decorator]
def count_kernel(  # type: ignore[no-untyped-def]
    logits, labels, batch_sums, table, state, sums, images, of_image, classes, terms, gate,
    VOID: tl.constexpr, DICE: tl.constexpr, TILE: tl.constexpr, CLASSES: tl.constexpr, TERMS: tl.constexpr,
    PASS: tl.constexpr,
):  # fmt: skip
    """`table` is int32 [B C^2 + 1], confusions by truth and prediction, and the pixels of unknown labels."""
    first, step = tl.program_id(0), tl.num_programs(0)
    cells = classes * classes
    if PASS == 0 or PASS == 1:
        for start in range(first * TILE, images * cells + 1, step * TILE):
            cell = start + tl.arange(0, TILE)
            tl.store(table + cell, tl.zeros([TILE], tl.int32), mask=cell < images * cells + 1)
    if PASS == 0:
        wait_for_all(gate)
    if PASS == 0 or PASS == 2:
        _count_pixels(
            first, step, logits, labels, table, images, of_image, classes, VOID, TILE // CLASSES, CLASSES
        )
    if PASS == 0:
        wait_for_all(gate)
    if PASS == 0 or PASS == 3:
        for image in range(first, images, step):
            _add_image(table + image * cells, state, classes, DICE, CLASSES)
        for row in range(first, classes, step):
            _add_row(row, table, state, images, classes, CLASSES)
        if first == 0:
            unknown = state + classes * (classes + 1) + 2
            tl.store(unknown, tl.load(unknown) + tl.load(table + images * cells))
            term = tl.arange(0, TERMS)
            total = tl.load(sums + term, mask=term < terms) + tl.load(batch_sums + term, mask=term < terms)
            tl.store(sums + term, total, mask=term < terms)


@triton.jit  # type: ignore[untyped-decorator]
def _count_pixels(  # type: ignore[no-untyped-def]
    first, step, logits, labels, table, images, of_image, classes,
    VOID: tl.constexpr, PIXELS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, CLASSES)
    pixels = images * of_image
    for start in range(first * PIXELS, pixels, step * PIXELS):
        pixel = start + tl.arange(0, PIXELS)
        label = tl.load(labels + pixel, mask=pixel < pixels, other=VOID).to(tl.int32)
        place = pixel.to(tl.int64)[:, None] * classes + column[None, :]
        inside = (pixel < pixels)[:, None] & (column < classes)[None, :]
        logit = tl.load(logits + place, mask=inside, other=float("-inf")).to(tl.float32)
        predicted = tl.argmax(logit, 1)  # of equal ones the first
        cell = (pixel // of_image) * classes * classes + label * classes + predicted
        cell = tl.where(label < classes, cell, images * classes * classes)
        tl.atomic_add(table + cell, 1, mask=label != VOID, sem="relaxed")


@triton.jit  # type: ignore[untyped-decorator]
def _add_image(  # type: ignore[no-untyped-def]
    confusion, state, classes, DICE: tl.constexpr, CLASSES: tl.constexpr
):
    """The mean over an image's classes of its Dice, in units, and whether it has one."""
    row, column = tl.arange(0, CLASSES)[:, None], tl.arange(0, CLASSES)[None, :]
    inside = (row < classes) & (column < classes)
    counts = tl.load(confusion + row * classes + column, mask=inside, other=0)
    size = tl.sum(counts, 1) + tl.sum(counts, 0)
    correct = tl.sum(tl.where(row == column, counts, 0), 1)
    dice = correct.to(tl.float64) * DICE / tl.maximum(size, 1).to(tl.float64)
    present = tl.sum((size > 0).to(tl.int32), 0)
    mean = tl.sum(dice, 0) / tl.maximum(present, 1).to(tl.float64)
    place = state + classes * (classes + 1)
    tl.atomic_add(place, tl.floor(mean + 0.5).to(tl.int64), sem="relaxed")
    tl.atomic_add(place + 1, tl.minimum(present, 1).to(tl.int64), sem="relaxed")


@triton.jit  # type: ignore[untyped-decorator]
def _add_row(  # type: ignore[no-untyped-def]
    row, table, state, images, classes, CLASSES: tl.constexpr
):
    """Add a row of all images' confusions; the last column of the state, pixels predicted as void, stays."""
    column = tl.arange(0, CLASSES)
    inside = column < classes
    place = state + row * (classes + 1) + column
    total = tl.load(place, mask=inside, other=0)
    for image in range(images):
        cell = table + image * classes * classes + row * classes + column
        total += tl.load(cell, mask=inside, other=0).to(tl.int64)
    tl.store(place, total, mask=inside)


@torch.library.custom_op("seg_engine::count", mutates_args=("state", "sums"), device_types=("cuda", "cpu"))
def count(logits: Tensor, labels: Tensor, batch_sums: Tensor, state: Tensor, sums: Tensor) -> None:
    """Add to `state`, that of a `ConfusionSum`, what logits [B, C, H, W] say of train ids uint8 [B, H, W],
    and to `sums`, float64 [terms], those of the batch."""
    logits = logits.contiguous(memory_format=torch.channels_last)
    images, classes, height, width = logits.shape
    table = logits.new_empty(images * classes * classes + 1, dtype=torch.int32)
    given = logits, labels.contiguous(), batch_sums, table, state, sums
    shape = images, height * width, classes, len(sums)
    padded, terms = triton.next_power_of_2(classes), triton.next_power_of_2(len(sums))
    fixed = {"VOID": VOID, "DICE": 2 / DICE_UNIT, "TILE": TILE, "CLASSES": padded, "TERMS": terms}
    launch_passes(count_kernel, 3, logits.device, *given, *shape, **fixed)
