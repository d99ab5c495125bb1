from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from engine.learning.weight_casts import CastAtOnce
from engine.models import ModelSection
from engine.models.builtin import (
    DeepLabLargeFOVConfig,
    ModernUNetConfig,
    ResNet38Config,
    StreetNetConfig,
    UNetConfig,
)
from engine.models.registry import build_model


@pytest.mark.parametrize(
    "config",
    [
        UNetConfig(width=2),
        ModernUNetConfig(hidden=2, attention="middle"),
        DeepLabLargeFOVConfig(width=2),
        ResNet38Config(layers=16, width="1/8"),
        StreetNetConfig(width=4, encoder="resnet18"),
    ],
    ids=lambda config: config.name,
)
def test_weights_and_images_cast_at_once_change_no_bit(config: ModelSection) -> None:
    torch.manual_seed(0)
    plain = build_model(config, outputs=3)
    assert plain.convolves_images
    model = copy.deepcopy(plain)
    cast, images = CastAtOnce(model, torch.bfloat16, casts_images=True), torch.randn(2, 3, 16, 16)
    results = []
    for network in (plain, cast):
        torch.manual_seed(1)  # of dropout
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
    assert images.grad is None


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
