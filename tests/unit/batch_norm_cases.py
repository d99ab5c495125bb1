"""The kernels of `engine.models.batch_norm_kernels` against torch's own operators in float64, on the CPU.

Run with TRITON_INTERPRET=1, which has to be set before Triton is imported: see `kernel_cases.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.models import batch_norm_relu as host
from tests.unit.norm_cases import PRECISION, close, nhwc

CASES = [
    # images, channels, height, width, pooled, of a concatenation, type, values of a tile, channels of a strip
    (2, 6, 3, 5, False, False, torch.float32, 64, 8),
    (2, 40, 4, 6, True, True, torch.float32, 128, 16),
    (3, 20, 4, 2, True, False, torch.bfloat16, 128, 16),
    (1, 8, 2, 2, False, True, torch.bfloat16, 4096, 64),
]


def check(
    images: int,
    channels: int,
    height: int,
    width: int,
    pooled: bool,
    is_part: bool,
    dtype: torch.dtype,
    tile: int,
    strip: int,
) -> None:
    host.TILE, host.STRIP = tile, strip
    host.cut.cache_clear()
    # Far from 0, where sums of squares would lose digits.
    x = nhwc(torch.randn(images, channels, height, width) + 30).to(dtype)
    dy = nhwc(torch.randn(images, channels * (1 + is_part), height, width)).to(dtype)[:, -channels:]
    d_pooled = nhwc(torch.randn(images, channels, height // 2, width // 2)).to(dtype) if pooled else None
    weight, offset = torch.randn(2, channels).unbind()

    y, largest, kept, fresh = host.forward(x, weight, offset, 1e-5, pooled)
    dx, d_affine = host.backward(dy, d_pooled, x, weight, offset, kept)

    given = [each.double().requires_grad_() for each in (x, weight, offset)]
    running = torch.zeros(2, channels, dtype=torch.float64)
    right = functional.relu(functional.batch_norm(given[0], *running, *given[1:], True, 1.0, 1e-5))
    loss = (right * dy.double()).sum()
    if d_pooled is not None:
        maximum, place = functional.max_pool2d(right, 2, return_indices=True)
        if dtype == torch.bfloat16:  # which of two equal values is the largest is a matter of rounding
            place = functional.max_pool2d(y.float(), 2, return_indices=True)[1]
            maximum = right.flatten(2).gather(2, place.flatten(2)).view(maximum.shape)
        loss = loss + (maximum * d_pooled.double()).sum()
        assert torch.equal(largest, functional.max_pool2d(y, 2))
    loss.backward()  # type: ignore[no-untyped-call]
    assert y.dtype == dx.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    close(y, right.detach(), PRECISION[dtype])
    close(fresh, running, 1e-5)
    close(dx, given[0].grad, PRECISION[dtype])
    for found, each in zip(d_affine, given[1:], strict=True):
        close(found, each.grad, 2e-5)


def check_what_is_no_number(x: Tensor) -> None:
    x[0, 0, 0, 0] = torch.nan
    y, largest, _, _ = host.forward(x, torch.ones(x.shape[1]), torch.zeros(x.shape[1]), 1e-5, True)
    assert y[:, 0].isnan().all()
    assert largest[:, 0].isnan().all()
    assert y[:, 1:].isfinite().all()


def check_all() -> None:
    torch.manual_seed(0)
    for case in CASES:
        check(*case)
    check_what_is_no_number(nhwc(torch.randn(2, 4, 4, 4)))
