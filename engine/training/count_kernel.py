"""What a meter counts of a batch on a GPU, for channels_last logits, by one kernel that waits for nothing.

Of the logits it takes the largest, of that and the label the confusion of each image, of these their sum and
the images' Dice: as `engine.metrics.confusion` does by some forty launches. Whatever programs add up together
is a whole number, so bits repeat. In training the same kernel computes the cross-entropy, so that logits are
read once for both.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.classes import VOID
from engine.losses.pixel_kernels import entropy_of, load_pixels, store_part, sums_of_parts
from engine.metrics.confusion import DICE_UNIT
from engine.models.cooperative import launch_passes, programs_of, wait_for_all

TILE = 4096
"""Logits that a program holds at a time."""
MOST_CLASSES = 64
"""Whose confusions a program can hold at once."""


@triton.jit  # type: ignore[untyped-decorator]
def count_kernel(  # type: ignore[no-untyped-def]
    logits, labels, batch_sums, mean, parts, table, state, sums, images, of_image, classes, terms, gate,
    LOSS: tl.constexpr, VOID: tl.constexpr, DICE: tl.constexpr, TILE: tl.constexpr, CLASSES: tl.constexpr,
    TERMS: tl.constexpr, PROGRAMS: tl.constexpr, PASS: tl.constexpr,
):  # fmt: skip
    """`table` is int32 [B C^2 + 1], confusions by truth and prediction, and the pixels of unknown labels.
    `batch_sums` are given or, with LOSS, made here, as are `mean` and `parts`."""
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
            first, step, logits, labels, parts, table, images, of_image, classes,
            LOSS, VOID, TILE // CLASSES, CLASSES,
        )  # fmt: skip
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
            if LOSS:
                valid, entropy = sums_of_parts(parts, step, PROGRAMS)
                tl.store(batch_sums, valid)
                tl.store(batch_sums + 1, entropy)
                tl.store(mean, entropy / tl.maximum(valid, 1.0))
                tl.store(sums, tl.load(sums) + valid)
                tl.store(sums + 1, tl.load(sums + 1) + entropy)
            else:
                term = tl.arange(0, TERMS)
                total = tl.load(sums + term, mask=term < terms)
                total += tl.load(batch_sums + term, mask=term < terms)
                tl.store(sums + term, total, mask=term < terms)


@triton.jit  # type: ignore[untyped-decorator]
def _count_pixels(  # type: ignore[no-untyped-def]
    first, step, logits, labels, parts, table, images, of_image, classes,
    LOSS: tl.constexpr, VOID: tl.constexpr, PIXELS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, CLASSES)
    pixels = images * of_image
    total = tl.zeros([PIXELS], tl.float64)
    count = tl.zeros([PIXELS], tl.int32)
    for start in range(first * PIXELS, pixels, step * PIXELS):
        logit, label = load_pixels(start, logits, labels, pixels, classes, VOID, PIXELS, CLASSES)
        if LOSS:
            total += entropy_of(logit, label, classes, VOID, CLASSES).to(tl.float64)
            count += (label != VOID).to(tl.int32)
        # Of equal ones the first.
        predicted = tl.argmax(tl.where((column < classes)[None, :], logit, float("-inf")), 1)
        image = (start + tl.arange(0, PIXELS)) // of_image
        cell = image * classes * classes + label * classes + predicted
        cell = tl.where(label < classes, cell, images * classes * classes)
        tl.atomic_add(table + cell, 1, mask=label != VOID, sem="relaxed")
    if LOSS:
        store_part(parts, total, count)


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
    _launch(logits, labels, batch_sums, None, None, state, sums)


@torch.library.custom_op(
    "seg_engine::cross_entropy_and_count", mutates_args=("state", "sums"), device_types=("cuda", "cpu")
)
def cross_entropy_and_count(
    logits: Tensor, labels: Tensor, state: Tensor, sums: Tensor
) -> tuple[Tensor, Tensor]:
    """What `engine.losses.pixel_kernels.forward` gives, which `count` has then counted."""
    batch_sums, mean = (logits.new_empty(shape, dtype=torch.float64) for shape in (2, ()))
    parts = logits.new_empty(2 * programs_of(logits.device), dtype=torch.float64)
    _launch(logits, labels, batch_sums, mean, parts, state, sums)
    return batch_sums, mean


@cross_entropy_and_count.register_fake
def _(logits: Tensor, labels: Tensor, state: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    return logits.new_empty(2, dtype=torch.float64), logits.new_empty((), dtype=torch.float64)


def _launch(
    logits: Tensor,
    labels: Tensor,
    batch_sums: Tensor,
    mean: Tensor | None,
    parts: Tensor | None,
    state: Tensor,
    sums: Tensor,
) -> None:
    logits = logits.contiguous(memory_format=torch.channels_last)
    images, classes, height, width = logits.shape
    table = logits.new_empty(images * classes * classes + 1, dtype=torch.int32)
    given = logits, labels.contiguous(), batch_sums, mean, parts, table, state, sums
    shape = images, height * width, classes, len(sums)
    padded, terms = triton.next_power_of_2(classes), triton.next_power_of_2(len(sums))
    most = triton.next_power_of_2(programs_of(logits.device))
    fixed = {"LOSS": parts is not None, "VOID": VOID, "DICE": 2 / DICE_UNIT, "TILE": TILE, "CLASSES": padded}
    launch_passes(count_kernel, 3, logits.device, *given, *shape, **fixed, TERMS=terms, PROGRAMS=most)


class CountedCrossEntropy(torch.autograd.Function):
    """`cross_entropy_and_count`, the mean with a gradient for the logits."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, labels: Tensor, state: Tensor, sums: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch_sums, mean = torch.ops.seg_engine.cross_entropy_and_count(logits, labels, state, sums)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(batch_sums)
        ctx.save_for_backward(batch_sums, logits, labels)
        return batch_sums, mean

    @staticmethod
    def backward(ctx: Any, of_sums: None, d_mean: Tensor | None) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        if d_mean is None:
            return None, None, None, None
        return torch.ops.seg_engine.cross_entropy_backward(None, d_mean, *given), None, None, None
