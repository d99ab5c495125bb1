from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.learning.activation_checkpointing import checkpoint_activations
from engine.learning.flops import flops_per_sample
from engine.models import ModelSection as ModelConfig
from engine.models.builtin import (
    DeepLabLargeFOVConfig,
    ModernUNetConfig,
    ResNet38Config,
    StreetNetConfig,
    UNetConfig,
)
from engine.models.contract import outputs_of
from engine.models.layers import BatchNorm, TransposedConvolution, bilinear
from engine.models.modern_unet.network import Attention
from engine.models.registry import build_model, count_parameters
from engine.models.weight_fit import fit_weights


def test_the_unet_of_2015_has_its_known_number_of_parameters() -> None:
    assert count_parameters(build_model(UNetConfig(width=64), outputs=19)) == 31_038_803


@pytest.mark.parametrize(
    ("norm", "attention", "use1x1", "parameters"),
    [
        (False, "none", False, 144_226_899),
        (True, "none", False, 144_267_731),
        (True, "middle", False, 148_468_179),
        (True, "none", True, 144_256_467),
    ],
)
def test_the_modern_unet_has_its_known_number_of_parameters(
    norm: bool, attention: str, use1x1: bool, parameters: int
) -> None:
    config = ModernUNetConfig(hidden=64, norm=norm, attention=attention, use1x1=use1x1)
    with torch.device("meta"):
        assert count_parameters(build_model(config, outputs=19)) == parameters


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (StreetNetConfig(), 7_594_867),
        (StreetNetConfig(width=16), 1_901_507),
        (StreetNetConfig(width=16, head_stride=2, deep_supervision=2), 1_908_393),
        (StreetNetConfig(encoder="resnet34", width=64), 22_021_587),
    ],
)
def test_streetnet_has_its_known_number_of_parameters(config: ModelConfig, parameters: int) -> None:
    with torch.device("meta"):
        assert count_parameters(build_model(config, outputs=19)) == parameters


@pytest.mark.parametrize("size", [(360, 480), (45, 61)])
def test_streetnet_takes_images_of_any_size(size: tuple[int, int]) -> None:
    network = build_model(StreetNetConfig(width=4, deep_supervision=2), outputs=5).train()
    made = outputs_of(network, torch.zeros(2, 3, *size))
    assert made.logits.shape == (2, 5, *size)
    assert [tuple(each.shape[2:]) for each in made.auxiliary] == [
        tuple(-(-side // stride) for side in size) for stride in (16, 8)
    ]


def test_auxiliary_heads_of_streetnet_leave_all_else_as_it_is() -> None:
    drawn = []
    for levels in (0, 1):
        torch.manual_seed(0)
        drawn.append(build_model(StreetNetConfig(width=4, deep_supervision=levels), 5).state_dict())
    assert drawn[1].keys() - drawn[0].keys() == {"auxiliary.0.weight", "auxiliary.0.bias"}
    assert all(torch.equal(drawn[1][name], each) for name, each in drawn[0].items())


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_streetnet_takes_the_weights_of_torchvisions_resnets(name: str) -> None:
    with torch.device("meta"):
        network = build_model(StreetNetConfig(encoder=name, width=64), outputs=5)
        theirs = getattr(torchvision.models, name)(weights=None).state_dict()
    fit = fit_weights(network, theirs)
    assert fit.problem == ""
    assert fit.unused == ["fc.weight", "fc.bias"]
    assert not any(network.is_encoder(each) for each in fit.new)


MODELS = [
    UNetConfig(width=2),
    ModernUNetConfig(hidden=2),
    ModernUNetConfig(hidden=3, norm=False, attention="1+2+3+4+middle", use1x1=True),
    DeepLabLargeFOVConfig(width=4, dropout=0.0),
    ResNet38Config(layers=16, width="1/8"),
    ResNet38Config(layers=20, width="1/8", variant="a2"),
    StreetNetConfig(width=4),
    StreetNetConfig(width=4, encoder="resnet18", head_stride=2),
]


@pytest.mark.parametrize("config", MODELS)
@pytest.mark.parametrize(("height", "width"), [(16, 32), (48, 16), (64, 64)])
def test_the_prediction_has_the_size_of_the_input(config: ModelConfig, height: int, width: int) -> None:
    model = build_model(config, outputs=5).eval()
    assert model(torch.zeros(2, 3, height, width)).shape == (2, 5, height, width)


@pytest.mark.parametrize("config", MODELS)
def test_every_level_takes_part_in_the_prediction(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = build_model(config, outputs=3)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)  # those of residual blocks may begin at 0, before which nothing learns
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith("0.bias"):
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("config", MODELS)
def test_the_last_layer_is_called_head(config: ModelConfig) -> None:
    names = {name for name, _ in build_model(config, outputs=5).named_parameters()}
    assert {name for name in names if name.startswith("head.")} == {"head.weight", "head.bias"}
    assert build_model(config, outputs=5).head.out_channels == 5


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_map_is_resized_as_by_torch_and_its_gradient_lies_as_the_map_does(
    layout: torch.memory_format,
) -> None:
    torch.manual_seed(0)
    small = torch.randn(2, 3, 5, 6).to(memory_format=layout)
    beside = torch.randn(2, 4, 9, 13).to(memory_format=layout)
    gradients = []
    for resize in (bilinear, partial(functional.interpolate, mode="bilinear")):
        given = small.clone().requires_grad_()
        torch.cat([resize(given, (9, 13)), beside], dim=1).square().sum().backward()
        gradients.append(given.grad)
    assert gradients[0] is not None
    torch.testing.assert_close(*gradients)
    assert gradients[0].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("bf16", [False, True])
def test_the_transposed_convolution_is_that_of_torch_with_its_gradients(bf16: bool) -> None:
    torch.manual_seed(0)
    theirs = nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1).to(memory_format=torch.channels_last)
    ours = TransposedConvolution(6, 4, 4, stride=2, padding=1).to(memory_format=torch.channels_last)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 6, 5, 7).to(memory_format=torch.channels_last)
    answers, gradients = [], []
    for layer in (ours, theirs):
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            answer = layer(given)
        answer.float().square().sum().backward()
        answers.append(answer)
        gradients.append([given.grad, layer.weight.grad, layer.bias.grad])
    near = {"rtol": 0.02, "atol": 0.02} if bf16 else {}  # the bias is rounded before or after it is added
    torch.testing.assert_close(*answers, **near)
    assert answers[0].is_contiguous(memory_format=torch.channels_last)
    for our, their in zip(*gradients, strict=True):
        assert our is not None
        assert their is not None
        scale = float(their.abs().max()) if bf16 else 1.0
        torch.testing.assert_close(our / scale, their / scale, **near)


