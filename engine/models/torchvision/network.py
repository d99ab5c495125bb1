"""torchvision's segmentation networks behind the contract of this engine.

Names of weights are torchvision's own, so that its checkpoints fit. Parameters for 19 classes:
deeplabv3_resnet50 39,638,355 (42,003,046 with the auxiliary head), deeplabv3_resnet101 58,630,483,
deeplabv3_mobilenet_v3_large 11,024,963, fcn_resnet50 32,955,987, lraspp_mobilenet_v3_large 3,221,198.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torchvision import models

from engine.models.contract import Outputs, SegmentationNetwork
from engine.models.downloads import downloading
from engine.models.foreign import blocks_of, layers_of
from engine.models.layers import bilinear
from engine.models.torchvision.config import WHOLE, TorchvisionConfig


class TorchvisionNetwork(SegmentationNetwork):
    """[B, 3, H, W] -> logits [B, classes, H, W]; auxiliary logits at the stride of their map, in training."""

    encoder_names = ("backbone",)

    def __init__(self, config: TorchvisionConfig, inputs: int, classes: int) -> None:
        super().__init__()
        if inputs != 3:
            raise ValueError(f"torchvision's networks take images of 3 channels, not {inputs}")
        made = build_theirs(config, classes)
        self.backbone, self.classifier = made.backbone, made.classifier
        self.deepest = nn.Identity()
        self.is_lite = config.architecture.startswith("lraspp")
        if self.is_lite:
            self.head_names = ("classifier.low_classifier", "classifier.high_classifier")
        else:
            self.head_names = (f"classifier.{len(self.classifier) - 1}",)
        self.has_aux = config.aux
        if config.aux:
            self.aux_classifier = made.aux_classifier
            self.head_names += (f"aux_classifier.{len(self.aux_classifier) - 1}",)

    def forward(self, images: Tensor) -> Outputs:
        maps: dict[str, Tensor] = self.backbone(images)
        deepest = "high" if self.is_lite else "out"
        maps[deepest] = self.deepest(maps[deepest])
        logits = self.classifier(maps if self.is_lite else maps["out"])
        logits = bilinear(logits, images.shape[-2:])
        if not self.has_aux or not self.training:
            return Outputs(logits)
        return Outputs(logits, (self.aux_classifier(maps["aux"]),))

    def bottleneck(self) -> nn.Module:
        return self.deepest

    def layers(self) -> list[tuple[str, ...]]:
        return layers_of(self.backbone, "backbone")

    def blocks(self) -> Iterable[nn.Module]:
        return blocks_of(self.backbone)


def build_theirs(config: TorchvisionConfig, classes: int) -> Any:
    """The network as torchvision builds it, its weights drawn at random."""
    builder = getattr(models.segmentation, config.architecture)
    aux = {} if config.architecture.startswith("lraspp") else {"aux_loss": config.aux}
    return builder(weights=None, weights_backbone=None, num_classes=classes, **aux)


def named_weights(config: TorchvisionConfig) -> dict[str, Tensor]:
    """The weights that `model.weights` calls by name, as torchvision downloads them. Raises WeightsError."""
    with downloading(config.weights, config.architecture):
        network = config.architecture if config.weights == WHOLE else config.architecture.partition("_")[2]
        weights = models.get_model_weights(network)[config.weights]
        return dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
