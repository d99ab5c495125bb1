"""Which network a run trains: one section of the config for each architecture."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Tag

from engine.config_fields import Section, option


class UNetConfig(Section):
    """U-Net (Ronneberger et al. 2015) with batch norm."""

    BREADTH: ClassVar[str] = "width"
    """The key that makes the network smaller."""

    name: Literal["unet"] = option("unet", "Architecture")
    width: int = option(64, "Channels of the first level; each level down doubles them", ge=1, le=1024)

    @property
    def stride(self) -> int:
        """Both sides of the input must be multiples of this, in pixels."""
        return 16


def _ordered_places(text: str) -> str:
    """Accept the places of attention in any order, and keep them in one."""
    places = text.replace(" ", "").split("+")
    if places != ["none"] and not set(places) <= set(ATTENTION_PLACES):
        raise ValueError("unknown place")
    return "+".join(place for place in ATTENTION_PLACES if place in places) or "none"


ATTENTION_PLACES = ("1", "2", "3", "4", "middle")
Attention = Annotated[str, AfterValidator(_ordered_places)]


class ModernUNetConfig(Section):
    """Modern U-Net: the residual U-Net of DDPM (Ho et al. 2020), its channel multipliers compounding."""

    BREADTH: ClassVar[str] = "hidden"

    name: Literal["modern_unet"] = option("modern_unet", "Architecture")
    hidden: int = option(
        64, "Channels of the first level; the levels below have 2, 4 and 16 times as many", ge=1, le=1024
    )
    norm: bool = option(True, "Group norm before each activation")
    attention: Attention = option(
        "none",
        "Where each pixel attends to all others: after the blocks of a level, 1 being the full size, or in "
        "the middle",
        form="none, or some of 1 2 3 4 middle joined by +, such as 4+middle",
    )
    use1x1: bool = option(False, "First and last convolution of one pixel instead of 3x3")

    @property
    def stride(self) -> int:
        """Both sides of the input must be multiples of this, in pixels."""
        return 8

    @property
    def attention_places(self) -> tuple[str, ...]:
        """Those of ATTENTION_PLACES that have attention."""
        return () if self.attention == "none" else tuple(self.attention.split("+"))


def _model_name(value: Any) -> Any:
    """Which model a table means; one without a name is a U-Net."""
    return value.get("name", "unet") if isinstance(value, dict) else getattr(value, "name", None)


ModelConfig = Annotated[
    Annotated[UNetConfig, Tag("unet")] | Annotated[ModernUNetConfig, Tag("modern_unet")],
    Discriminator(_model_name),
]
