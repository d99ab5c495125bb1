"""VLTSeg (Huemmer, Schwonberg, Zhou, Cao, Knoll, Gottschalk: "Strong but simple: A Baseline for Domain
Generalized Dense Perception by CLIP-based Transfer Learning", ACCV 2024, arXiv 2312.02021).

The outputs of four blocks of an EVA-02 vision transformer become maps at about a quarter to a thirty-second
of the image's size, as in BEiT (Bao et al. 2022). The head is a feature pyramid (Kirillov et al., "Panoptic
Feature Pyramid Networks", 2019), or the paper's Mask2Former, whose loss comes with it. With class embeddings
of a text encoder, logits are similarities to these, and the last block's map learns the same by an auxiliary
loss, as in DenseCLIP (Rao et al. 2022).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from engine.components.origin import ComponentError
from engine.models.contract import Outputs, SegmentationNetwork
from engine.models.layers import bilinear
from engine.models.vltseg.backbone import Backbone
from engine.models.vltseg.config import BACKBONES, VLTSegConfig
from engine.models.vltseg.mask2former import (
    AT_ONCE,
    MaskDecoder,
    QueryClasses,
    QuerySimilarity,
    class_scores,
    logits_of,
    masks_of,
)
from engine.models.vltseg.pyramid import FeaturePyramid, Pyramid
from engine.models.vltseg.set_loss import SetLoss
from engine.models.vltseg.similarity import TEMPERATURE, Similarity

USUAL_SIZE = 512
"""Of CLIP's embeddings, for `seg-engine bench`, which makes no run and so reads no file."""


class VLTSeg(SegmentationNetwork):
    """[B, inputs, H, W] -> logits [B, classes, H, W], of any size; with text, in training, also those of the
    last block's map. A subclass has the head."""

    encoder_names = ("backbone",)
    no_decay_names: tuple[str, ...] = ("backbone.pos_embed", "backbone.cls_token")

    def __init__(self, config: VLTSegConfig, inputs: int) -> None:
        super().__init__()
        name = BACKBONES[config.backbone].timm
        self.backbone = Backbone(name, config.taken, config.drop_path, inputs)
        self.deepest = nn.Identity()
        self.pyramid = Pyramid(self.backbone.width)
        self.text_size = (config.text_size or USUAL_SIZE) if config.text else 0
        """Length of the class embeddings that logits are compared with; 0: there are none."""
        if self.text_size:
            self.auxiliary = nn.Conv2d(self.backbone.width, self.text_size, 1)
        self.conversions = (self.backbone.conversion(),)

    def maps(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The maps of a pyramid and that of the last block, each [B, D, h, w]."""
        maps = self.backbone(images)
        maps[-1] = self.deepest(maps[-1])
        return self.pyramid(maps), maps[-1]

    def compared(self, similarity: nn.Module, last: Tensor, images: Tensor) -> tuple[Tensor, ...]:
        """In training with text, the auxiliary logits of the last block's map."""
        if not self.text_size or not self.training:
            return ()
        assert isinstance(similarity, Similarity)
        scores = similarity.scores(self.auxiliary(last)) / TEMPERATURE
        return (self.full_size(scores, images),)

    def full_size(self, map: Tensor, images: Tensor) -> Tensor:
        """A map of the padded images, at the images' size and without what is beyond."""
        height, width = images.shape[-2:]
        full = bilinear(map, self.backbone.padded(height, width))
        return full[..., :height, :width]

    def bottleneck(self) -> nn.Module:
        return self.deepest

    def blocks(self) -> Iterable[nn.Module]:
        return self.backbone.blocks

    def layers(self) -> Sequence[Sequence[str]]:
        first = ("backbone.patch_embed", "backbone.cls_token", "backbone.pos_embed")
        return [first, *((f"backbone.blocks.{index}",) for index in range(len(self.backbone.blocks)))]


class VLTSegPyramid(VLTSeg):
    """With a feature pyramid as the head."""

    def __init__(self, config: VLTSegConfig, inputs: int, classes: int) -> None:
        super().__init__(config, inputs)
        self.decoder = FeaturePyramid(self.backbone.width, config.channels)
        if self.text_size:
            self.embeddings_name = "head.embeddings"
            self.head: nn.Module = Similarity(config.channels, classes, self.text_size)
        else:
            self.head = nn.Conv2d(config.channels, classes, 1)

    def forward(self, images: Tensor) -> Outputs:
        maps, last = self.maps(images)
        logits = self.full_size(self.head(self.decoder(maps)), images)
        return Outputs(logits, self.compared(self.head, last, images))


class VLTSegQueries(VLTSeg):
    """With Mask2Former as the head."""

    no_decay_names = (*VLTSeg.no_decay_names, "decoder.queries", "decoder.places", "decoder.levels")

    def __init__(self, config: VLTSegConfig, inputs: int, classes: int) -> None:
        super().__init__(config, inputs)
        if config.queries < classes:
            raise ComponentError(
                f"model.queries: {config.queries} are too few for {classes} classes, each of which needs one"
            )
        channels = config.channels
        self.decoder = MaskDecoder(self.backbone.width, channels, config.queries, config.decoder_layers)
        if self.text_size:
            self.embeddings_name = "head.similarity.embeddings"
            self.head: nn.Module = QuerySimilarity(channels, classes, self.text_size)
        else:
            self.head = QueryClasses(channels, classes)
        self.own_loss = SetLoss(config.points, config.decoder_layers + 1, self.backbone.padded)

    def forward(self, images: Tensor) -> Outputs:
        """In training, masks are counted at a quarter of the image's size, and what the loss is computed of
        is given, too."""
        maps, last = self.maps(images)
        queries, embeddings, features = self.decoder(maps)
        if not self.training:
            return Outputs(logits_of(self._scores(self.head(queries[-1]), embeddings[-1], features, images)))
        classes = self.head(queries)  # [L, B, Q, C + 1]
        scores = class_scores(classes[-1], masks_of(embeddings[-1], features))
        similarity = self.head.similarity if isinstance(self.head, QuerySimilarity) else self.head
        return Outputs(
            logits_of(self.full_size(scores, images)),
            self.compared(similarity, last, images),
            (classes, embeddings, features),
        )

    def _scores(self, classes: Tensor, embeddings: Tensor, features: Tensor, images: Tensor) -> Tensor:
        """Scores of the classes at each pixel, of masks of the image's size, as published."""
        total: Tensor | None = None
        parts = (torch.split(each, AT_ONCE, 1) for each in (embeddings, classes))
        for some, their_classes in zip(*parts, strict=True):
            masks = self.full_size(masks_of(some, features), images)
            scores = class_scores(their_classes, masks)
            total = scores if total is None else total + scores
        assert total is not None
        return total
