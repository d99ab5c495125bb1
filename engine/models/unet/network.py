"""U-Net (Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015) with batch norm and same-size convolutions.

The paper's network has neither batch norm nor padding; with both, as nearly everybody builds it today, the
prediction has the size of the input and no image needs mirrored borders. Four levels down, four up by
transposed convolutions, widths `width` x (1, 2, 4, 8, 16). 31,038,803 parameters for 3 -> 19 at width 64.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from engine.models.contract import Outputs, SegmentationNetwork
from engine.models.layers import (
    Batches,
    BatchNorm,
    MaxPool,
    TransposedConvolution,
    convolve,
    norm_relu,
    norm_relu_pool,
    take_statistics,
)


class DoubleConvolution(nn.Sequential):
    """Twice 3x3 convolution, batch norm, ReLU. [B, inputs, H, W] -> [B, outputs, H, W].

    ReLU in place would take 33 ms where a new tensor takes 14 (torch 2.14 on two cores, bf16,
    [64, 64, 128, 128]), and backward keeps no less of it: only ReLU's result is needed again.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),  # the norm's own shift is the bias
            BatchNorm(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            BatchNorm(outputs),
            nn.ReLU(),
        )

    def forward(  # type: ignore[override]
        self, x: Tensor, batches: Batches, pool: nn.Module | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """With `pool` the result and it pooled, [B, outputs, H / 2, W / 2]. `batches` gets what is left to do
        for the running statistics."""
        x = self[3](norm_relu(self[1], self[0](x), batches))
        return norm_relu(self[4], x, batches) if pool is None else norm_relu_pool(self[4], x, pool, batches)


class UNet(SegmentationNetwork):
    """[B, channels, H, W] -> logits [B, classes, H, W]; H and W must be multiples of 16."""

    encoder_names = tuple(f"down.{level}" for level in range(5))
    convolves_images = True

    def __init__(self, channels: int, classes: int, width: int = 64, deep_supervision: int = 0) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.down = nn.ModuleList(
            DoubleConvolution(inputs, outputs)
            for inputs, outputs in zip([channels, *widths[:-1]], widths, strict=True)
        )
        self.pool = MaxPool(2)
        self.up = nn.ModuleList(
            TransposedConvolution(2 * outputs, outputs, 2, stride=2) for outputs in reversed(widths[:-1])
        )
        self.merge = nn.ModuleList(
            DoubleConvolution(2 * outputs, outputs) for outputs in reversed(widths[:-1])
        )
        self.head = nn.Conv2d(width, classes, 1)
        if deep_supervision:
            below = [width * 2**level for level in range(deep_supervision, 0, -1)]
            self.auxiliary = nn.ModuleList(nn.Conv2d(each, classes, 1) for each in below)
            self.head_names = ("head", "auxiliary")
        self._norms = [module for module in self.modules() if isinstance(module, BatchNorm)]

    def forward(self, x: Tensor) -> Tensor | Outputs:
        batches: Batches = []
        skips = []
        for double in self.down[:-1]:
            if double._forward_hooks:  # what they make of it is pooled
                skip = double(x, batches)
                x = self.pool(skip)
            else:
                skip, x = double(x, batches, self.pool)
            skips.append(skip)  # [B, width * 2^level, H / 2^level, W / 2^level]
        x = self.down[-1](x, batches)
        maps = []
        for rise, double in zip(self.up, self.merge, strict=True):
            x = double(torch.cat([skips.pop(), rise(x)], dim=1), batches)
            maps.append(x)
        take_statistics(self._norms, batches)
        logits = convolve(self.head, x)
        if not self.training or "auxiliary" not in self._modules:
            return logits
        below = maps[-1 - len(self.auxiliary) : -1]
        return Outputs(logits, tuple(head(x) for head, x in zip(self.auxiliary, below, strict=True)))

    def bottleneck(self) -> nn.Module:
        return self.down[-1]

    def blocks(self) -> Iterator[nn.Module]:
        yield from self.down
        yield from self.merge
