"""The keys of DeepLab-LargeFOV."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from engine.config.fields import option
from engine.models import ModelSection, register

if TYPE_CHECKING:
    from engine.models.deeplab_largefov.network import DeepLabLargeFOV


@register
class DeepLabLargeFOVConfig(ModelSection):
    """DeepLab-LargeFOV (Chen et al. 2015): VGG16 with dilated convolutions, at an eighth of the size."""

    breadth_key: ClassVar[str] = "width"
    has_encoder: ClassVar[bool] = True
    has_blocks: ClassVar[bool] = True
    has_batch_norm: ClassVar[bool] = False

    name: Literal["deeplab_largefov"] = option("deeplab_largefov", "Architecture")
    width: int = option(
        64,
        "Channels of the first convolutions; the deepest have 8, and fc6 and fc7 16 times as many",
        ge=1,
        le=1024,
    )
    dropout: float = option(0.5, "Share of the features that are dropped after fc6 and fc7", ge=0, lt=1)

    def build(self, inputs: int, outputs: int) -> DeepLabLargeFOV:
        from engine.models.deeplab_largefov.network import DeepLabLargeFOV

        return DeepLabLargeFOV(inputs, outputs, self.width, self.dropout)
