"""The architectures: a name in the config, a function that builds the network."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from engine.config import UNetConfig
from engine.models.unet import UNet

CHANNELS = 3
"""Images are RGB."""


def unet(config: UNetConfig, classes: int) -> nn.Module:
    return UNet(CHANNELS, classes, config.width)


MODELS: dict[str, Callable[[UNetConfig, int], nn.Module]] = {
    "unet": unet,
}


def build_model(config: UNetConfig, classes: int) -> nn.Module:
    """The network of a config, on the CPU in float32, its weights drawn from torch's global generator.

    It maps images [B, 3, H, W] to logits [B, classes, H, W].
    """
    return MODELS[config.name](config, classes)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
