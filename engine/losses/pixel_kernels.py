"""The cross-entropy of pixels on a GPU, for channels_last logits, as operators of torch: one kernel each way.

Torch takes a copy in float32, log-softmax, its choice by label and sums forward, and as many back. Here a
logit is read once each way and no map of float32 is written. Sums are added up in a fixed order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.classes import VOID
from engine.models.cooperative import WARPS, launch_passes, programs_of, wait_for_all

TILE = 4096
"""Logits that a program holds at a time."""


@triton.jit  # type: ignore[untyped-decorator]
def forward_kernel(  # type: ignore[no-untyped-def]
    logits, labels, parts, sums, mean, pixels, classes, gate,
    VOID: tl.constexpr, PIXELS: tl.constexpr, CLASSES: tl.constexpr, PROGRAMS: tl.constexpr,
    PASS: tl.constexpr,
):  # fmt: skip
    """The number of valid pixels and the sum of their cross-entropy, float64 [2], its mean, float64 []."""
    first, step = tl.program_id(0), tl.num_programs(0)
    if PASS != 2:
        total = tl.zeros([PIXELS], tl.float64)
        count = tl.zeros([PIXELS], tl.int32)
        for start in range(first * PIXELS, pixels, step * PIXELS):
            logit, label = load_pixels(start, logits, labels, pixels, classes, VOID, PIXELS, CLASSES)
            total += entropy_of(logit, label, classes, VOID, CLASSES).to(tl.float64)
            count += (label != VOID).to(tl.int32)
        store_part(parts, total, count)
    if PASS == 0:
        wait_for_all(gate)
    if (PASS != 1) & (first == 0):
        valid, entropy = sums_of_parts(parts, step, PROGRAMS)
        tl.store(sums, valid)
        tl.store(sums + 1, entropy)
        tl.store(mean, entropy / tl.maximum(valid, 1.0))


@triton.jit  # type: ignore[untyped-decorator]
def load_pixels(  # type: ignore[no-untyped-def]
    start, logits, labels, pixels, classes,
    VOID: tl.constexpr, PIXELS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """The logits of some pixels, float32 [PIXELS, CLASSES] with 0 beyond the last pixel or class, and their
    labels, int32 with VOID beyond the last."""
    pixel = start + tl.arange(0, PIXELS)
    column = tl.arange(0, CLASSES)
    label = tl.load(labels + pixel, mask=pixel < pixels, other=VOID).to(tl.int32)
    inside = (pixel < pixels)[:, None] & (column < classes)[None, :]
    place = pixel.to(tl.int64)[:, None] * classes + column[None, :]
    return tl.load(logits + place, mask=inside, other=0.0).to(tl.float32), label


@triton.jit  # type: ignore[untyped-decorator]
def entropy_of(logit, label, classes, VOID: tl.constexpr, CLASSES: tl.constexpr):  # type: ignore[no-untyped-def]
    """The cross-entropy of pixels, 0 where they are void."""
    column = tl.arange(0, CLASSES)
    largest = tl.max(tl.where((column < classes)[None, :], logit, float("-inf")), 1)
    apart = logit - largest[:, None]
    power = tl.where((column < classes)[None, :], tl.exp(apart), 0.0)
    of_label = tl.sum(tl.where(column[None, :] == label[:, None], apart, 0.0), 1)
    return tl.where(label != VOID, tl.log(tl.sum(power, 1)) - of_label, 0.0)


@triton.jit
def store_part(parts, entropy, valid):  # type: ignore[no-untyped-def]
    """Keep what a program has added up by place in its tile: the number of valid pixels, their entropy."""
    tl.store(parts + tl.program_id(0), tl.sum(valid, 0).to(tl.float64))
    tl.store(parts + tl.num_programs(0) + tl.program_id(0), tl.sum(entropy, 0))


@triton.jit  # type: ignore[untyped-decorator]
def sums_of_parts(parts, programs, PROGRAMS: tl.constexpr):  # type: ignore[no-untyped-def]
    """What all programs have kept together: the number of valid pixels, their entropy."""
    part = tl.arange(0, PROGRAMS)
    valid = tl.sum(tl.load(parts + part, mask=part < programs, other=0.0), 0)
    return valid, tl.sum(tl.load(parts + programs + part, mask=part < programs, other=0.0), 0)


@triton.jit  # type: ignore[untyped-decorator]
def backward_kernel(  # type: ignore[no-untyped-def]
    d_sums, d_mean, sums, logits, labels, d_logits, pixels, classes,
    HAS_SUMS: tl.constexpr, HAS_MEAN: tl.constexpr,
    VOID: tl.constexpr, PIXELS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """The gradient of the logits, of those of the sum and of the mean."""
    scale = tl.zeros([], tl.float64)
    if HAS_SUMS:
        scale += tl.load(d_sums + 1)
    if HAS_MEAN:
        scale += tl.load(d_mean) / tl.maximum(tl.load(sums), 1.0)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    column = tl.arange(0, CLASSES)
    label = tl.load(labels + pixel, mask=pixel < pixels, other=VOID).to(tl.int32)
    inside = (pixel < pixels)[:, None] & (column < classes)[None, :]
    place = pixel.to(tl.int64)[:, None] * classes + column[None, :]
    logit = tl.load(logits + place, mask=inside, other=0.0).to(tl.float32)
    largest = tl.max(tl.where((column < classes)[None, :], logit, float("-inf")), 1)
    power = tl.where((column < classes)[None, :], tl.exp(logit - largest[:, None]), 0.0)
    truth = (column[None, :] == label[:, None]).to(tl.float32)
    grad = (power / tl.sum(power, 1)[:, None] - truth) * scale.to(tl.float32)
    grad = tl.where((label != VOID)[:, None], grad, 0.0)
    tl.store(d_logits + place, grad.to(d_logits.dtype.element_ty), mask=inside)


def forward(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The number of valid pixels and the sum of their cross-entropy, float64 [2], and its mean over them, 0
    where there are none, float64 []; of logits [B, C, H, W] and train ids uint8 [B, H, W].

    A pixel whose label is no train id has that of a class of logit equal to the largest: what counts
    confusions refuses it.
    """
    logits = logits.contiguous(memory_format=torch.channels_last)
    programs = programs_of(logits.device)
    parts, sums, mean = (logits.new_empty(shape, dtype=torch.float64) for shape in (2 * programs, 2, ()))
    shape = labels.numel(), logits.shape[1]
    given = logits, labels.contiguous(), parts, sums, mean, *shape
    most = triton.next_power_of_2(programs)
    launch_passes(forward_kernel, 2, logits.device, *given, PROGRAMS=most, **_fixed(logits))
    return sums, mean


