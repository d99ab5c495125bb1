"""MixStyle: whose mean and deviation features take, and that a step decides it wherever its images are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.components.origin import ComponentError
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.learning.batch_norm import set_training_mode
from engine.learning.distributed import ALONE, Group
from engine.learning.hardware import Hardware
from engine.learning.mixstyle import MixStyle, layers_by_number, pixel_axes
from engine.models.builtin import ModernUNetConfig, ResNet38Config, StreetNetConfig, UNetConfig, VLTSegConfig
from engine.models.registry import build_model
from engine.requests.configs import check_components
from engine.training.probes.steps import random_batch
from engine.training.state import new_state
from engine.training.step import training_step

CPU = Hardware(torch.device("cpu"), "a CPU", "fp32")
IMAGES = 5


class Encoder(nn.Module):
    """Two layers that leave their input alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Identity(), nn.Identity()

    def layers(self) -> list[tuple[str, ...]]:
        return [("first",), ("second",)]

    def forward(self, features: Tensor) -> Any:
        return self.second(self.first(features))


def mixing(network: Any, probability: float = 1.0, part: int = 0, group: Group = ALONE) -> MixStyle:
    return MixStyle(network, probability, 0.5, [2], IMAGES, part, CPU.device, group)


def drawn(styles: MixStyle, first: int = 0, count: int = IMAGES) -> MixStyle:
    styles.draw(torch.Generator().manual_seed(3), IMAGES, first, count)
    styles.show(0, count)
    return styles


def moments(features: Tensor) -> Tensor:
    """Means and deviations of each image and channel, [B, C, 2]."""
    pixels = features.flatten(2)
    return torch.stack([pixels.mean(2), pixels.std(2, correction=0)], -1)


def test_an_image_takes_a_mixture_of_its_own_and_anothers_mean_and_deviation() -> None:
    torch.manual_seed(0)  # where moments are nearly equal, rounding decides what share of them it was
    network = Encoder()
    drawn(mixing(network))
    features = torch.randn(IMAGES, 4, 6, 7) * torch.rand(IMAGES, 4, 1, 1) * 5 + torch.randn(IMAGES, 4, 1, 1)
    mixed, own = network(features), moments(features)
    for index, made in enumerate(moments(mixed)):
        apart = own - own[index]  # [B, C, 2]
        shares = (made - own[index]).flatten() / apart.flatten(1)
        assert any(shares[each].std() < 1e-3 for each in range(IMAGES) if each != index) or torch.allclose(
            made, own[index], atol=1e-4
        )
    assert not torch.allclose(moments(mixed), own, atol=0.01)
    torch.testing.assert_close(standardised(mixed), standardised(features), rtol=1e-3, atol=1e-3)
    tokens = network(features.flatten(2).mT)  # [B, N, C]
    torch.testing.assert_close(tokens.mT.unflatten(2, (6, 7)), mixed)
    assert torch.equal(network.eval()(features), features)


def test_channels_may_be_last() -> None:
    layer, other = nn.Sequential(nn.LayerNorm(4)), nn.Sequential(nn.LayerNorm(4), nn.Conv2d(4, 4, 1))
    assert pixel_axes(layer, torch.zeros(2, 6, 7, 4)) == (1, 2)
    assert (
        pixel_axes(other, torch.zeros(2, 4, 6, 4))
        == pixel_axes(nn.Identity(), torch.zeros(2, 6, 7, 4))
        == (2, 3)
    )
    network = Encoder()
    drawn(mixing(network))
    features = torch.randn(IMAGES, 4, 6, 7) + 3
    expected = network(features)
    network.second.norm = nn.LayerNorm(4)
    torch.testing.assert_close(network(features.movedim(1, -1)).movedim(-1, 1), expected)


def standardised(features: Tensor) -> Tensor:
    mean, deviation = moments(features)[..., None, None, :].unbind(-1)
    return (features - mean) / deviation


