"""The kernels of `engine.models.max_pool` against torch's own operator: see `kernel_cases.py`."""

from __future__ import annotations

import torch
from torch.nn import functional

from engine.models import max_pool as host
from tests.unit.norm_cases import nhwc

CASES = [
    # side, stride, padding, ceil_mode, channels, height, width, type, values of a tile, channels of a strip
    (3, 2, 1, False, 6, 8, 7, torch.float32, 4096, 64),
    (3, 2, 1, True, 20, 8, 7, torch.bfloat16, 64, 8),
    (3, 1, 1, True, 5, 4, 5, torch.float32, 16, 4),
    (2, 2, 0, True, 3, 5, 6, torch.float32, 32, 16),
]


def check(side: int, stride: int, padding: int, ceil_mode: bool, channels: int, height: int, width: int,
          dtype: torch.dtype, tile: int, strip: int) -> None:  # fmt: skip
    host.TILE, host.STRIP = tile, strip
    x = nhwc(torch.randn(2, channels, height, width).mul(2).round()).to(dtype)  # some are equal
    x[0, 0, :2] = float("-inf")
    x[1, 1, -2:, 1:3] = float("nan")
    window = [side, stride, padding]
    y, winners = host.forward(x, window, ceil_mode)
    dy = torch.randint(-8, 8, y.shape).to(dtype)  # whose sums are exact
    dx = host.backward(dy, winners, height, width, window)

    given = x.double().requires_grad_()
    right = functional.max_pool2d(given, side, stride, padding, ceil_mode=ceil_mode)
    right.backward(dy.double())
    torch.testing.assert_close(y.double(), right.detach(), rtol=0, atol=0, equal_nan=True)
    assert given.grad is not None
    assert torch.equal(dx.double(), given.grad)
    assert dx.is_contiguous(memory_format=torch.channels_last)


def check_all() -> None:
    torch.manual_seed(0)
    for case in CASES:
        check(*case)
