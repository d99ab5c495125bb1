"""Four maps of a vision transformer as a pyramid, and the top-down path of a feature pyramid over it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from engine.models.layers import MaxPool, TransposedConvolution, bilinear
from engine.models.vltseg.config import MAPS

GROUPS = 32
"""Of group norm, or the most below that the channels divide by (Wu and He 2018)."""


class Pyramid(nn.Module):
    """Maps [B, D, h, w] of four blocks -> maps at 4, 2, 1 and 1/2 times their size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fourfold = nn.Sequential(_twofold(width), nn.GroupNorm(1, width), nn.GELU(), _twofold(width))
        self.twofold = _twofold(width)
        self.halved = MaxPool(2, ceil_mode=True)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        first, second, third, last = maps
        return [self.fourfold(first), self.twofold(second), third, self.halved(last)]


class Laterals(nn.Module):
    """Maps of D channels, each of about half the size of the one before -> maps of `channels` channels of the
    same sizes, each of which has got what the deeper ones see."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for _ in range(MAPS))
        self.smooth = nn.ModuleList(_normed(nn.Conv2d(channels, channels, 3, padding=1)) for _ in range(MAPS))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        levels = [lateral(each) for lateral, each in zip(self.lateral, maps, strict=True)]
        for index in range(MAPS - 1, 0, -1):
            levels[index - 1] = levels[index - 1] + bilinear(levels[index], levels[index - 1].shape[-2:])
        return [layer(each) for layer, each in zip(self.smooth, levels, strict=True)]


class FeaturePyramid(Laterals):
    """The maps of `Laterals` added up: one map [B, channels, h, w] of the first one's size."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__(width, channels)
        self.fuse = _normed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:  # type: ignore[override]
        total, *smaller = super().forward(maps)
        for each in smaller:
            total = total + bilinear(each, total.shape[-2:])
        fused: Tensor = self.fuse(total)
        return fused


def _twofold(width: int) -> nn.Module:
    return TransposedConvolution(width, width, 2, stride=2)


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    channels = convolution.out_channels
    return nn.Sequential(convolution, nn.GroupNorm(math.gcd(GROUPS, channels), channels), nn.ReLU())
