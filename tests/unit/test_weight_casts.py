from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from engine.learning.weight_casts import CastAtOnce
from engine.models.builtin import ModernUNetConfig, UNetConfig
from engine.models.registry import build_model


@pytest.mark.parametrize(
    "config", [UNetConfig(width=2), ModernUNetConfig(hidden=2, attention="middle")], ids=["unet", "modern"]
)
def test_weights_cast_at_once_change_no_bit(config: UNetConfig | ModernUNetConfig) -> None:
    torch.manual_seed(0)
    plain = build_model(config, outputs=3)
    model = copy.deepcopy(plain)
    cast, images = CastAtOnce(model, torch.bfloat16), torch.randn(2, 3, 16, 16)
    results = []
    for network in (plain, cast):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            results.append(network(images))
        results[-1].float().square().sum().backward()
    assert torch.equal(*results)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert isinstance(ours, nn.Parameter)
        assert ours.dtype == torch.float32
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.equal(ours.grad, theirs.grad)


def test_weights_come_back_where_a_network_fails() -> None:
    layer = nn.Conv2d(3, 3, 1)
    cast = CastAtOnce(nn.Sequential(layer), torch.bfloat16)
    with pytest.raises(RuntimeError):
        cast(torch.zeros(1, 2, 4, 4))
    assert isinstance(layer.weight, nn.Parameter)


def test_a_frozen_weight_has_no_gradient() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1, bias=False))
    model[0].requires_grad_(False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        CastAtOnce(model, torch.bfloat16)(torch.zeros(1, 3, 4, 4)).float().sum().backward()
    assert [each.grad is None for each in model.parameters()] == [True, True, False]
