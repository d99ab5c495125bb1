"""The network as it is exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.config.export import ExportConfig
from engine.data.batches import MEAN, STD
from engine.models.contract import SegmentationNetwork, outputs_of


class ExportedNetwork(nn.Module):
    """Images as an `ExportConfig` has them to its outputs. Everything is float32 inside."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: SegmentationNetwork, wanted: ExportConfig) -> None:
        super().__init__()
        self.network = network
        self.uint8_input, self.argmax = wanted.uint8_input, wanted.argmax
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(STD), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.uint8_input:  # [B, H, W, 3]
            images = ((images.float() - self.mean) / self.std).movedim(-1, 1)
        logits = outputs_of(self.network, images).logits.float()  # [B, C, H, W]
        return logits.argmax(dim=1).to(torch.uint8) if self.argmax else logits

    def prepared(self, pixels: Tensor) -> Tensor:
        """Pixels uint8 [B, H, W, 3] as `forward` takes them."""
        if self.uint8_input:
            return pixels
        return ((pixels.float() - self.mean) / self.std).movedim(-1, 1).contiguous()
