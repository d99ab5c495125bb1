"""Group norm with GELU: what its kernels compute, run by Triton's interpreter, and what the CPU computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.models.layers import GroupNormGelu
from tests.conftest import run_module


def test_the_kernels_compute_what_torch_does() -> None:
    pytest.importorskip("triton", reason="comes with torch for CUDA")
    done = run_module("tests.unit.norm_cases", TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_cpu_keeps_the_bits_of_torch(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours, convolution = GroupNormGelu(2, 8), nn.Conv2d(4, 8, 3, padding=1)
    nn.init.normal_(ours.weight)
    theirs = nn.Sequential(convolution, nn.GroupNorm(2, 8), nn.GELU())
    theirs[1].load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        assert torch.equal(ours.after(convolution, x), theirs(x))
        assert torch.equal(ours(convolution(x)), theirs(x))
