"""Losses: what is minimised is their weighted sum. Torch-free: front ends read the keys.

A loss is a function that builds it, decorated with the section of its keys; the key that is called like the
function is its weight, 0 where it has no part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from engine.components.parts import PartRegistry
from engine.config.fields import Section, option

if TYPE_CHECKING:
    from engine.losses.functions import Loss

    Build = Callable[[Any, int], Loss]
else:
    Build = Callable[..., Any]


AUXILIARY = 0.4
"""The weight of auxiliary losses that is usual since PSPNet (Zhao et al. 2017)."""


class LossSection(Section):
    """What is minimised: a weighted sum of losses."""

    auxiliary: float = option(
        AUXILIARY,
        "Weight of each auxiliary head's loss in training; without effect on networks that have none",
        ge=0,
        le=1000,
    )

    beside_own: float = option(
        0.0,
        "Weight of the losses of the logits next to the one that a network brings itself, as "
        "model.head=mask2former does; 0: they are only recorded. Without effect on other networks",
        ge=0,
        le=1000,
    )

    @model_validator(mode="after")
    def _something_is_minimised(self) -> Self:
        if not self.weights():
            raise ValueError("loss: every weight is 0; at least one must be above, as loss.cross_entropy=1")
        return self

    def weights(self) -> dict[str, float]:
        """The weight of each loss that takes part, by name."""
        values = ((name, float(getattr(self, name))) for name in LOSSES.parts())
        return {name: weight for name, weight in values if weight > 0}


LOSSES: PartRegistry[Build] = PartRegistry(
    "loss", "seg_engine.losses", LossSection, takes=("keys", "classes"), has_weight=True
)
"""Every loss by the name of its weight."""

register = LOSSES.register
