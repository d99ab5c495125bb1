"""ResNet-38 (Wu, Shen, van den Hengel: "Wider or Deeper: Revisiting the ResNet Model for Visual Recognition",
2016), models A1 and A2: few and wide residual blocks with norms before their convolutions. Maps have an
eighth of the input's size; dilation takes the place of further strides.

It has 105,070,912 parameters up to the last norm, and 124,033,363 with the authors' head of 512 channels for
19 classes. A2, as it is commonly coded, pools twice instead of striding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from engine.models.contract import SegmentationNetwork
from engine.models.layers import BatchNorm, MaxPool, bilinear, count_batch
from engine.models.resnet38.conversions import CONVERSIONS

EPS = 1.001e-5
"""What the authors add to variances."""
STEM, CONTEXT = 64, 512
"""Channels of the first convolution, and of the head's hidden layer."""


class Level(NamedTuple):
    """A level of the table: the channels of a block's convolutions, and the dropout before the last one."""

    widths: tuple[int, ...]
    dropout: float = 0.0


LEVELS = {
    2: Level((128, 128)),
    3: Level((256, 256)),
    4: Level((512, 512)),
    5: Level((512, 1024)),
    6: Level((512, 1024, 2048), 0.3),
    7: Level((1024, 2048, 4096), 0.5),
}
"""Blocks of two convolutions are 3x3 and 3x3, those of three 1x1, 3x3 and 1x1."""


class Block(nn.Module):
    """A residual block: [B, inputs, H, W] -> [B, widths[-1], ceil(H / stride), ceil(W / stride)].

    Each convolution follows norm and ReLU. Where it changes the channels or the size, the shortcut is a 1x1
    convolution of the first of these activations. `dilations` are those of the 3x3 convolutions.
    """

    def __init__(
        self, inputs: int, widths: Sequence[int], stride: int, dilations: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        kernels = (3, 3) if len(widths) == 2 else (1, 3, 1)
        channels = (inputs, *widths)
        self.norms = nn.ModuleList(BatchNorm(given, EPS) for given in channels[:-1])
        self.convolutions = nn.ModuleList()
        left = iter(dilations)
        for index, kernel in enumerate(kernels):
            dilation = next(left) if kernel == 3 else 1
            given, outputs, step = channels[index], channels[index + 1], stride if index == 0 else 1
            self.convolutions.append(
                nn.Conv2d(given, outputs, kernel, step, dilation * (kernel // 2), dilation, bias=False)
            )
        self.dropout = nn.Dropout(dropout) if dropout > 0 else None
        self.stride = stride
        changes = stride > 1 or inputs != widths[-1]
        self.shortcut = nn.Conv2d(inputs, widths[-1], 1, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        last = len(self.norms) - 1
        for index, (norm, convolution) in enumerate(zip(self.norms, self.convolutions, strict=True)):
            x = functional.relu(norm(x))
            if index == 0 and self.shortcut is not None:
                # With a stride in a 1x1 convolution of few channels, oneDNN's backward pass writes beyond its
                # memory (torch 2.14, fp32, channels_last, 8 -> 16 of [4, 8, 64, 96]).
                shortcut = self.shortcut(x[..., :: self.stride, :: self.stride])
            if index == last and self.dropout is not None:
                x = self.dropout(x)
            x = convolution(x)
        return x + shortcut


class ResNet38(SegmentationNetwork):
    """[B, channels, H, W] -> logits [B, classes, H, W]; H and W must be multiples of 8.

    `blocks` are the numbers of blocks of levels 2 to 7, `fraction` the share of the paper's channels.
    """

    encoder_names = ("stem", *(f"level{number}" for number in LEVELS), "end")
    conversions = CONVERSIONS
    convolves_images = True

    def __init__(
        self,
        channels: int,
        classes: int,
        variant: Literal["a1", "a2"] = "a1",
        blocks: Sequence[int] = (3, 3, 6, 3, 1, 1),
        fraction: Fraction = Fraction(1),
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, int(STEM * fraction), 3, padding=1, bias=False)
        self.pools = (2, 3) if variant == "a2" else ()
        self.pool = MaxPool(3, 2, padding=1)
        inputs = int(STEM * fraction)
        for (number, level), count in zip(LEVELS.items(), blocks, strict=True):
            widths = [int(width * fraction) for width in level.widths]
            made = []
            for index in range(count):
                stride, dilations = _sampling(variant, number, index)
                made.append(Block(inputs, widths, stride, dilations, level.dropout))
                inputs = widths[-1]
            setattr(self, f"level{number}", nn.Sequential(*made))
        self.end = nn.Sequential(BatchNorm(inputs, EPS), nn.ReLU())
        self.context = nn.Conv2d(inputs, int(CONTEXT * fraction), 3, padding=12, dilation=12)
        self.head = nn.Conv2d(int(CONTEXT * fraction), classes, 3, padding=12, dilation=12)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.01)
        self._norms = [module for module in self.modules() if isinstance(module, BatchNorm)]

    def forward(self, images: Tensor) -> Tensor:
        count_batch(self._norms)
        features = self.trunk(images)
        logits = self.head(functional.relu(self.context(features)))
        return bilinear(logits, images.shape[-2:])

    def trunk(self, images: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, 4096 * fraction, H / 8, W / 8], after the last norm and ReLU."""
        x = self.stem(images)
        for number in LEVELS:
            x = getattr(self, f"level{number}")(self.pool(x) if number in self.pools else x)
        features: Tensor = self.end(x)
        return features

    def bottleneck(self) -> nn.Module:
        return self.end

    def blocks(self) -> Iterator[nn.Module]:
        for number in LEVELS:
            yield from getattr(self, f"level{number}")

    def layers(self) -> list[tuple[str, ...]]:
        """The stem, then each block."""
        blocks = [
            (f"level{number}.{index}",)
            for number in LEVELS
            for index, _ in enumerate(getattr(self, f"level{number}"))
        ]
        return [("stem",), *blocks]


def _sampling(variant: str, level: int, index: int) -> tuple[int, tuple[int, int]]:
    """The stride of a block and the dilations of its 3x3 convolutions; blocks with three use the first."""
    halves = index == 0 and level in ((4,) if variant == "a2" else (2, 3, 4))
    if level == 5 and index == 0 and variant == "a1":
        return 1, (1, 2)
    dilation = {5: 2, 6: 4, 7: 4}.get(level, 1)
    return 2 if halves else 1, (dilation, dilation)
