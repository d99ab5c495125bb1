"""StreetNet, our own network for street scenes on little hardware: a residual encoder and a light decoder.

What it is made of, and where that comes from:

- Early downsampling: all blocks work at a quarter of the image's size or less, as in ENet (Paszke et al.,
  2016) and ERFNet (Romera et al., T-ITS 2018).
- Residual blocks of two 3x3 convolutions (He et al., "Deep Residual Learning", CVPR 2016), whose second norm
  begins at zero (Goyal et al., "Accurate, Large Minibatch SGD", 2017).
- No map below a sixteenth; dilated blocks see far there (Yu, Koltun, Funkhouser, "Dilated Residual
  Networks", CVPR 2017), most blocks at that stride as in RegSeg (Gao, "Rethinking Dilated Convolution for
  Real-time Semantic Segmentation", 2021). RegSeg's are grouped; these are dense, which CPUs and GPUs compute
  at several times the speed.
- A decoder of one convolution a level, upsampled bilinearly and joined with the encoder's maps, as RegSeg's
  and that of DeepLabv3+ (Chen et al., ECCV 2018).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.models.contract import Outputs, SegmentationNetwork
from engine.models.layers import BatchNorm, MaxPool, bilinear, count_batch
from engine.models.street_net.config import StreetNetConfig


class Level(NamedTuple):
    """Blocks of one width: its multiple of `width`, the stride of the first, the dilation of each."""

    multiple: int
    stride: int
    dilations: tuple[int, ...]


ENCODERS = {
    "compact": (Level(2, 2, (1,)), Level(4, 2, (1, 1)), Level(8, 2, (1, 1, 2, 2, 4, 4))),
    "resnet18": (Level(1, 1, (1,) * 2), Level(2, 2, (1,) * 2), Level(4, 2, (1,) * 2), Level(8, 1, (2,) * 2)),
    "resnet34": (Level(1, 1, (1,) * 3), Level(2, 2, (1,) * 4), Level(4, 2, (1,) * 6), Level(8, 1, (2,) * 3)),
}
"""The levels of each encoder. Those of ResNet follow a pooling; their last one has dilation for a stride."""

SHARE_OF_SKIP = 2
"""Channels of a decoder level over those that a map of the encoder is narrowed to."""


class Block(nn.Module):
    """A residual block. [B, inputs, H, W] -> [B, outputs, ceil(H / stride), ceil(W / stride)].

    Its names are those of torchvision's ResNet.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
        self.bn1 = BatchNorm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, dilation, dilation, bias=False)
        self.bn2 = BatchNorm(outputs)
        self.stride = stride
        changes = stride > 1 or inputs != outputs
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), BatchNorm(outputs)) if changes else None
        )

    def forward(self, x: Tensor) -> Tensor:
        changed = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            # A stride in a 1x1 convolution is one that oneDNN's backward pass gets wrong: see ResNet-38.
            x = self.downsample(x[..., :: self.stride, :: self.stride])
        return functional.relu(x + changed)


class Encoder(nn.Module):
    """[B, channels, H, W] -> maps at strides 2, 4, 8 and 16, the last of 8 * width channels."""

    def __init__(self, channels: int, name: str, width: int) -> None:
        super().__init__()
        is_resnet = name != "compact"
        kernel = 7 if is_resnet else 3
        self.conv1 = nn.Conv2d(channels, width, kernel, 2, kernel // 2, bias=False)
        self.bn1 = BatchNorm(width)
        self.pool = MaxPool(3, 2, padding=1) if is_resnet else nn.Identity()
        self.names = []
        self.widths = {2: width}
        inputs, stride = width, 4 if is_resnet else 2
        for number, level in enumerate(ENCODERS[name], start=1):
            outputs, blocks = level.multiple * width, []
            for index, dilation in enumerate(level.dilations):
                blocks.append(Block(inputs, outputs, level.stride if index == 0 else 1, dilation))
                inputs = outputs
            stride *= level.stride
            self.widths[stride] = outputs
            self.names.append((f"layer{number}", stride))
            setattr(self, f"layer{number}", nn.Sequential(*blocks))

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        x = functional.relu(self.bn1(self.conv1(images)))
        maps = {2: x}
        x = self.pool(x)
        for name, stride in self.names:
            x = maps[stride] = getattr(self, name)(x)
        return maps


class Join(nn.Module):
    """A decoder level: the map below, upsampled, and one of the encoder, narrowed, through a convolution."""

    def __init__(self, below: int, skipped: int, narrowed: int, outputs: int) -> None:
        super().__init__()
        self.narrow = convolution(skipped, narrowed, 1)
        self.merge = convolution(below + narrowed, outputs, 3)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        raised = bilinear(x, skip.shape[-2:])
        merged: Tensor = self.merge(torch.cat([raised, self.narrow(skip)], dim=1))
        return merged


def convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), BatchNorm(outputs), nn.ReLU()
    )


def initialise(module: nn.Module) -> None:
    """Draw the weights of a convolution (He et al. 2015); let a residual block begin as its shortcut."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, Block):
        nn.init.zeros_(module.bn2.weight)


class StreetNet(SegmentationNetwork):
    """[B, channels, H, W] -> logits [B, classes, H, W], of any size; exported files take multiples of 8."""

    encoder_names = ("encoder",)
    convolves_images = True

    def __init__(self, channels: int, classes: int, config: StreetNetConfig) -> None:
        super().__init__()
        self.encoder = Encoder(channels, config.encoder, config.width)
        self.deepest = convolution(self.encoder.widths[16], 4 * config.width, 1)
        self.strides = [stride for stride in (8, 4, 2) if stride >= config.head_stride]
        self.up = nn.ModuleList()
        widths = [4 * config.width]
        for stride in self.strides:
            outputs = {8: 2 * config.width, 4: 2 * config.width, 2: config.width}[stride]
            self.up.append(
                Join(widths[-1], self.encoder.widths[stride], max(1, outputs // SHARE_OF_SKIP), outputs)
            )
            widths.append(outputs)
        self.head = nn.Conv2d(widths[-1], classes, 1)
        self.apply(initialise)
        if config.deep_supervision:  # drawn last, so that all else is as without it
            below = widths[-1 - config.deep_supervision : -1]
            self.auxiliary = nn.ModuleList(nn.Conv2d(each, classes, 1) for each in below).apply(initialise)
            self.head_names = ("head", "auxiliary")
        self._norms = [module for module in self.modules() if isinstance(module, BatchNorm)]

    def forward(self, images: Tensor) -> Tensor | Outputs:
        count_batch(self._norms)
        encoded = self.encoder(images)
        maps = [self.deepest(encoded[16])]
        for stride, join in zip(self.strides, self.up, strict=True):
            maps.append(join(maps[-1], encoded[stride]))
        logits = self.head(maps[-1])
        logits = bilinear(logits, images.shape[-2:])
        if not self.training or "auxiliary" not in self._modules:
            return logits
        below = maps[-1 - len(self.auxiliary) : -1]
        return Outputs(logits, tuple(head(x) for head, x in zip(self.auxiliary, below, strict=True)))

    def bottleneck(self) -> nn.Module:
        return self.deepest

    def blocks(self) -> Iterator[nn.Module]:
        return (part for part in self.modules() if isinstance(part, Block | Join))

    def layers(self) -> list[tuple[str, ...]]:
        """The stem, then each block of the encoder."""
        blocks = [
            (f"encoder.{name}.{index}",)
            for name, _ in self.encoder.names
            for index, _ in enumerate(getattr(self.encoder, name))
        ]
        return [("encoder.conv1", "encoder.bn1"), *blocks]
