"""VLTSeg (Huemmer, Schwonberg, Zhou, Cao, Knoll, Gottschalk: "Strong but simple: A Baseline for Domain
Generalized Dense Perception by CLIP-based Transfer Learning", ACCV 2024, arXiv 2312.02021).

The outputs of four blocks of an EVA-02 vision transformer become maps at about a quarter to a thirty-second
of the image's size, as in BEiT (Bao et al. 2022). The head is a feature pyramid (Kirillov et al., "Panoptic
Feature Pyramid Networks", 2019) instead of the paper's Mask2Former. With class embeddings of a text
encoder, logits are similarities to these, and the last block's map learns the same by an auxiliary loss, as
in DenseCLIP (Rao et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.models.contract import Outputs, SegmentationNetwork
from engine.models.layers import TransposedConvolution
from engine.models.vltseg.backbone import Backbone
from engine.models.vltseg.config import BACKBONES, MAPS, VLTSegConfig

TEMPERATURE = 0.07
"""Of similarities: where the learned one begins (Radford et al. 2021), and of DenseCLIP's auxiliary loss."""

USUAL_SIZE = 512
"""Of CLIP's embeddings, for `seg-engine bench`, which makes no run and so reads no file."""

GROUPS = 32
"""Of group norm, or the most below that the channels divide by (Wu and He 2018)."""


class VLTSeg(SegmentationNetwork):
    """[B, inputs, H, W] -> logits [B, classes, H, W], of any size; with text, in training, also those of the
    last block's map."""

    encoder_names = ("backbone",)
    no_decay_names = ("backbone.pos_embed", "backbone.cls_token")

    def __init__(self, config: VLTSegConfig, inputs: int, classes: int) -> None:
        super().__init__()
        name = BACKBONES[config.backbone].timm
        self.backbone = Backbone(name, config.taken, config.drop_path, inputs)
        self.deepest = nn.Identity()
        self.pyramid = Pyramid(self.backbone.width)
        self.decoder = FeaturePyramid(self.backbone.width, config.channels)
        self.compares = bool(config.text)
        if self.compares:
            size = config.text_size or USUAL_SIZE
            self.embeddings_name = "head.embeddings"
            self.head: nn.Conv2d | Similarity = Similarity(config.channels, classes, size)
            self.auxiliary = nn.Conv2d(self.backbone.width, size, 1)
        else:
            self.head = nn.Conv2d(config.channels, classes, 1)
        self.conversions = (self.backbone.conversion(),)

    def forward(self, images: Tensor) -> Outputs:
        maps = self.backbone(images)
        maps[-1] = self.deepest(maps[-1])
        logits = self._full_size(self.head(self.decoder(self.pyramid(maps))), images)
        if not self.compares or not self.training:
            return Outputs(logits)
        assert isinstance(self.head, Similarity)
        scores = self.head.scores(self.auxiliary(maps[-1])) / TEMPERATURE
        return Outputs(logits, (self._full_size(scores, images),))

    def _full_size(self, logits: Tensor, images: Tensor) -> Tensor:
        """Logits of the padded images, at the images' size and without what is beyond."""
        height, width = images.shape[-2:]
        padded = [-(-side // self.backbone.patch) * self.backbone.patch for side in (height, width)]
        full = functional.interpolate(logits, padded, mode="bilinear", align_corners=False)
        return full[..., :height, :width]

    def bottleneck(self) -> nn.Module:
        return self.deepest

    def blocks(self) -> Iterable[nn.Module]:
        return self.backbone.blocks

    def layers(self) -> Sequence[Sequence[str]]:
        first = ("backbone.patch_embed", "backbone.cls_token", "backbone.pos_embed")
        return [first, *((f"backbone.blocks.{index}",) for index in range(len(self.backbone.blocks)))]


class Pyramid(nn.Module):
    """Maps [B, D, h, w] of four blocks -> maps at 4, 2, 1 and 1/2 times their size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fourfold = nn.Sequential(_twofold(width), nn.GroupNorm(1, width), nn.GELU(), _twofold(width))
        self.twofold = _twofold(width)
        self.halved = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        first, second, third, last = maps
        return [self.fourfold(first), self.twofold(second), third, self.halved(last)]


class FeaturePyramid(nn.Module):
    """Maps of D channels, each of about half the size of the one before -> one map [B, channels, ...] of the
    first one's size: each level gets what the deeper ones see, and all are added up."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for _ in range(MAPS))
        self.smooth = nn.ModuleList(_normed(nn.Conv2d(channels, channels, 3, padding=1)) for _ in range(MAPS))
        self.fuse = _normed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        levels = [lateral(each) for lateral, each in zip(self.lateral, maps, strict=True)]
        for index in range(MAPS - 1, 0, -1):
            levels[index - 1] = levels[index - 1] + _resized(levels[index], levels[index - 1])
        smooth = [layer(each) for layer, each in zip(self.smooth, levels, strict=True)]
        total = smooth[0]
        for each in smooth[1:]:
            total = total + _resized(each, total)
        fused: Tensor = self.fuse(total)
        return fused


class Similarity(nn.Module):
    """Features [B, channels, h, w] -> the cosine of each to each class's embedding, over a learned
    temperature: logits [B, classes, h, w].

    `embeddings` [classes, size] are not learned; a run puts them there, a checkpoint has them.
    """

    embeddings: Tensor

    def __init__(self, channels: int, classes: int, size: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, size, 1)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))
        self.register_buffer("embeddings", functional.normalize(torch.randn(classes, size), dim=1))

    def forward(self, features: Tensor) -> Tensor:
        return self.scores(self.project(features)) * self.scale.exp()

    def scores(self, features: Tensor) -> Tensor:
        """The cosines, float32, of features [B, size, h, w]."""
        directions = functional.normalize(features.float(), dim=1)
        return functional.conv2d(directions, functional.normalize(self.embeddings, dim=1)[:, :, None, None])


def _twofold(width: int) -> nn.Module:
    return TransposedConvolution(width, width, 2, stride=2)


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    channels = convolution.out_channels
    return nn.Sequential(convolution, nn.GroupNorm(math.gcd(GROUPS, channels), channels), nn.ReLU())


def _resized(map: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(map, like.shape[-2:], mode="bilinear", align_corners=False)
