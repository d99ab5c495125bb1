"""Group norm followed by GELU on a GPU, for channels_last maps, as operators of torch.

Torch has no group norm for channels_last on CUDA, and under autocast it takes one in float32. A norm and
its GELU then cost seven kernels forward and nine back, most of them casts and copies, and keep two maps in
float32. Here they cost one and one. A map is read and written in its own type, sums are float32, and what
is kept for the backward pass is the map itself. A bias of the convolution before is added on the way; its
gradient comes with those of the norm. A map that is itself a sum, or a concatenation, is made by the same
kernel: `Join`.

A map [B, C, H, W] is rows of C channels in memory, H * W of them an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from engine.models.added import rows_apart
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
    `parts` of `per_part`, `tile` of which a program takes at a time."""

    rows: int
    width: int
    padded_width: int
    tile: int
    per_part: int
    parts: int
    padded_parts: int


@cache
def cut(images: int, channels: int, height: int, width: int, groups: int) -> Cut:
    """The cut of a map [B, C, H, W]. Widths and parts are padded to powers of 2, as Triton has no other."""
    rows, of_group = height * width, channels // groups
    padded_width = triton.next_power_of_2(of_group)
    tile = max(1, TILE // padded_width)
    most = max(1, min(rows * of_group // LEAST_PART, PROGRAMS // (images * groups)))
    per_part = tile * _ceil(_ceil(rows, most), tile)
    parts = _ceil(rows, per_part)
    return Cut(rows, of_group, padded_width, tile, per_part, parts, triton.next_power_of_2(parts))


def forward(
    given: Sequence[Tensor | None],
    biases: Sequence[Tensor | None],
    weight: Tensor,
    offset: Tensor,
    groups: int,
    eps: float,
    join: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The map x [B, C, H, W], GELU of its group norm, like x, and the mean and inverse deviation of each
    group, float32 [2, B * G]. weight and offset are float32 [C].

    Without `join`, `given` is a map a, x is that map, and what is normed is x and a bias of up to one. With
    it, `given` is a, b and skip, the latter two of which may be None: x is a + b + biases, and behind its
    channels those of skip.
    """
    a, b, skip = (None if each is None else _rows_of_channels(each) for each in (*given, None, None)[:3])
    biases = [each for each in biases if each is not None]
    assert a is not None
    x = _joined_like(a, skip) if join else a
    made = cut(*x.shape, groups)
    image_groups, channels = len(x) * groups, x.shape[1]
    y = torch.empty_like(x)
    moments = x.new_empty(image_groups * made.parts * 2, dtype=torch.float32)
    kept = x.new_empty(2, image_groups, dtype=torch.float32)
    places = a, b, skip, *(*biases, None, None)[:2], x, weight, offset, moments, y, *kept.unbind()
    shape = made.rows, made.per_part, made.parts, channels, a.shape[1], groups, made.width, image_groups
    fixed = {"JOIN": join, "HAS_B": b is not None, "HAS_SKIP": skip is not None, "BIASES": len(biases)}
    launch_passes(forward_kernel, 2, x.device, *places, *shape, eps, **fixed, **_fixed(made))
    return x, y, kept


def backward(
    dy: Tensor | None,
    grads: Sequence[Tensor | None],
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None,
    kept: Tensor,
    groups: int,
    left: int,
    join: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of the first `left` channels of x and of the others, of weight and offset, float32
    [2, C], and of a bias, like it, if there is one. `grads` are up to two gradients of x itself beside `dy`,
    that of its GELU; `kept` is from forward."""
    x = _rows_of_channels(x)
    dy = None if dy is None else _rows_of_channels(dy)
    known = [rows_apart(each) for each in grads if each is not None]
    made = cut(*x.shape, groups)
    channels, has_skip = x.shape[1], left < x.shape[1]
    d_left, d_skip, d_affine, d_bias = _gradients_like(x, bias, left)
    by_channel = x.new_empty(len(x) * made.parts * 3 * channels, dtype=torch.float32)
    by_group = x.new_empty(len(x) * groups * made.parts * 2, dtype=torch.float32)
    first, second = (*known, None, None)[:2]
    places = dy, first, second, x, bias, weight, offset, *kept.unbind(), by_channel, by_group
    out = d_left, d_skip, *d_affine.unbind(), d_bias
    rows = made.rows, made.per_part, made.parts, channels, left, groups, made.width
    apart = (0 if each is None else each.stride(3) for each in (first, second))
    shape = len(x), *rows, _ceil(channels, STRIP), *apart
    fixed = {"HAS_DY": dy is not None, "GRADS": len(known), "HAS_SKIP": has_skip, "STRIP": STRIP}
    biased = {"HAS_BIAS": bias is not None and not join, "WANTS_BIAS": bias is not None}
    launch_passes(backward_kernel, 3, x.device, *places, *out, *shape, **fixed, **biased, **_fixed(made))
    return d_left, d_skip, d_affine, d_bias


def _fixed(made: Cut) -> dict[str, int]:
    return {"ROWS": made.tile, "WIDTH": made.padded_width, "PARTS": made.padded_parts}


def _joined_like(a: Tensor, skip: Tensor | None) -> Tensor:
    images, channels, height, width = a.shape
    behind = 0 if skip is None else skip.shape[1]
    return _map(a, images, channels + behind, height, width)


def _gradients_like(x: Tensor, bias: Tensor | None, left: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    images, channels, height, width = x.shape
    d_left = _map(x, images, left, height, width)
    d_skip = _map(x, images, channels - left, height, width) if left < channels else x.new_empty(0)
    d_bias = x.new_empty(0) if bias is None else torch.empty_like(bias)
    return d_left, d_skip, x.new_empty(2, channels, dtype=torch.float32), d_bias


def _map(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


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
    """GELU of the group norm of x + bias, and what its gradient needs; with a gradient for x, weight, offset
    and bias."""
    return forward([x], [bias], weight, offset, groups, eps, join=False)[1:]


@norm_gelu.register_fake
def _(
    x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None, groups: int, eps: float
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(2, len(x) * groups, dtype=torch.float32)


@torch.library.custom_op("seg_engine::join_norm_gelu", mutates_args=(), device_types="cuda")
def _join(
    a: Tensor,
    b: Tensor | None,
    skip: Tensor | None,
    bias: Tensor | None,
    second_bias: Tensor | None,
    weight: Tensor,
    offset: Tensor,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return forward([a, b, skip], [bias, second_bias], weight, offset, groups, eps, join=True)


@_join.register_fake
def _(
    a: Tensor,
    b: Tensor | None,
    skip: Tensor | None,
    bias: Tensor | None,
    second_bias: Tensor | None,
    weight: Tensor,
    offset: Tensor,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    x = _joined_like(a, skip)
    return x, torch.empty_like(x), x.new_empty(2, len(x) * groups, dtype=torch.float32)


@torch.library.custom_op("seg_engine::norm_gelu_backward", mutates_args=(), device_types="cuda")
def _backward(
    dy: Tensor | None,
    first: Tensor | None,
    second: Tensor | None,
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None,
    kept: Tensor,
    groups: int,
    left: int,
    join: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return backward(dy, [first, second], x, weight, offset, bias, kept, groups, left, join)


@_backward.register_fake
def _(
    dy: Tensor | None,
    first: Tensor | None,
    second: Tensor | None,
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None,
    kept: Tensor,
    groups: int,
    left: int,
    join: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _gradients_like(x, bias, left)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, offset, bias, ctx.groups, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weight, offset, bias, output[1])


def _gradients(ctx: Any, dy: Tensor, of_kept: Tensor | None) -> tuple[Tensor | None, ...]:
    x, weight, offset, bias, kept = ctx.saved_tensors
    given = dy, None, None, x, weight, offset, bias, kept, ctx.groups, x.shape[1], False
    dx, _, d_affine, d_bias = _backward(*given)
    return dx, *d_affine.unbind(), None if bias is None else d_bias, None, None


norm_gelu.register_autograd(_gradients, setup_context=_keep)


class Join(torch.autograd.Function):
    """x = a + b + bias + second_bias, with the channels of skip behind its own, and GELU of its group norm.

    Gives the latter and then x as often as there are `readers` of it, up to two, so that each sends its own
    gradient: one kernel adds them up, instead of one for each sum. b, skip and the biases may be None.
    """

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor | None,
        skip: Tensor | None,
        bias: Tensor | None,
        second_bias: Tensor | None,
        weight: Tensor,
        offset: Tensor,
        groups: int,
        eps: float,
        readers: int,
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        x, y, kept = torch.ops.seg_engine.join_norm_gelu(
            a, b, skip, bias, second_bias, weight, offset, groups, eps
        )
        ctx.save_for_backward(x, weight, offset, bias, kept)
        ctx.groups, ctx.left = groups, a.shape[1]
        ctx.has_b, ctx.has_skip, ctx.has_second = b is not None, skip is not None, second_bias is not None
        return y, *(x, x.view_as(x))[:readers]

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        first, second = (*grads, None, None)[:2]
        x, weight, offset, bias, kept = ctx.saved_tensors
        given = dy, first, second, x, weight, offset, bias, kept, ctx.groups, ctx.left, True
        d_left, d_skip, d_affine, d_bias = torch.ops.seg_engine.norm_gelu_backward(*given)
        of_bias = None if bias is None else d_bias
        return (
            d_left,
            d_left if ctx.has_b else None,
            d_skip if ctx.has_skip else None,
            of_bias,
            of_bias if ctx.has_second else None,
            *d_affine.unbind(),
            None,
            None,
            None,
        )
