"""The architectures: a name in the config, the network that it means."""

from __future__ import annotations

from torch import nn

from engine.config_models import ModelConfig, ModernUNetConfig, UNetConfig
from engine.models.modern_unet import ModernUNet, ResidualBlock
from engine.models.unet import UNet

CHANNELS = 3
"""Images are RGB."""

BLOCKS = (nn.Sequential, ResidualBlock)
"""The building blocks of the architectures; none lies within another."""


def build_model(config: ModelConfig, outputs: int) -> nn.Module:
    """The network of a config, on the CPU in float32, its weights drawn from torch's global generator.

    It maps images [B, 3, H, W] to logits [B, outputs, H, W]; its last layer is called `head`.
    """
    match config:
        case UNetConfig():
            return UNet(CHANNELS, outputs, config.width)
        case ModernUNetConfig():
            return ModernUNet(CHANNELS, outputs, config)


def bottleneck(model: nn.Module) -> nn.Module:
    """The part of a network whose output [B, D, h, w] is its smallest map: what it makes of the whole
    image."""
    match model:
        case UNet():
            return model.down[-1]
        case ModernUNet():
            return model.middle[-1]
    raise TypeError(f"a {type(model).__name__} has no bottleneck that is known")


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
