"""Augmentations: random changes of training images. Torch-free: front ends read the keys.

An augmentation is a function that builds it, decorated with the section of its keys and its place in the
order; the function gives None where the keys switch it off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from engine.components.parts import PartRegistry
from engine.config.fields import Section, option
from engine.config.windows import WHOLE, SizeWord, sides

if TYPE_CHECKING:
    from engine.augment.draws import Change

    Build = Callable[[Any], Change | None]
else:
    Build = Callable[..., Any]

GEOMETRY, MIX, COLOUR, ERASE = 100, 150, 200, 300
"""Places in the order: what moves pixels, what mixes samples, what recolours them, what takes them away."""


class AugmentSection(Section):
    """Random changes of the training images, drawn anew each time an image is seen."""

    crop: SizeWord = option(
        WHOLE,
        "Size of random crops that the network is trained on, height x width, of images of data.size; none: "
        "whole images. Validation sees whole images, or windows of them (validation.window)",
        unit="pixels",
        form="none or HEIGHTxWIDTH such as 512x1024",
        pattern="^(none|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})$",
    )

    mixstyle: float = option(
        0.0,
        "Probability that features of a sample take a style mixed with another sample's, after each of "
        "mixstyle_layers (MixStyle, Zhou et al. 2021)",
        ge=0,
        le=1,
    )
    mixstyle_alpha: float = option(
        0.1,
        "Of mixstyle: the share of the own style is drawn from Beta(alpha, alpha)",
        of="mixstyle",
        gt=0,
        le=100,
    )
    mixstyle_layers: str = option(
        "2,3",
        "Of mixstyle: numbers of the encoder's layers, from 1, after which styles are mixed",
        of="mixstyle",
        form="numbers from 1, separated by commas, such as 2,3",
        pattern="^[1-9][0-9]{0,2}(,[1-9][0-9]{0,2})*$",
        commas=True,
    )

    @model_validator(mode="after")
    def _crops_are_of_a_size(self) -> Self:
        if self.crop_size is not None and not all(16 <= side <= 8192 for side in self.crop_size):
            raise ValueError(f"augment.crop: {self.crop} is not allowed; each side must be from 16 to 8192")
        return self

    @property
    def mixstyle_numbers(self) -> list[int]:
        """`mixstyle_layers` as rising numbers."""
        return sorted({int(number) for number in self.mixstyle_layers.split(",")})

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """(height, width) of the crops; None: whole images."""
        return None if self.crop == WHOLE else sides(self.crop)


AUGMENTATIONS: PartRegistry[Build] = PartRegistry(
    "augmentation", "seg_engine.augmentations", AugmentSection, takes=("keys",)
)
"""Every augmentation by the name of the function that builds it."""

register = AUGMENTATIONS.register
