"""Max-pooling on a GPU, for channels_last maps, as operators of torch.

Torch keeps for its gradient where each maximum was, in eight bytes. Here it is one, the place in the window,
and the gradient is gathered: nothing is added up by atomics, so bits repeat.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.models.cooperative import WARPS

STRIP = 64
"""Channels that a program takes at most, 128 bytes of a row in bf16."""
TILE = 2048
"""Values that a program holds at a time."""

Window = list[int]
"""Side, stride and padding of a window."""


@triton.jit  # type: ignore[untyped-decorator]
def pool_forward_kernel(  # type: ignore[no-untyped-def]
    x, y, winners, rows, channels, height, width, out_height, out_width,
    SIDE: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr,
    ROWS: tl.constexpr, STRIP: tl.constexpr,
):  # fmt: skip
    """The largest of each window and, uint8, its place in it: of equal ones the first, of those that are no
    number the last, as torch has it."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    channel = tl.program_id(1) * STRIP + tl.arange(0, STRIP)
    image, line, column = row // (out_height * out_width), row // out_width % out_height, row % out_width
    inside = (row < rows)[:, None] & (channel < channels)[None, :]
    largest = tl.full([ROWS, STRIP], float("-inf"), tl.float32)
    # Where all are -inf, the first that is within the map.
    top, left = tl.maximum(PADDING - line * STRIDE, 0), tl.maximum(PADDING - column * STRIDE, 0)
    winner = tl.zeros([ROWS, STRIP], tl.int32) + (top * SIDE + left).to(tl.int32)[:, None]
    for place in tl.static_range(SIDE * SIDE):
        from_line = line * STRIDE - PADDING + place // SIDE
        from_column = column * STRIDE - PADDING + place % SIDE
        known = (from_line >= 0) & (from_line < height) & (from_column >= 0) & (from_column < width)
        at = ((image * height + from_line) * width + from_column)[:, None] * channels + channel[None, :]
        value = tl.load(x + at, mask=inside & known[:, None], other=float("-inf")).to(tl.float32)
        better = (value > largest) | (value != value)
        largest = tl.where(better, value, largest)
        winner = tl.where(better, place, winner)
    at = row[:, None] * channels + channel[None, :]
    tl.store(y + at, largest.to(y.dtype.element_ty), mask=inside)
    tl.store(winners + at, winner.to(tl.uint8), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def pool_backward_kernel(  # type: ignore[no-untyped-def]
    dy, winners, dx, rows, channels, height, width, out_height, out_width,
    SIDE: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr,
    ROWS: tl.constexpr, STRIP: tl.constexpr,
):  # fmt: skip
    """Of each value the gradients of those windows that it is the largest of."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    channel = tl.program_id(1) * STRIP + tl.arange(0, STRIP)
    image, line, column = row // (height * width), row // width % height, row % width
    inside = (row < rows)[:, None] & (channel < channels)[None, :]
    total = tl.zeros([ROWS, STRIP], tl.float32)
    for place in tl.static_range(SIDE * SIDE):
        # The window in which the value has this place, if there is one.
        from_line, from_column = line + PADDING - place // SIDE, column + PADDING - place % SIDE
        out_line, out_column = from_line // STRIDE, from_column // STRIDE
        known = (from_line >= 0) & (from_line % STRIDE == 0) & (out_line < out_height)
        known = known & (from_column >= 0) & (from_column % STRIDE == 0) & (out_column < out_width)
        at = ((image * out_height + out_line) * out_width + out_column)[:, None] * channels + channel[None, :]
        valid = inside & known[:, None]
        won = tl.load(winners + at, mask=valid, other=255).to(tl.int32) == place
        total += tl.where(won, tl.load(dy + at, mask=valid, other=0.0).to(tl.float32), 0.0)
    at = row[:, None] * channels + channel[None, :]
    tl.store(dx + at, total.to(dx.dtype.element_ty), mask=inside)


def forward(x: Tensor, window: Window, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    """The largest values of windows of x [B, C, H, W], and where in its window each was, uint8; both
    [B, C, height, width] of torch's `max_pool2d`."""
    x = x.contiguous(memory_format=torch.channels_last)
    y, winners = _results_like(x, window, ceil_mode)
    _launch(pool_forward_kernel, y, window, (x, y, winners), (*x.shape[2:], *y.shape[2:]))
    return y, winners


def backward(dy: Tensor, winners: Tensor, height: int, width: int, window: Window) -> Tensor:
    """The gradient of x, whose maps are `height` x `width`, from that of the first result of `forward`."""
    dy = dy.contiguous(memory_format=torch.channels_last)
    winners = winners.contiguous(memory_format=torch.channels_last)
    dx = _map(dy, height, width, dy.dtype)
    _launch(pool_backward_kernel, dx, window, (dy, winners, dx), (height, width, *dy.shape[2:]))
    return dx


def _launch(kernel: Any, made: Tensor, window: Window, maps: tuple[Tensor, ...], sizes: Any) -> None:
    """Run a kernel over all values of the map that it makes."""
    channels, rows = made.shape[1], made.numel() // made.shape[1]
    strip = min(STRIP, triton.next_power_of_2(channels))
    tile = max(1, TILE // strip)
    grid = (triton.cdiv(rows, tile), triton.cdiv(channels, strip))
    fixed = dict(zip(("SIDE", "STRIDE", "PADDING"), window, strict=True))
    options = {"num_warps": WARPS} if made.is_cuda else {}
    kernel[grid](*maps, rows, channels, *sizes, **fixed, ROWS=tile, STRIP=strip, **options)


def _results_like(x: Tensor, window: Window, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    height, width = (pooled_size(side, window, ceil_mode) for side in x.shape[2:])
    return _map(x, height, width, x.dtype), _map(x, height, width, torch.uint8)


def pooled_size(size: int, window: Window, ceil_mode: bool) -> int:
    """How many windows there are: of those that reach beyond the end, only such as begin before it."""
    side, stride, padding = window
    beyond = size + 2 * padding - side
    count = (-(-beyond // stride) if ceil_mode else beyond // stride) + 1
    return count - (ceil_mode and (count - 1) * stride >= size + padding)


def _map(like: Tensor, height: int, width: int, dtype: torch.dtype) -> Tensor:
    shape = (*like.shape[:2], height, width)
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=torch.channels_last)


# --- As operators of torch: with a gradient, and opaque to torch.compile ------------------------


@torch.library.custom_op("seg_engine::max_pool", mutates_args=(), device_types="cuda")
def max_pool(x: Tensor, window: Window, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    """`forward`, with a gradient for x."""
    return forward(x, window, ceil_mode)


@max_pool.register_fake
def _(x: Tensor, window: Window, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    return _results_like(x, window, ceil_mode)


@torch.library.custom_op("seg_engine::max_pool_backward", mutates_args=(), device_types="cuda")
def _backward(dy: Tensor, winners: Tensor, height: int, width: int, window: Window) -> Tensor:
    return backward(dy, winners, height, width, window)


@_backward.register_fake
def _(dy: Tensor, winners: Tensor, height: int, width: int, window: Window) -> Tensor:
    return _map(dy, height, width, dy.dtype)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, ctx.window, _ = inputs
    ctx.size = x.shape[2:]
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1])


def _gradients(ctx: Any, dy: Tensor, of_winners: Tensor | None) -> tuple[Tensor | None, ...]:
    (winners,) = ctx.saved_tensors
    return _backward(dy, winners, *ctx.size, ctx.window), None, None


max_pool.register_autograd(_gradients, setup_context=_keep)
