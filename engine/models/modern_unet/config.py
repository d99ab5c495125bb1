"""The keys of Modern U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator

from engine.config.fields import option
from engine.models import ModelSection, register

if TYPE_CHECKING:
    from engine.models.modern_unet.network import ModernUNet


def _ordered_places(text: str) -> str:
    """Accept the places of attention in any order, and keep them in one."""
    places = text.replace(" ", "").split("+")
    if places != ["none"] and not set(places) <= set(ATTENTION_PLACES):
        raise ValueError("unknown place")
    return "+".join(place for place in ATTENTION_PLACES if place in places) or "none"


ATTENTION_PLACES = ("1", "2", "3", "4", "middle")
Attention = Annotated[str, AfterValidator(_ordered_places)]


@register
class ModernUNetConfig(ModelSection):
    """Modern U-Net: the residual U-Net of DDPM (Ho et al. 2020), its channel multipliers compounding."""

    stride: ClassVar[int] = 8
    breadth_key: ClassVar[str] = "hidden"
    has_encoder: ClassVar[bool] = True
    has_blocks: ClassVar[bool] = True
    has_batch_norm: ClassVar[bool] = False

    name: Literal["modern_unet"] = option("modern_unet", "Architecture")
    hidden: int = option(
        64, "Channels of the first level; the levels below have 2, 4 and 16 times as many", ge=1, le=1024
    )
    norm: bool = option(True, "Group norm before each activation")
    attention: Attention = option(
        "none",
        "Self-attention after the blocks of these levels (1 is the full size) or in the middle",
        form="none, or some of 1 2 3 4 middle joined by +, such as 4+middle",
    )
    use1x1: bool = option(False, "Use 1x1 instead of 3x3 for the first and last convolution")
    deep_supervision: int = option(
        0,
        "Decoder levels with an auxiliary head, from the one below the full size down (Lee et al. 2015)",
        ge=0,
        le=3,
    )

    @property
    def attention_places(self) -> tuple[str, ...]:
        """Those of ATTENTION_PLACES that have attention."""
        return () if self.attention == "none" else tuple(self.attention.split("+"))

    def build(self, inputs: int, outputs: int) -> ModernUNet:
        from engine.models.modern_unet.network import ModernUNet

        return ModernUNet(inputs, outputs, self)
