"""The kernel of `engine.models.added` against torch's own operators in float64: see `kernel_cases.py`."""

from __future__ import annotations

import torch

from engine.models import added as host
from tests.unit.norm_cases import close, nhwc

CASES = [
    # channels, part of a larger map, with a second gradient, values of a tile, channels of a strip
    (6, False, False, 4096, 64),
    (20, True, False, 64, 8),
    (20, True, True, 32, 16),
]


def check(channels: int, is_part: bool, has_second: bool, tile: int, strip: int) -> None:
    host.TILE, host.STRIP = tile, strip
    host.cut.cache_clear()
    first = nhwc(torch.randn(3, channels * (1 + is_part), 4, 5))[:, -channels:]
    second = nhwc(torch.randn(3, channels, 4, 5)) if has_second else None
    out, d_bias = host.collect(first, second, torch.zeros(channels), copies=is_part)
    total = first.double() + (0 if second is None else second.double())
    close(d_bias, total.sum((0, 2, 3)), 1e-5)
    if is_part or has_second:
        assert out.is_contiguous(memory_format=torch.channels_last)
        close(out, total, 1e-6)
    else:
        assert out.numel() == 0, "the first is as it should be"


def check_all() -> None:
    torch.manual_seed(0)
    for case in CASES:
        check(*case)
