"""The keys of torchvision's segmentation networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from engine.components.stored import is_reading_stored
from engine.config.fields import option
from engine.models import ModelSection, register
from engine.models.pretrained import NONE, is_weights_file, problem_with_weights
from engine.models.sizes import told

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from engine.models.torchvision.network import TorchvisionNetwork

WHOLE = "COCO_WITH_VOC_LABELS_V1"
"""The weights of the whole network, its head for the 21 classes of Pascal VOC."""
BACKBONE = ("IMAGENET1K_V1", "IMAGENET1K_V2")
"""The weights of its backbone alone."""

ArchitectureName = Literal[
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "fcn_resnet50",
    "fcn_resnet101",
    "lraspp_mobilenet_v3_large",
]


def weights_names() -> tuple[str, ...]:
    return (NONE, WHOLE, *BACKBONE)


def architecture_told(name: str) -> str:
    """The size of a network, in words."""
    return told(f"torchvision {name}")


@register
class TorchvisionConfig(ModelSection):
    """DeepLabV3, FCN and LR-ASPP as torchvision builds them."""

    has_encoder: ClassVar[bool] = True
    has_blocks: ClassVar[bool] = True

    name: Literal["torchvision"] = option("torchvision", "Architecture")
    architecture: ArchitectureName = option(
        "deeplabv3_resnet50",
        "Network of torchvision",
        told_by="engine.models.torchvision.config:architecture_told",
    )
    weights: str = option(
        NONE,
        "Weights that a new network starts from: downloaded by name, or from a file",
        form=f"none, {WHOLE}, {' or '.join(BACKBONE)}, or the path of a file",
        suggestions="engine.models.torchvision.config:weights_names",
        min_length=1,
    )
    aux: bool = option(False, "torchvision's auxiliary head (FCN), weighted by loss.auxiliary in training")

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if is_reading_stored():
            return self
        if self.aux and self.architecture.startswith("lraspp"):
            raise ValueError("model.aux: LR-ASPP has no auxiliary head; it must be false")
        problem = problem_with_weights(self.weights, weights_names()[1:], self.architecture)
        if problem:
            raise ValueError(f"model.weights: {problem}")
        return self

    def values_per_channel(self, height: int, width: int) -> int:
        if self.architecture.startswith("deeplabv3"):
            return 1  # image pooling
        stride = 8 if self.architecture.startswith("fcn") else 16
        return -(-height // stride) * -(-width // stride)

    def weights_file(self) -> str:
        return self.weights if is_weights_file(self.weights) else ""

    def listed(self) -> list[tuple[str, ModelSection]]:
        field = type(self).model_fields["architecture"].annotation
        base = type(self)()
        return [
            (f"torchvision {name}", base.model_copy(update={"architecture": name}))
            for name in field.__args__  # type: ignore[union-attr]
        ]

    @classmethod
    def smaller(cls, size_key: str = "data.size") -> str:
        return f"a smaller {size_key} or model.architecture"

    def build(self, inputs: int, outputs: int) -> TorchvisionNetwork:
        from engine.models.torchvision.network import TorchvisionNetwork

        return TorchvisionNetwork(self, inputs, outputs)

    def weights_source(self) -> str:
        return "" if self.weights == NONE else f"{self.weights} of {self.architecture}"

    def named_weights(self) -> Mapping[str, Tensor]:
        if self.weights == NONE or self.weights_file():
            return {}
        from engine.models.torchvision.network import named_weights

        return named_weights(self)
