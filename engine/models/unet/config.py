"""The keys of U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from engine.config.fields import option
from engine.models import ModelSection, register

if TYPE_CHECKING:
    from engine.models.unet.network import UNet


@register
class UNetConfig(ModelSection):
    """U-Net (Ronneberger et al. 2015) with batch norm."""

    stride: ClassVar[int] = 16
    breadth_key: ClassVar[str] = "width"
    has_encoder: ClassVar[bool] = True
    has_blocks: ClassVar[bool] = True
    has_batch_norm: ClassVar[bool] = True

    name: Literal["unet"] = option("unet", "Architecture")
    width: int = option(64, "Channels of the first level; each level down doubles them", ge=1, le=1024)

    deep_supervision: int = option(
        0,
        "Decoder levels with an auxiliary head, from the one below the full size down (Lee et al. 2015)",
        ge=0,
        le=3,
    )

    def values_per_channel(self, height: int, width: int) -> int:
        return (height // self.stride) * (width // self.stride)  # the smallest map, four levels down

    def build(self, inputs: int, outputs: int) -> UNet:
        from engine.models.unet.network import UNet

        return UNet(inputs, outputs, self.width, self.deep_supervision)
