from __future__ import annotations

import pytest
import torch

from engine.config import UNetConfig
from engine.config_keys import with_values
from engine.learning.flops import flops_per_sample
from engine.models.registry import build_model, count_parameters
from engine.recipes import get_recipe


def test_the_unet_of_2015_has_its_known_number_of_parameters() -> None:
    assert count_parameters(build_model(UNetConfig(width=64), classes=19)) == 31_038_803


@pytest.mark.parametrize(("height", "width"), [(16, 32), (48, 16), (64, 64)])
def test_the_prediction_has_the_size_of_the_input(height: int, width: int) -> None:
    model = build_model(UNetConfig(width=2), classes=5).eval()
    assert model(torch.zeros(2, 3, height, width)).shape == (2, 5, height, width)


def test_every_level_takes_part_in_the_prediction() -> None:
    model = build_model(UNetConfig(width=2), classes=3)
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith("0.bias"):
            assert parameter.grad.abs().sum() > 0, name


def test_flops_are_counted_without_touching_memory_and_grow_with_the_area() -> None:
    small = with_values(get_recipe("paper-unet"), {"data.size": "64x64"})
    large = with_values(small, {"data.size": "128x128"})
    assert flops_per_sample(large, 19) == pytest.approx(4 * flops_per_sample(small, 19), rel=1e-6)
    # By hand: the first convolution alone is 2 x 9 x 3 x 64 FLOPs a pixel.
    assert flops_per_sample(small, 19) > 2 * 9 * 3 * 64 * 64 * 64
