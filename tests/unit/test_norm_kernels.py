"""What kernels of Triton compute, run by its interpreter, and what the CPU computes in their place."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from engine.models.layers import GroupNormGelu
from engine.models.unet.network import DoubleConvolution
from tests.conftest import run_module


def test_the_kernels_compute_what_torch_does() -> None:
    pytest.importorskip("triton", reason="comes with torch for CUDA")
    done = run_module("tests.unit.kernel_cases", TRITON_INTERPRET="1")
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


def test_a_double_convolution_keeps_the_bits_of_its_layers() -> None:
    torch.manual_seed(0)
    ours = DoubleConvolution(3, 8)
    theirs = nn.Sequential(*copy.deepcopy(list(ours)))
    x = torch.randn(2, 3, 6, 6).contiguous(memory_format=torch.channels_last)
    normed, pooled = ours(x, [], nn.MaxPool2d(2))
    right = theirs(x)
    assert torch.equal(normed, right)
    assert torch.equal(pooled, nn.functional.max_pool2d(right, 2))
    for name, buffer in theirs.named_buffers():
        assert "tracked" in name or torch.equal(ours.get_buffer(name), buffer), "the network counts batches"