def test_a_probability_leaves_the_others_to_the_bit_and_gradients_see_no_statistics() -> None:
    network = Encoder()
    drawn(mixing(network, 0.5))
    features = torch.randn(IMAGES, 4, 6, 7, requires_grad=True)
    mixed = network(features)
    same = [torch.equal(one, other) for one, other in zip(mixed, features, strict=True)]
    assert 0 < sum(same) < IMAGES
    mixed.sum().backward()
    assert features.grad is not None
    scale = moments(mixed)[..., 1] / moments(features)[..., 1]
    torch.testing.assert_close(features.grad[:, :, 0, 0], scale, rtol=1e-4, atol=1e-4)
    assert torch.equal(features.grad, features.grad[:, :, :1, :1].expand_as(features.grad))


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_mix_what_one_device_would(ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Encoder()
    drawn(mixing(whole))
    features = torch.randn(IMAGES, 4, 6, 7)
    expected = whole(features)
    var, mean = torch.var_mean(features, dim=(2, 3), correction=0)
    styles = torch.stack([mean, (var + 1e-6).sqrt()], 1)
    monkeypatch.setattr(Group, "whole_batch", lambda group, local, size: styles)
    for rank in range(ranks):
        network, group = Encoder(), Group(rank, ranks)
        first, count = group.place(IMAGES)
        drawn(mixing(network, group=group), first, count)
        torch.testing.assert_close(network(features[first : first + count]), expected[first : first + count])


def test_parts_of_a_batch_mix_among_themselves() -> None:
    network = Encoder()
    styles = drawn(mixing(network, part=2))
    features = torch.randn(IMAGES, 4, 6, 7)
    for start, count in ((0, 2), (2, 2), (4, 1)):
        styles.show(start, count)
        made = network(features[start : start + count])
        assert made.shape == (count, 4, 6, 7)
    assert torch.equal(made, network(features[4:]))
    torch.testing.assert_close(made, features[4:], rtol=1e-4, atol=1e-4)  # it has no other to mix with


@pytest.mark.parametrize(
    ("section", "names"),
    [
        (UNetConfig(width=2), ["down.1", "down.2"]),
        (ResNet38Config(layers=16, width="1/8"), ["level2.0", "level3.0"]),
        (VLTSegConfig(backbone="eva02_tiny_patch14", channels=8), ["backbone.blocks.0", "backbone.blocks.1"]),
    ],
)
def test_layers_are_those_of_the_network(section: Any, names: list[str]) -> None:
    with torch.device("meta"):
        network = build_model(section, 3)
    found = layers_by_number(network, [2, 3])
    assert all(name.startswith(wanted) for name, wanted in zip(found, names, strict=True)), found


def test_what_cannot_be_mixed_is_told() -> None:
    with pytest.raises(ComponentError, match=r"mixstyle_layers: 2,9 is not allowed; .* has 5 layers"):
        layers_by_number(build_model(UNetConfig(width=2), 3), [2, 9])
    with pytest.raises(ConfigError, match=r"augment\.mixstyle_layers: '0' is not allowed"):
        with_values(RunConfig(), {"augment.mixstyle_layers": "0"})
    check_components(with_values(RunConfig(), {"augment.mixstyle": 0.5}))


@pytest.mark.parametrize("changes", [{}, {"runtime.recompute": True}, {"model.name": "unet"}])
def test_steps_with_mixed_styles_repeat_to_the_bit_and_differ_from_those_without(
    changes: dict[str, object],
) -> None:
    base = {"model.name": "modern_unet", "model.hidden": 4, "data.size": "32x32", "batch_size": 4}
    if changes.get("model.name") == "unet":
        base = {"model.width": 2, "data.size": "32x32", "batch_size": 4}

    def learned(mixstyle: float) -> dict[str, Tensor]:
        config = with_values(RunConfig(), {**base, **changes, "augment.mixstyle": mixstyle})
        state = new_state(config, CPU, ["road", "sky"])
        batch = random_batch(config, CPU, 2, 4)
        state.begin_epoch(8)
        for _ in range(2):
            torch.rand(3)  # whatever else draws
            training_step(state, batch, 4)
        return state.model.state_dict()

    first, again, without = learned(1.0), learned(1.0), learned(0.0)
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    assert not all(torch.equal(weight, without[name]) for name, weight in first.items())


def test_styles_are_mixed_after_batch_norms_whose_statistics_are_frozen() -> None:
    with torch.device("meta"):
        assert layers_by_number(build_model(StreetNetConfig(width=4), 3), [1]) == ["encoder.bn1"]
    network = build_model(StreetNetConfig(width=4), 3)
    styles = MixStyle(network, 1.0, 0.5, [1], IMAGES, 0, CPU.device, ALONE)
    set_training_mode(network, "frozen_statistics")
    features = torch.randn(IMAGES, 4, 8, 8)
    plain = network.encoder.bn1(features)
    drawn(styles)
    mixed = network.encoder.bn1(features)
    assert not torch.allclose(moments(mixed), moments(plain), atol=0.01)
    assert torch.equal(network.eval().encoder.bn1(features), plain)


def test_the_modern_unet_mixes_after_the_blocks_of_its_first_levels() -> None:
    network = build_model(ModernUNetConfig(hidden=2), 3)
    assert all(name.startswith("down.") for name in layers_by_number(network, [2, 3]))
