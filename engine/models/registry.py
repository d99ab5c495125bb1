"""From a network's section to the network itself."""

from __future__ import annotations

from torch import nn

from engine.models import ModelSection
from engine.models.contract import SegmentationNetwork, check_structure

CHANNELS = 3
"""Images are RGB."""


def build_model(section: ModelSection, outputs: int) -> SegmentationNetwork:
    """The network of a section: float32 on torch's current default device, drawn from its global generator.

    It maps images [B, 3, H, W] to logits [B, outputs, H, W]. Raises ComponentError when it breaks the
    contract, and whatever goes wrong in the section's `build`.
    """
    return check_structure(section.build(CHANNELS, outputs), section)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