def backward(
    d_sums: Tensor | None, d_mean: Tensor | None, sums: Tensor, logits: Tensor, labels: Tensor
) -> Tensor:
    """The gradient of the logits, of those of both results of `forward`, of which `sums` is the first."""
    logits = logits.contiguous(memory_format=torch.channels_last)
    d_logits, fixed = torch.empty_like(logits), _fixed(logits)
    options = {"num_warps": WARPS} if logits.is_cuda else {}
    has = {"HAS_SUMS": d_sums is not None, "HAS_MEAN": d_mean is not None}
    grid = (triton.cdiv(labels.numel(), fixed["PIXELS"]),)
    given = d_sums, d_mean, sums, logits, labels.contiguous(), d_logits, labels.numel(), logits.shape[1]
    backward_kernel[grid](*given, **has, **fixed, **options)
    return d_logits


def _fixed(logits: Tensor) -> dict[str, int]:
    padded = triton.next_power_of_2(logits.shape[1])
    return {"VOID": VOID, "PIXELS": max(1, TILE // padded), "CLASSES": padded}


# --- As operators of torch: with a gradient, and opaque to torch.compile ------------------------


@torch.library.custom_op("seg_engine::cross_entropy", mutates_args=(), device_types="cuda")
def cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """`forward`, with a gradient for the logits."""
    return forward(logits, labels)


@cross_entropy.register_fake
def _(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return logits.new_empty(2, dtype=torch.float64), logits.new_empty((), dtype=torch.float64)


@torch.library.custom_op("seg_engine::cross_entropy_backward", mutates_args=(), device_types="cuda")
def _backward(
    d_sums: Tensor | None, d_mean: Tensor | None, sums: Tensor, logits: Tensor, labels: Tensor
) -> Tensor:
    return backward(d_sums, d_mean, sums, logits, labels)


@_backward.register_fake
def _(d_sums: Tensor | None, d_mean: Tensor | None, sums: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.channels_last)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[0], *inputs)


def _gradients(ctx: Any, d_sums: Tensor | None, d_mean: Tensor | None) -> tuple[Tensor | None, ...]:
    if d_sums is None and d_mean is None:
        return None, None
    return _backward(d_sums, d_mean, *ctx.saved_tensors), None


cross_entropy.register_autograd(_gradients, setup_context=_keep)
