"""The architectures: a name in the config, the network that it means."""

from __future__ import annotations

from torch import nn

from engine.config import ModelConfig, ModernUNetConfig, UNetConfig
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


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
