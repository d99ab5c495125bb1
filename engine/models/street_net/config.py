"""The keys of StreetNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from engine.config.fields import WHOLE, option
from engine.models import ModelSection, register

if TYPE_CHECKING:
    from engine.models.street_net.network import StreetNet


@register
class StreetNetConfig(ModelSection):
    """StreetNet: a small dilated residual encoder that downsamples early, and a light decoder. Our own."""

    stride: ClassVar[int] = 8
    breadth_key: ClassVar[str] = "width"
    has_encoder: ClassVar[bool] = True
    has_blocks: ClassVar[bool] = True
    has_batch_norm: ClassVar[bool] = True

    name: Literal["street_net"] = option("street_net", "Architecture")
    encoder: Literal["compact", "resnet18", "resnet34"] = option(
        "compact",
        "compact: 9 blocks; resnet18 and 34: those of He et al. (2016), whose weights fit at model.width=64",
    )
    width: int = option(
        32, "Channels of the first convolution; the deepest have 8 times as many", ge=4, le=1024
    )
    head_stride: Annotated[Literal[4, 2], WHOLE] = option(
        4, "Input size over the size of the map that the head classifies; 2: finer and slower"
    )
    deep_supervision: int = option(
        0,
        "Decoder levels with an auxiliary head, from the one below the head's down (Lee et al. 2015)",
        ge=0,
        le=2,
    )

    def least_side(self) -> int:
        return 3 * self.stride  # two rows at a sixteenth, between which there is something to interpolate

    def values_per_channel(self, height: int, width: int) -> int:
        return -(-height // 16) * -(-width // 16)

    def build(self, inputs: int, outputs: int) -> StreetNet:
        from engine.models.street_net.network import StreetNet

        return StreetNet(inputs, outputs, self)
