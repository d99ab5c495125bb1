"""Maps and biases added up, on a GPU and for channels_last maps: the gradient comes by one kernel.

Torch adds up the gradients of a map that two layers read, copies one that has gaps in memory, as that of one
part of `torch.cat` has, for each layer that takes it, and sums it by two kernels for a bias. Here one kernel
reads them once and does all that. What is forward is left to torch, which fuses it when it compiles.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.models.cooperative import launch_passes, programs_of, wait_for_all

STRIP = 64
"""Channels that a program takes at most, 128 bytes of a row in bf16."""
TILE = 4096
"""Values that a program holds at a time."""
PARTS = 32
"""Parts whose sums a program adds up at a time."""


@triton.jit  # type: ignore[untyped-decorator]
def collect_kernel(  # type: ignore[no-untyped-def]
    first_grad, second_grad, out, sums, d_bias,
    rows, channels, row_of_first, row_of_second, per_part, parts, strips, gate,
    HAS_SECOND: tl.constexpr, STORES: tl.constexpr, ROWS: tl.constexpr, STRIP: tl.constexpr,
    PARTS: tl.constexpr, PASS: tl.constexpr,
):  # fmt: skip
    """The sum of two gradients, without gaps in memory, and its sum over all rows, [C]."""
    first, step = tl.program_id(0), tl.num_programs(0)
    if PASS != 2:
        for item in range(first, strips * parts, step):
            part, channel = item // strips, item % strips * STRIP + tl.arange(0, STRIP)
            inside = channel < channels
            total = tl.zeros([ROWS, STRIP], tl.float32)
            last = tl.minimum((part + 1) * per_part, rows)
            for start in range(part * per_part, last, ROWS):
                row = (start + tl.arange(0, ROWS)).to(tl.int64)[:, None]
                valid = (row < last) & inside[None, :]
                at = row * row_of_first + channel[None, :]
                grad = tl.load(first_grad + at, mask=valid, other=0.0).to(tl.float32)
                if HAS_SECOND:
                    at = row * row_of_second + channel[None, :]
                    grad += tl.load(second_grad + at, mask=valid, other=0.0).to(tl.float32)
                if STORES:
                    tl.store(
                        out + row * channels + channel[None, :], grad.to(out.dtype.element_ty), mask=valid
                    )
                total += grad
            tl.store(sums + part * channels + channel, tl.sum(total, 0), mask=inside)
    if PASS == 0:
        wait_for_all(gate)
    if PASS != 1:
        for strip in range(first, strips, step):
            of_strip = strip * STRIP + tl.arange(0, STRIP)
            of_all = tl.zeros([STRIP], tl.float32)
            for begin in range(0, parts, PARTS):
                each = begin + tl.arange(0, PARTS)
                known = (each < parts)[:, None] & (of_strip < channels)[None, :]
                where = (each * channels)[:, None] + of_strip[None, :]
                of_all += tl.sum(tl.load(sums + where, mask=known, other=0.0), 0)
            tl.store(d_bias + of_strip, of_all.to(d_bias.dtype.element_ty), mask=of_strip < channels)


@cache
def cut(rows: int, channels: int, programs: int) -> tuple[int, int, int, int, int]:
    """Channels of a strip, rows of a tile, strips, rows of a part and parts, for so many programs."""
    strip = min(STRIP, triton.next_power_of_2(channels))
    strips, tile = triton.cdiv(channels, strip), TILE // strip
    per_part = triton.cdiv(rows, max(1, min(programs // strips, triton.cdiv(rows, tile))))
    return strip, tile, strips, per_part, triton.cdiv(rows, per_part)


def collect(first: Tensor, second: Tensor | None, bias: Tensor, copies: bool) -> tuple[Tensor, Tensor]:
    """The sum of one or two gradients [B, C, H, W], without gaps in memory, and its sum by channel, like
    `bias`. Of a single one there is no copy, but an empty tensor, unless `copies`."""
    first, second = rows_apart(first), None if second is None else rows_apart(second)
    out, d_bias = _results_like(first, second, bias, copies)
    channels, rows = first.shape[1], first.numel() // first.shape[1]
    strip, tile, strips, per_part, parts = cut(rows, channels, programs_of(first.device))
    sums = first.new_empty(parts * channels, dtype=torch.float32)
    apart = first.stride(3), 0 if second is None else second.stride(3)
    shape = rows, channels, *apart, per_part, parts, strips
    fixed = {"HAS_SECOND": second is not None, "STORES": out.numel() > 0}
    cuts = {"ROWS": tile, "STRIP": strip, "PARTS": PARTS}
    launch_passes(collect_kernel, 2, first.device, first, second, out, sums, d_bias, *shape, **fixed, **cuts)
    return out, d_bias


def rows_apart(map: Tensor) -> Tensor:
    """The map itself if its rows of channels follow each other at equal distances, as those of one part of a
    `torch.cat` do; a copy without gaps otherwise."""
    _, _, height, width = map.shape
    row = map.stride(3)
    follows = map.stride(1) == 1 and map.stride(2) == width * row and map.stride(0) == height * width * row
    return map if follows else map.contiguous(memory_format=torch.channels_last)


def _results_like(first: Tensor, second: Tensor | None, bias: Tensor, copies: bool) -> tuple[Tensor, Tensor]:
    if second is None and not copies:
        return first.new_empty(0), torch.empty_like(bias)
    return torch.empty_like(first, memory_format=torch.channels_last), torch.empty_like(bias)


@torch.library.custom_op("seg_engine::collect", mutates_args=(), device_types="cuda")
def _collect(first: Tensor, second: Tensor | None, bias: Tensor, copies: bool) -> tuple[Tensor, Tensor]:
    return collect(first, second, bias, copies)


@_collect.register_fake
def _(first: Tensor, second: Tensor | None, bias: Tensor, copies: bool) -> tuple[Tensor, Tensor]:
    return _results_like(first, second, bias, copies)


class Added(torch.autograd.Function):
    """a + b + bias + second_bias, maps [B, C, H, W] and biases [C], b and second_bias of which may be None.

    Gives it as often as there are `readers`, one or two, so that each of them sends its own gradient. Where
    that is expected to have gaps in memory, as of a part of `torch.cat`, it is to be copied: `has_gaps`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor | None,
        bias: Tensor,
        second_bias: Tensor | None,
        readers: int,
        has_gaps: bool,
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(bias)
        ctx.has_b, ctx.has_second, ctx.has_gaps = b is not None, second_bias is not None, has_gaps
        x = a if b is None else a + b
        for each in (bias, second_bias):
            x = x if each is None else x + each.to(x.dtype)[:, None, None]
        return (x, x.view_as(x))[:readers]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        first, second = (*(each for each in grads if each is not None), None, None)[:2]
        if first is None:
            return None, None, None, None, None, None
        (bias,) = ctx.saved_tensors
        grad, d_bias = torch.ops.seg_engine.collect(first, second, bias, ctx.has_gaps)
        if second is None and not ctx.has_gaps:
            grad = first
        return grad, grad if ctx.has_b else None, d_bias, d_bias if ctx.has_second else None, None, None
