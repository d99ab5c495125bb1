"""DeepLab-LargeFOV (Chen, Papandreou, Kokkinos, Murphy, Yuille: "Semantic Image Segmentation with Deep
Convolutional Nets and Fully Connected CRFs", ICLR 2015; "DeepLab", TPAMI 2017).

The convolutions of VGG16. The last two poolings have stride 1 and the fifth level is dilated by 2, so maps
have an eighth of the input's size. VGG's first fully connected layer becomes a 3x3 convolution dilated by 12,
the large field of view. All pooling windows are 3x3 and, as in Caffe, may reach beyond the border. At width
64 it has 20,503,379 parameters for 3 -> 19.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

from engine.models.contract import SegmentationNetwork
from engine.models.conversions import Conversion, Weights
from engine.models.layers import MaxPool

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Of each level of VGG16."""
MULTIPLES = (1, 2, 4, 8, 8)
"""The channels of each level, over `width`."""
SCALE = 8
"""Input size over the size of the maps."""

_VGG_INDICES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Where the convolutions of each level are in the list `features` that torchvision, timm and others have."""

_VGG_NAMES = {
    f"features.{index}": f"conv{level}.{2 * position}"
    for level, indices in enumerate(_VGG_INDICES, start=1)
    for position, index in enumerate(indices)
} | {
    "classifier.0": "fc6.0",
    "classifier.3": "fc7.0",
    "pre_logits.fc1": "fc6.0",
    "pre_logits.fc2": "fc7.0",
}
"""Layers of a classifying VGG16 (torchvision's, then timm's for the last two) by their names here."""


def from_vgg16(name: str, tensor: Tensor) -> Weights:
    """A tensor of VGG16, by its name here.

    Of the fully connected layers, every fourth filter is kept, and every third position of the 7x7 ones of
    fc6: 4096 filters become 1024, 7x7 becomes 3x3. Chen et al. 2015 subsample them so and do not say which
    filters stay; these are those of SSD (Liu et al. 2016), which reduces the same layers likewise.
    """
    layer, _, kind = name.rpartition(".")
    new = f"{_VGG_NAMES[layer]}.{kind}" if layer in _VGG_NAMES else name
    if new == "fc6.0.weight" and tensor.numel() == 4096 * 512 * 7 * 7:
        tensor = tensor.reshape(4096, 512, 7, 7)[::4, :, ::3, ::3]
    elif new == "fc7.0.weight" and tensor.numel() == 4096 * 4096:
        tensor = tensor.reshape(4096, 4096, 1, 1)[::4, ::4]
    elif new in ("fc6.0.bias", "fc7.0.bias") and tensor.numel() == 4096:
        tensor = tensor[::4]
    return {new: tensor}


class DeepLabLargeFOV(SegmentationNetwork):
    """[B, channels, H, W] -> logits [B, classes, H, W], of any size.

    Pixel i of a map is pixel 8 i of the image: at a size of 8 k + 1 the corners meet. For other sizes the
    maps reach beyond the right and the lower border, and what is beyond is cut off after the upsampling.
    """

    encoder_names = tuple(f"conv{level}" for level in range(1, 6))
    conversions = (Conversion("VGG16", from_vgg16),)
    convolves_images = True

    def __init__(self, channels: int, classes: int, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        widths = [width * multiple for multiple in MULTIPLES]
        inputs = channels
        for level, (count, outputs) in enumerate(zip(CONVOLUTIONS, widths, strict=True), start=1):
            setattr(
                self,
                f"conv{level}",
                _level(count, inputs, outputs, halves=level <= 3, dilation=1 + level // 5),
            )
            inputs = outputs
        self.pool = nn.AvgPool2d(3, 1, padding=1)
        self.fc6 = _classifying(nn.Conv2d(inputs, 16 * width, 3, padding=12, dilation=12), dropout)
        self.fc7 = _classifying(nn.Conv2d(16 * width, 16 * width, 1), dropout)
        self.head = nn.Conv2d(16 * width, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for level in self.blocks():
            x = level(x)  # [B, 8 * width, ceil((H + 7) / 8), ceil((W + 7) / 8)] after the last
        logits: Tensor = self.head(self.fc7(self.fc6(self.pool(x))))
        height, width = ((side - 1) * SCALE + 1 for side in logits.shape[-2:])
        full = functional.interpolate(logits, (height, width), mode="bilinear", align_corners=True)
        return full[..., : images.shape[-2], : images.shape[-1]]

    def bottleneck(self) -> nn.Module:
        return self.fc7

    def blocks(self) -> Iterator[nn.Module]:
        return (getattr(self, name) for name in self.encoder_names)


def _level(count: int, inputs: int, outputs: int, halves: bool, dilation: int) -> nn.Sequential:
    """So many 3x3 convolutions, each with ReLU, and a 3x3 maximum, of stride 2 if it halves the map."""
    layers: list[nn.Module] = []
    for index in range(count):
        layers.append(
            nn.Conv2d(inputs if index == 0 else outputs, outputs, 3, padding=dilation, dilation=dilation)
        )
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, MaxPool(3, 2 if halves else 1, padding=1, ceil_mode=True))


def _classifying(convolution: nn.Conv2d, dropout: float) -> nn.Sequential:
    return nn.Sequential(convolution, nn.ReLU(), nn.Dropout(dropout))
