"""Batch norm in training followed by ReLU and, on demand, by 2x2 max-pooling, on a GPU and for channels_last
maps, as operators of torch.

Compiled, torch takes three or four kernels for such a norm forward and as many back, and two more for the
pooling. Here it is one each way, which reads and writes no map more often than those do: twice forward and
back. Sums are float32; kept for the backward pass is the map before the norm.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from engine.models.added import rows_apart
from engine.models.batch_norm_kernels import backward_kernel, forward_kernel
from engine.models.cooperative import launch_passes, programs_of

STRIP = 64
"""Channels that a program takes at most, 128 bytes of a row in bf16."""
TILE = 4096
"""Values that a program holds at a time."""
PARTS = 32
"""Parts whose sums a program adds up at a time."""


class Cut(NamedTuple):
    """How a map is cut into strips of channels and parts of rows, and these into tiles. A unit is a window of
    the pooling, or a row."""

    strip: int
    tile: int
    strips: int
    parts: int
    per_part: int
    units: int
    units_per_part: int


@cache
def cut(rows: int, channels: int, corners: int, programs: int) -> Cut:
    """The cut of a map that each of so many programs has a share of."""
    strip = min(STRIP, triton.next_power_of_2(channels))
    strips, units = _ceil(channels, strip), rows // corners
    tile = TILE // corners // strip
    parts = max(1, min(programs // strips, _ceil(units, tile)))
    units_per_part = _ceil(units, parts)
    return Cut(strip, tile, strips, parts, _ceil(rows, parts), units, units_per_part)


def forward(
    x: Tensor, weight: Tensor, offset: Tensor, eps: float, pool: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ReLU of the batch norm of x [B, C, H, W], like x; the largest of each 2x2 window, [B, C, H/2, W/2],
    empty unless `pool`; what `backward` needs, and the batch's mean and unbiased variance, both float32
    [2, C]. weight and offset are float32 [C]. With `pool`, H and W are even."""
    x = _rows_of_channels(x)
    made, fixed = _cut_of(x, pool)
    y, pooled, kept, fresh = _results_like(x, pool)
    channels, rows = x.shape[1], x.numel() // x.shape[1]
    moments = x.new_empty(made.parts * 2 * channels, dtype=torch.float32)
    given = x, weight, offset, moments, y, pooled, kept, fresh
    shape = rows, channels, made.units, x.shape[3], made.per_part, made.units_per_part, made.parts
    launch_passes(
        forward_kernel, 2, x.device, *given, *shape, made.strips, eps, ROWS=TILE // made.strip, **fixed
    )
    return y, pooled, kept, fresh


def backward(
    dy: Tensor | None, d_pooled: Tensor | None, x: Tensor, weight: Tensor, offset: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of x, like x, and of weight and offset, float32 [2, C], from those of the two results of
    `forward`; without pooling there is no second one."""
    x = _rows_of_channels(x)
    made, fixed = _cut_of(x, d_pooled is not None)
    dx, d_affine = torch.empty_like(x), torch.empty_like(kept)
    channels, rows = x.shape[1], x.numel() // x.shape[1]
    dy = None if dy is None else rows_apart(dy)
    d_pooled = None if d_pooled is None else _rows_of_channels(d_pooled)
    sums = x.new_empty(made.parts * 2 * channels, dtype=torch.float32)
    given = dy, d_pooled, x, weight, offset, kept, sums, dx, *d_affine.unbind()
    row_of_dy = 0 if dy is None else dy.stride(3)
    shape = rows, channels, row_of_dy, made.units, x.shape[3], made.units_per_part, made.parts, made.strips
    launch_passes(backward_kernel, 2, x.device, *given, *shape, HAS_DY=dy is not None, **fixed)
    return dx, d_affine


def _cut_of(x: Tensor, pool: bool) -> tuple[Cut, dict[str, int]]:
    corners = 4 if pool else 1
    made = cut(x.numel() // x.shape[1], x.shape[1], corners, programs_of(x.device))
    return made, {"CORNERS": corners, "UNITS": made.tile, "STRIP": made.strip, "PARTS": PARTS}


def _results_like(x: Tensor, pool: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    images, channels, height, width = x.shape
    if pool:
        half = images, channels, height // 2, width // 2
        pooled = torch.empty(half, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    else:
        pooled = x.new_empty(0)
    kept, fresh = (x.new_empty(2, channels, dtype=torch.float32) for _ in range(2))
    return torch.empty_like(x), pooled, kept, fresh


def _rows_of_channels(map: Tensor) -> Tensor:
    """The map itself, unless its gradient comes in pieces or torch.compile has changed its layout."""
    return map.contiguous(memory_format=torch.channels_last)


def _ceil(value: int, by: int) -> int:
    return -(-value // by)


# --- As operators of torch: with a gradient, and opaque to torch.compile ------------------------


@torch.library.custom_op("seg_engine::batch_norm_relu", mutates_args=(), device_types="cuda")
def batch_norm_relu(
    x: Tensor, weight: Tensor, offset: Tensor, eps: float, pool: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`forward`, with a gradient for x, weight and offset."""
    return forward(x, weight, offset, eps, pool)


@batch_norm_relu.register_fake
def _(
    x: Tensor, weight: Tensor, offset: Tensor, eps: float, pool: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _results_like(x, pool)


@torch.library.custom_op("seg_engine::batch_norm_relu_backward", mutates_args=(), device_types="cuda")
def _backward(
    dy: Tensor | None, d_pooled: Tensor | None, x: Tensor, weight: Tensor, offset: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor]:
    return backward(dy, d_pooled, x, weight, offset, kept)


@_backward.register_fake
def _(
    dy: Tensor | None, d_pooled: Tensor | None, x: Tensor, weight: Tensor, offset: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(kept)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, offset, _, ctx.pool = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[2:])
    ctx.save_for_backward(x, weight, offset, output[2])


def _gradients(ctx: Any, dy: Tensor | None, d_pooled: Tensor | None, *rest: Any) -> tuple[Tensor | None, ...]:
    if not ctx.pool:
        d_pooled = None
    if dy is None and d_pooled is None:
        return None, None, None, None, None
    dx, d_affine = _backward(dy, d_pooled, *ctx.saved_tensors)
    return dx, *d_affine.unbind(), None, None


batch_norm_relu.register_autograd(_gradients, setup_context=_keep)
