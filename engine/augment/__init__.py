"""Augmentations: random changes of training images. Torch-free: front ends read the keys.

An augmentation is a function that builds it, decorated with the section of its keys and its place in the
order; the function gives None where the keys switch it off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.components.parts import PartRegistry
from engine.config.fields import Section

if TYPE_CHECKING:
    from engine.augment.functions import Change

    Build = Callable[[Any], Change | None]
else:
    Build = Callable[..., Any]

GEOMETRY, COLOUR = 100, 200
"""Places in the order: what moves pixels comes before what recolours them."""


class AugmentSection(Section):
    """Random changes of the training images, drawn anew each time an image is seen."""


AUGMENTATIONS: PartRegistry[Build] = PartRegistry("augmentation", "seg_engine.augmentations", AugmentSection)
"""Every augmentation by the name of the function that builds it."""

register = AUGMENTATIONS.register
