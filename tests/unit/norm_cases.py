"""The kernels of `engine.models.norm_kernels` against torch's own operators in float64, on the CPU.

Run with TRITON_INTERPRET=1, which has to be set before Triton is imported: see `kernel_cases.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.models import norm_gelu as host
from engine.models.norm_gelu import norm_gelu_backward, norm_gelu_forward

CASES = [
    # images, channels, height, width, groups, with bias, type, values of a tile, least values of a part
    (2, 6, 3, 5, 1, False, torch.float32, 4096, 16384),
    (2, 6, 3, 5, 3, True, torch.float32, 8, 8),
    (1, 40, 3, 3, 1, True, torch.float32, 32, 100),
    (2, 8, 2, 5, 2, True, torch.bfloat16, 8, 16),
    (1, 3, 1, 1, 1, False, torch.float32, 4096, 16384),
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
    host.TILE, host.LEAST_PART = tile, least_part
    host.cut.cache_clear()
    # Far from 0, where sums of squares would lose digits.
    x, dy = (nhwc(torch.randn(images, channels, height, width) + 30).to(dtype) for _ in range(2))
    weight, offset, shift = torch.randn(3, channels).unbind()
    bias = shift if has_bias else None

    y, kept = norm_gelu_forward(x, weight, offset, bias, groups, 1e-5)
    dx, d_affine, d_bias = norm_gelu_backward(dy, x, weight, offset, bias, kept, groups)

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
