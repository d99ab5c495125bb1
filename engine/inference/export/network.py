"""The network as it is exported."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from engine.config.export import ExportConfig
from engine.data.batches import MEAN, STD
from engine.models.contract import SegmentationNetwork, outputs_of


class PoolingByMatrices(TorchFunctionMode):
    """Average pooling into bins becomes a matrix along each side. The exporter to ONNX (seen in torch 2.14)
    keeps the bins of the size that it was shown, which are wrong at any other."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        words = kwargs or {}
        if func is functional.adaptive_avg_pool2d:
            size = words["output_size"] if "output_size" in words else args[1]
        elif func is functional.interpolate and words.get("mode") == "area":
            size = words["size"]
        else:
            return func(*args, **words)
        bins = tuple(size) if isinstance(size, tuple | list) else (size, size)
        if bins == (1, 1):
            return func(*args, **words)
        input = args[0] if args else words["input"]
        down, across = (_bins(input, side, count) for side, count in zip((-2, -1), bins, strict=True))
        return down @ input @ across.mT


def _bins(input: Tensor, dimension: int, count: int | None) -> Tensor:
    """What each of `count` bins takes of the pixels of a side, float32 [count, side]; None: a bin a pixel."""
    side = input.shape[dimension]
    bins = side if count is None else count
    number, place = (torch.arange(each, device=input.device) for each in (bins, side))
    first, end = number * side // bins, ((number + 1) * side + bins - 1) // bins
    inside = ((place >= first[:, None]) & (place < end[:, None])).float()
    return inside / inside.sum(1, keepdim=True)


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
        with PoolingByMatrices() if torch.compiler.is_exporting() else nullcontext():
            logits = outputs_of(self.network, images).logits.float()  # [B, C, H, W]
        return logits.argmax(dim=1).to(torch.uint8) if self.argmax else logits

    def prepared(self, pixels: Tensor) -> Tensor:
        """Pixels uint8 [B, H, W, 3] as `forward` takes them."""
        if self.uint8_input:
            return pixels
        return ((pixels.float() - self.mean) / self.std).movedim(-1, 1).contiguous()
