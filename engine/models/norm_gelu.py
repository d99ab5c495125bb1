"""Group norm followed by GELU on a GPU, for channels_last maps, as operators of torch.

Torch has no group norm for channels_last on CUDA, and under autocast it takes one in float32. A norm and
its GELU then cost seven kernels forward and nine back, most of them casts and copies, and keep two maps in
float32. Here they cost two and two. A map is read and written in its own type, sums are float32, and what
is kept for the backward pass is the map itself. A bias of the convolution before is added on the way; its
gradient comes with those of the norm.

A map [B, C, H, W] is rows of C channels in memory, H * W of them an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from engine.models.norm_kernels import apply_kernel, backward_kernel, moments_kernel, sums_kernel

TILE = 4096
"""Values that a program holds at a time, at least one row of a group."""
PROGRAMS = 1024
"""Parts into which a batch is cut at most: a few for each of a GPU's processors."""
LEAST_PART = 16384
"""Values of a part, at least."""
WARPS = 8
STRIP = 32
"""Channels whose gradients one program adds up."""


@dataclass(frozen=True)
class Cut:
    """How a map is cut: `images` of `rows` of `channels`, their `groups` of `width` channels; the rows of a
    group in `parts` of `per_part`, `tile` of which a program takes at a time."""

    images: int
    rows: int
    channels: int
    groups: int

    @classmethod
    def of(cls, x: Tensor, groups: int) -> Cut:
        images, channels, height, width = x.shape
        return cls(images, height * width, channels, groups)

    @property
    def width(self) -> int:
        return self.channels // self.groups

    @property
    def padded_width(self) -> int:
        return triton.next_power_of_2(self.width)  # type: ignore[no-any-return]

    @property
    def tile(self) -> int:
        return max(1, TILE // self.padded_width)

    @property
    def per_part(self) -> int:
        most = max(1, min(self.rows * self.width // LEAST_PART, PROGRAMS // (self.images * self.groups)))
        return self.tile * _ceil(_ceil(self.rows, most), self.tile)

    @property
    def parts(self) -> int:
        return _ceil(self.rows, self.per_part)

    @property
    def padded_parts(self) -> int:
        return triton.next_power_of_2(self.parts)  # type: ignore[no-any-return]

    @property
    def blocks(self) -> int:
        return _ceil(self.rows, self.tile)


def norm_gelu_forward(
    x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor]:
    """GELU of the group norm of x [B, C, H, W] + bias [C]: like x, and the mean and inverse deviation of each
    group, float32 [2, B * G]. weight, offset and bias are float32 [C]."""
    x = _rows_of_channels(x)
    cut = Cut.of(x, groups)
    y = torch.empty_like(x)
    moments = x.new_empty(cut.images * groups * cut.parts * 2, dtype=torch.float32)
    kept = x.new_empty(2, cut.images * groups, dtype=torch.float32)
    shape = cut.rows, cut.per_part, cut.parts, cut.channels, groups, cut.width
    tile = {"HAS_BIAS": bias is not None, "ROWS": cut.tile, "WIDTH": cut.padded_width, "num_warps": WARPS}
    moments_kernel[cut.parts, cut.images * groups](x, bias, moments, *shape, **tile)
    apply_kernel[cut.blocks, cut.images * groups](
        x, bias, weight, offset, moments, y, *kept.unbind(), *shape, eps, PARTS=cut.padded_parts, **tile
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
) -> tuple[Tensor, Tensor]:
    """The gradients of x, like x, and of weight, offset and bias, float32 [3, C]; `kept` is from forward."""
    x, dy = _rows_of_channels(x), _rows_of_channels(dy)
    cut = Cut.of(x, groups)
    dx = torch.empty_like(x)
    by_channel = x.new_empty(cut.images * cut.parts * 3 * cut.channels, dtype=torch.float32)
    by_group = x.new_empty(cut.images * groups * cut.parts * 2, dtype=torch.float32)
    of_parameters = x.new_empty(3, cut.channels, dtype=torch.float32)
    given = dy, x, bias, weight, offset, *kept.unbind(), by_channel, by_group
    tile = {"HAS_BIAS": bias is not None, "ROWS": cut.tile, "WIDTH": cut.padded_width, "num_warps": WARPS}
    sums_kernel[cut.parts, cut.images * groups](
        *given, cut.rows, cut.per_part, cut.parts, cut.channels, groups, cut.width, **tile
    )
    strips = _ceil(cut.channels, STRIP)
    shape = cut.images, cut.rows, cut.parts, cut.channels, groups, cut.width, cut.blocks, strips
    backward_kernel[(strips + cut.blocks * cut.images * groups,)](
        *given, dx, *of_parameters.unbind(), *shape, PARTS=cut.padded_parts, STRIP=STRIP, **tile
    )
    return dx, of_parameters


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
) -> tuple[Tensor, Tensor]:
    return norm_gelu_backward(dy, x, weight, offset, bias, kept, groups)


@_backward.register_fake
def _(
    dy: Tensor, x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None, kept: Tensor, groups: int
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(3, x.shape[1], dtype=torch.float32)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, offset, bias, ctx.groups, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weight, offset, bias, output[1])


def _gradients(ctx: Any, dy: Tensor, of_kept: Tensor | None) -> tuple[Tensor | None, ...]:
    x, weight, offset, bias, kept = ctx.saved_tensors
    dx, of_parameters = _backward(dy, x, weight, offset, bias, kept, ctx.groups)
    of_weight, of_offset, of_bias = of_parameters.unbind()
    return dx, of_weight, of_offset, None if bias is None else of_bias, None, None


norm_gelu.register_autograd(_gradients, setup_context=_keep)