def test_batch_norm_counted_by_the_unet_is_that_of_torch() -> None:
    ours = build_model(UNetConfig(width=2), 5)
    torchs, recomputed = copy.deepcopy(ours), copy.deepcopy(ours)
    checkpoint_activations(recomputed)
    torchs._norms = []
    for layer in torchs.modules():
        if isinstance(layer, BatchNorm):
            layer.__class__ = nn.BatchNorm2d
    images = torch.randn(2, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    for network in (ours, torchs, recomputed):
        network.train().down[0].eval()
        for _ in range(2):
            network(images).square().sum().backward()

    assert torchs.down[1][1].num_batches_tracked == 2
    assert torchs.down[0][1].num_batches_tracked == 0
    for other in (torchs, recomputed):
        torch.testing.assert_close(ours.state_dict(), other.state_dict(), rtol=0, atol=0)
        for mine, theirs in zip(ours.parameters(), other.parameters(), strict=True):
            assert torch.equal(mine.grad, theirs.grad)


def test_attention_is_over_the_keys_of_normed_pixels() -> None:
    torch.manual_seed(0)
    attention = Attention(4)
    nn.init.normal_(attention.norm.weight)
    x = torch.randn(2, 4, 3, 5)
    pixels = attention.norm(x).reshape(2, 4, 15).transpose(1, 2)
    query, key, value = attention.project(pixels).split(4, dim=-1)
    weights = (query @ key.transpose(1, 2) / 2).softmax(dim=-1)  # each row, of one query, adds up to 1
    added = attention.output(weights @ value).transpose(1, 2).reshape(2, 4, 3, 5)
    torch.testing.assert_close(attention(x), x + added)


def test_flops_are_counted_without_touching_memory_and_grow_with_the_area() -> None:
    small = with_values(get_recipe("paper-unet"), {"data.size": "64x64"})
    large = with_values(small, {"data.size": "128x128"})
    assert flops_per_sample(large, 19) == pytest.approx(4 * flops_per_sample(small, 19), rel=1e-6)
    # By hand: the first convolution alone is 2 x 9 x 3 x 64 FLOPs a pixel.
    assert flops_per_sample(small, 19) > 2 * 9 * 3 * 64 * 64 * 64
