"""Modern U-Net: the residual U-Net of DDPM (Ho, Jain, Abbeel: "Denoising Diffusion Probabilistic Models",
NeurIPS 2020) without time, as Gupta and Brandstetter use it on grids ("Towards Multi-spatiotemporal-scale
Generalized PDE Modeling", TMLR 2023).

Four levels, whose channels are those of the level above times 1, 2, 2, 4: the multipliers compound, so that
hidden 64 gives 64, 128, 256, 1024. Two residual blocks a level down, three up, with a skip connection into
each of the latter; stride-2 convolutions down, transposed ones up. Parameters for 3 -> 19 at hidden 64:
144,226,899 without norm, 144,267,731 with it, 144,256,467 with norm and 1x1, 148,468,179 with norm and
attention in the middle.

Attention is not that of pdearena, the published code of the latter paper, which takes the softmax over the
queries and makes a norm that it never applies: here it is the usual one, over the keys, of normed inputs.
The number of parameters is the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.models.contract import Outputs, SegmentationNetwork
from engine.models.layers import (
    GroupNormGelu,
    Sum,
    TransposedConvolution,
    convolve,
    kernels_serve,
    with_dense_gradient,
    without_bias,
)
from engine.models.modern_unet.config import ModernUNetConfig

MULTIPLIERS = (1, 2, 2, 4)
"""Channels of a level over those of the level above."""
BLOCKS_DOWN = 2
"""Residual blocks a level; one more on the way up."""
FINAL_GROUPS = 8
"""Groups of the norm before the head; the others have one, a norm over all channels and pixels."""


class Attention(nn.Module):
    """One head of self-attention over all pixels, added to its input. [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.project = nn.Linear(channels, 3 * channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.norm(x).flatten(2).transpose(1, 2)  # [B, H * W, C]
        query, key, value = self.project(pixels).unsqueeze(1).chunk(3, dim=-1)  # each [B, 1, H * W, C]
        attended = functional.scaled_dot_product_attention(query, key, value).squeeze(1)  # [B, H * W, C]
        added: Tensor = self.output(attended).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + added


class ResidualBlock(nn.Module):
    """Twice norm, GELU, 3x3 convolution, added to the input; attention after it on demand.

    [B, inputs, H, W] -> [B, outputs, H, W]; where they differ a 1x1 convolution widens what is added to.
    """

    def __init__(self, inputs: int, outputs: int, norm: bool, attention: bool = False) -> None:
        super().__init__()
        self.norm1 = GroupNormGelu(1, inputs) if norm else nn.GELU()
        self.norm2 = GroupNormGelu(1, outputs) if norm else nn.GELU()
        self.convolve1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.convolve2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = Attention(outputs) if attention else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        change = self.norm1(x)
        if isinstance(self.norm2, GroupNormGelu):
            change = self.norm2.after(self.convolve1, change)
        else:
            change = self.norm2(self.convolve1(change))
        change = self.convolve2(change)
        attended: Tensor = self.attention(self.shortcut(x) + change)
        return attended

    def joined(
        self, map: Sum, skip: Tensor | None = None, others: int = 0
    ) -> tuple[Sum, *tuple[Tensor, ...]]:
        """That of a map that is still to be added up, and of `skip` behind its channels; and its input, where
        `others` read it, too, which is one at most. Where `can_join`."""
        assert isinstance(self.norm1, GroupNormGelu)
        assert isinstance(self.norm2, GroupNormGelu)
        change, x, *again = self.norm1.joined(map, skip, 1 + others)
        change = without_bias(self.convolve2, self.norm2.after(self.convolve1, change))
        assert self.convolve2.bias is not None
        if isinstance(self.shortcut, nn.Conv2d):
            beside = without_bias(self.shortcut, x), self.convolve2.bias, self.shortcut.bias
            return Sum(change, *beside), *again
        return Sum(change, x, self.convolve2.bias), *again

    @property
    def can_join(self) -> bool:
        """Whether this is a plain block: with norms, without attention, and not computed twice."""
        plain = isinstance(self.norm1, GroupNormGelu) and isinstance(self.attention, nn.Identity)
        return plain and "forward" not in vars(self)


class ModernUNet(SegmentationNetwork):
    """[B, channels, H, W] -> logits [B, outputs, H, W]; H and W must be multiples of 8."""

    encoder_names = ("stem", "down", "shrink", "middle")
    convolves_images = True

    def __init__(self, channels: int, outputs: int, config: ModernUNetConfig) -> None:
        super().__init__()
        attention = config.attention_places
        widths = [config.hidden * math.prod(MULTIPLIERS[: level + 1]) for level in range(len(MULTIPLIERS))]
        above = [config.hidden, *widths[:-1]]
        kernel = 1 if config.use1x1 else 3

        def block(inputs: int, outputs: int, place: str) -> ResidualBlock:
            return ResidualBlock(inputs, outputs, config.norm, place in attention)

        self.stem = nn.Conv2d(channels, config.hidden, kernel, padding=kernel // 2)
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level, (inputs, width) in enumerate(zip(above, widths, strict=True), start=1):
            down = [block(inputs if index == 0 else width, width, str(level)) for index in range(BLOCKS_DOWN)]
            up = [block(2 * width, width, str(level)) for _ in range(BLOCKS_DOWN)]
            up.append(block(width + inputs, inputs, str(level)))
            self.down.append(nn.ModuleList(down))
            self.up.insert(0, nn.ModuleList(up))
        self.shrink = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for width in above[1:])
        self.grow = nn.ModuleList(
            TransposedConvolution(width, width, 4, stride=2, padding=1) for width in reversed(above[1:])
        )
        self.middle = nn.ModuleList(
            [block(widths[-1], widths[-1], "middle"), ResidualBlock(widths[-1], widths[-1], config.norm)]
        )
        groups = math.gcd(FINAL_GROUPS, config.hidden)
        self.norm = GroupNormGelu(groups, config.hidden) if config.norm else nn.GELU()
        self.head = nn.Conv2d(config.hidden, outputs, kernel, padding=kernel // 2)

        self._blocks = [part for part in self.modules() if isinstance(part, ResidualBlock)]

        if config.deep_supervision:
            below = reversed(above[1 : 1 + config.deep_supervision])
            self.auxiliary = nn.ModuleList(
                nn.Sequential(
                    GroupNormGelu(groups, each) if config.norm else nn.GELU(), nn.Conv2d(each, outputs, 1)
                )
                for each in below
            )
            self.head_names = ("head", "auxiliary")

    def forward(self, x: Tensor) -> Tensor | Outputs:
        watched = any(part._forward_hooks for part in self.modules() if part is not self)
        if kernels_serve(x) and not watched and all(block.can_join for block in self._blocks):
            return self._joined(x)
        x = self.stem(x)  # [B, hidden, H, W]
        skips = [x]
        for level, blocks in enumerate(self.down):
            if level > 0:
                x = self.shrink[level - 1](x)
                skips.append(x)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x)  # [B, width of the level, H / 2^level, W / 2^level]
                skips.append(x)
        for block in self.middle:
            x = block(x)
        maps = []
        for step, blocks in enumerate(self.up):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(torch.cat([with_dense_gradient(x), skips.pop()], dim=1))
            maps.append(x)
            if step < len(self.grow):
                x = self.grow[step](x)  # [B, width of the level above, twice the height, twice the width]
        return self._outputs(self.head(self.norm(x)), maps)

    def _joined(self, x: Tensor) -> Tensor | Outputs:
        """`forward` on a GPU: additions and concatenations are part of the norms that read them first."""
        map = Sum(without_bias(self.stem, x), None, self._bias(self.stem))
        skips = []
        for level, blocks in enumerate(self.down):
            if level > 0:
                x, again = map.added(2)
                skips.append(again)
                shrink = self.shrink[level - 1]
                map = Sum(without_bias(shrink, x), None, self._bias(shrink))  # type: ignore[arg-type]
            for block in blocks:  # type: ignore[attr-defined]
                map, again = block.joined(map, others=1)
                skips.append(again)
        map, again = self.middle[0].joined(map, others=1)  # type: ignore[operator]
        skips.append(again)
        (map,) = self.middle[1].joined(map)  # type: ignore[operator]
        deep = self.training and "auxiliary" in self._modules
        maps: list[Tensor] = []
        for step, blocks in enumerate(self.up):
            for block in blocks:  # type: ignore[attr-defined]
                (map,) = block.joined(map, skips.pop())
            if step < len(self.grow):
                x, *known = map.added(1 + deep)
                maps += known
                grow = self.grow[step]
                map = Sum(grow.plain(x), None, self._bias(grow))  # type: ignore[operator]
        assert isinstance(self.norm, GroupNormGelu)
        normed = self.norm.joined(map, None, 0)[0]
        return self._outputs(convolve(self.head, normed), [*maps, normed])

    @staticmethod
    def _bias(layer: nn.Module) -> Tensor:
        assert isinstance(layer.bias, Tensor)
        return layer.bias

    def _outputs(self, logits: Tensor, maps: list[Tensor]) -> Tensor | Outputs:
        """With deep supervision in training, those of the maps at the end of each level but the last, too."""
        if not self.training or "auxiliary" not in self._modules:
            return logits
        below = maps[-1 - len(self.auxiliary) : -1]
        return Outputs(logits, tuple(head(x) for head, x in zip(self.auxiliary, below, strict=True)))

    def bottleneck(self) -> nn.Module:
        return self.middle[-1]

    def layers(self) -> list[tuple[str, ...]]:
        below = [(f"shrink.{level - 1}", f"down.{level}") for level in range(1, len(MULTIPLIERS))]
        return [("stem",), ("down.0",), *below, ("middle",)]

    def blocks(self) -> Iterator[nn.Module]:
        return iter(self._blocks)
