"""Group norm followed by GELU on a GPU, for channels_last maps, as operators of torch.

Torch has no group norm for channels_last on CUDA, and under autocast it takes one in float32. A norm and
its GELU then cost seven kernels forward and nine back, most of them casts and copies, and keep two maps in
float32. Here they cost one and one. A map is read and written in its own type, sums are float32, and what
is kept for the backward pass is the map itself. A bias of the convolution before is added on the way; its
gradient comes with those of the norm.

A map [B, C, H, W] is rows of C channels in memory, H * W of them an image.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from engine.models.cooperative import launch_passes
from engine.models.norm_kernels import backward_kernel, forward_kernel

TILE = 4096
"""Values that a program holds at a time, at least one row of a group."""
PROGRAMS = 1024
"""Parts into which a batch is cut at most: a few for each of a GPU's processors."""
LEAST_PART = 16384
"""Values of a part, at least."""
STRIP = 32
"""Channels whose gradients one program adds up."""


class Cut(NamedTuple):
    """How a map is cut: images of `rows` of channels, the groups of `width` of these; the rows of a group in
    `parts` of `per_part`, `tile` of which a program takes at a time, so that `blocks` programs take all."""

    rows: int
    width: int
    padded_width: int
    tile: int
    per_part: int
    parts: int
    padded_parts: int
    blocks: int


@cache
def cut(images: int, channels: int, height: int, width: int, groups: int) -> Cut:
    """The cut of a map [B, C, H, W]. Widths and parts are padded to powers of 2, as Triton has no other."""
    rows, of_group = height * width, channels // groups
    padded_width = triton.next_power_of_2(of_group)
    tile = max(1, TILE // padded_width)
    most = max(1, min(rows * of_group // LEAST_PART, PROGRAMS // (images * groups)))
    per_part = tile * _ceil(_ceil(rows, most), tile)
    parts, blocks = _ceil(rows, per_part), _ceil(rows, tile)
    return Cut(rows, of_group, padded_width, tile, per_part, parts, triton.next_power_of_2(parts), blocks)


def norm_gelu_forward(
    x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor]:
    """GELU of the group norm of x [B, C, H, W] + bias [C]: like x, and the mean and inverse deviation of each
    group, float32 [2, B * G]. weight, offset and bias are float32 [C]."""
    x = _rows_of_channels(x)
    made = cut(*x.shape, groups)
    image_groups, channels = len(x) * groups, x.shape[1]
    y = torch.empty_like(x)
    moments = x.new_empty(image_groups * made.parts * 2, dtype=torch.float32)
    kept = x.new_empty(2, image_groups, dtype=torch.float32)
    shape = made.rows, made.per_part, made.parts, channels, groups, made.width
    given = x, bias, weight, offset, moments, y, *kept.unbind()
    launch_passes(
        forward_kernel, 2, x.device, *given, *shape, made.blocks, image_groups, eps, **_fixed(made, bias)
    )
    return y, kept


def norm_gelu_backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None,
    kept: Tensor,
    groups: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, like x, of weight and offset, float32 [2, C], and of bias, like bias, if there is
    one; `kept` is from forward."""
    x, dy = _rows_of_channels(x), _rows_of_channels(dy)
    made = cut(*x.shape, groups)
    image_groups, channels = len(x) * groups, x.shape[1]
    dx, d_affine, d_bias = _gradients_like(x, bias)
    by_channel = x.new_empty(len(x) * made.parts * 3 * channels, dtype=torch.float32)
    by_group = x.new_empty(image_groups * made.parts * 2, dtype=torch.float32)
    given = dy, x, bias, weight, offset, *kept.unbind(), by_channel, by_group
    strips = _ceil(channels, STRIP)
    shape = len(x), made.rows, made.per_part, made.parts, channels, groups, made.width, made.blocks, strips
    out = dx, *d_affine.unbind(), d_bias
    launch_passes(backward_kernel, 2, x.device, *given, *out, *shape, STRIP=STRIP, **_fixed(made, bias))
    return dx, d_affine, d_bias


def _fixed(made: Cut, bias: Tensor | None) -> dict[str, Any]:
    sizes = {"ROWS": made.tile, "WIDTH": made.padded_width, "PARTS": made.padded_parts}
    return {"HAS_BIAS": bias is not None, **sizes}


def _gradients_like(x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    channels = x.shape[1]
    d_bias = x.new_empty(0) if bias is None else torch.empty_like(bias)
    return torch.empty_like(x), x.new_empty(2, channels, dtype=torch.float32), d_bias


def _rows_of_channels(map: Tensor) -> Tensor:
    """The map itself, unless its gradient comes in pieces or torch.compile has changed its layout."""
    return map.contiguous(memory_format=torch.channels_last)


def _ceil(value: int, by: int) -> int:
    return -(-value // by)


# --- As operators of torch: with a gradient, and opaque to torch.compile ------------------------


@torch.library.custom_op("seg_engine::norm_gelu", mutates_args=(), device_types="cuda")
def norm_gelu(
    x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor]:
    """`norm_gelu_forward`, with a gradient for x, weight, offset and bias."""
    return norm_gelu_forward(x, weight, offset, bias, groups, eps)


@norm_gelu.register_fake
def _(
    x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(2, len(x) * groups, dtype=torch.float32)


@torch.library.custom_op("seg_engine::norm_gelu_backward", mutates_args=(), device_types="cuda")
def _backward(
    dy: Tensor, x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None, kept: Tensor, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    return norm_gelu_backward(dy, x, weight, offset, bias, kept, groups)


@_backward.register_fake
def _(
    dy: Tensor, x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None, kept: Tensor, groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    return _gradients_like(x, bias)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, offset, bias, ctx.groups, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weight, offset, bias, output[1])


def _gradients(ctx: Any, dy: Tensor, of_kept: Tensor | None) -> tuple[Tensor | None, ...]:
    x, weight, offset, bias, kept = ctx.saved_tensors
    dx, d_affine, d_bias = _backward(dy, x, weight, offset, bias, kept, ctx.groups)
    return dx, *d_affine.unbind(), None if bias is None else d_bias, None, None


norm_gelu.register_autograd(_gradients, setup_context=_keep)
