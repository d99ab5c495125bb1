"""The kernels of `engine.models.norm_kernels` against torch's own operators in float64, on the CPU.

Run with TRITON_INTERPRET=1, which has to be set before Triton is imported: see `kernel_cases.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.models import norm_gelu as host

CASES = [
    # images, channels, height, width, groups, with bias, type, values of a tile, least values of a part
    (2, 6, 3, 5, 1, False, torch.float32, 4096, 16384),
    (2, 6, 3, 5, 3, True, torch.float32, 8, 8),
    (1, 40, 3, 3, 1, True, torch.float32, 32, 100),
    (2, 8, 2, 5, 2, True, torch.bfloat16, 8, 16),
    (1, 3, 1, 1, 1, False, torch.float32, 4096, 16384),
]
JOINED = [
    # channels of a and of skip, with b, biases, gradients of the map itself, groups, values of a tile
    (6, 0, False, 1, 1, 3, 16),
    (6, 4, True, 2, 2, 1, 32),
    (5, 3, False, 0, 2, 2, 4096),
]
PRECISION = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


def check(
    images: int,
    channels: int,
    height: int,
    width: int,
    groups: int,
    has_bias: bool,
    dtype: torch.dtype,
    tile: int,
    least_part: int,
) -> None:
    cut_into(tile, least_part)
    # Far from 0, where sums of squares would lose digits.
    x, dy = (nhwc(torch.randn(images, channels, height, width) + 30).to(dtype) for _ in range(2))
    weight, offset, shift = torch.randn(3, channels).unbind()
    bias = shift if has_bias else None

    _, y, kept = host.forward([x], [bias], weight, offset, groups, 1e-5, join=False)
    dx, _, d_affine, d_bias = host.backward(
        dy, [], x, weight, offset, bias, kept, groups, channels, join=False
    )

    given = [each.double().requires_grad_() for each in (x, weight, offset, shift)]
    shifted = given[0] + given[3][:, None, None] if has_bias else given[0]
    right = functional.gelu(functional.group_norm(shifted, groups, given[1], given[2], 1e-5))
    right.backward(dy.double())  # type: ignore[no-untyped-call]
    assert y.dtype == dx.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    close(y, right.detach(), PRECISION[dtype])
    close(dx, given[0].grad, PRECISION[dtype])
    for found, each in zip([*d_affine, d_bias], given[1:], strict=True):
        if each.grad is not None:
            close(found, each.grad, 2e-5)


def check_join(own: int, others: int, has_b: bool, biases: int, grads: int, groups: int, tile: int) -> None:
    cut_into(tile, 16)
    size, channels = (3, 4), own + others
    a, b = (nhwc(torch.randn(2, own, *size) + 30) for _ in range(2))
    skip = nhwc(torch.randn(2, others, *size)) if others else None
    shifts = list(torch.randn(2, own).unbind())[:biases]
    weight, offset = torch.randn(2, channels).unbind()
    dy = nhwc(torch.randn(2, channels, *size))
    # One of them is a part of a larger map.
    of_map = [nhwc(torch.randn(2, channels * (1 + place), *size))[:, :channels] for place in range(grads)]

    plain = [a, b if has_b else None, skip]
    x, y, kept = host.forward(plain, shifts, weight, offset, groups, 1e-5, join=True)
    bias = shifts[0] if biases else None
    d_left, d_skip, d_affine, d_bias = host.backward(
        dy, of_map, x, weight, offset, bias, kept, groups, own, join=True
    )

    given = [None if each is None else each.double().requires_grad_() for each in (a, bias, skip)]
    left = given[0] + (b.double() if has_b else 0) + (0 if given[1] is None else given[1][:, None, None])
    left = left + (shifts[1].double()[:, None, None] if biases == 2 else 0)
    joined = left if given[2] is None else torch.cat([left, given[2]], 1)
    affine = [each.double().requires_grad_() for each in (weight, offset)]
    right = functional.gelu(functional.group_norm(joined, groups, *affine, 1e-5))
    torch.autograd.backward((right, *[joined] * grads), (dy.double(), *(each.double() for each in of_map)))
    close(x, joined.detach(), 1e-6)
    close(y, right.detach(), 1e-5)
    found = d_left, d_bias, d_skip, *d_affine
    for one, leaf in zip(found, (*given, *affine), strict=True):
        if leaf is not None:
            close(one, leaf.grad, 2e-5)


def cut_into(tile: int, least_part: int) -> None:
    host.TILE, host.LEAST_PART = tile, least_part
    host.cut.cache_clear()


def nhwc(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def close(found: Tensor, right: Tensor | None, precision: float) -> None:
    assert right is not None
    largest = max(float(right.abs().max()), 1.0)
    torch.testing.assert_close(found.double(), right, rtol=0, atol=precision * largest)


def check_all() -> None:
    torch.manual_seed(0)
    for case in CASES:
        check(*case)
    for joined in JOINED:
        check_join(*joined)
