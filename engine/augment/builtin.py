"""The augmentations that seg-engine has, and what installed packages add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from engine.augment import AUGMENTATIONS, COLOUR, GEOMETRY, AugmentSection, register
from engine.config.fields import Section, option

if TYPE_CHECKING:
    from engine.augment.functions import Change

__all__ = ["AUGMENTATIONS", "AugmentSection"]


class FlipKeys(Section):
    flip: float = option(0.0, "Probability of a horizontal flip", ge=0, le=1)


@register(FlipKeys, order=GEOMETRY)
def mirror(keys: FlipKeys) -> Change | None:
    from engine.augment.functions import Mirror

    return Mirror(keys.flip) if keys.flip > 0 else None


class ScaleKeys(Section):
    scale_min: float = option(1.0, "Smallest scale; below 1 the border is padded with void", ge=0.1, le=10)
    scale_max: float = option(1.0, "Largest scale; above 1 the image is cropped at random", ge=0.1, le=10)

    @model_validator(mode="after")
    def _scales_are_in_order(self) -> Self:
        if self.scale_min > self.scale_max:
            raise ValueError(
                f"augment.scale_min: {self.scale_min:g} is above augment.scale_max, {self.scale_max:g}"
            )
        return self


@register(ScaleKeys, order=GEOMETRY)
def scale(keys: ScaleKeys) -> Change | None:
    from engine.augment.functions import Zoom

    still = keys.scale_min == keys.scale_max == 1.0
    return None if still else Zoom(keys.scale_min, keys.scale_max)


class ColourKeys(Section):
    brightness: float = option(0.0, "Largest relative change of brightness", ge=0, le=1)
    contrast: float = option(0.0, "Largest relative change of contrast", ge=0, le=1)
    saturation: float = option(0.0, "Largest relative change of saturation", ge=0, le=1)


@register(ColourKeys, order=COLOUR)
def colour(keys: ColourKeys) -> Change | None:
    from engine.augment.functions import ColourJitter

    strengths = keys.brightness, keys.contrast, keys.saturation
    return ColourJitter(*strengths) if any(strengths) else None


AUGMENTATIONS.load_installed()
