"""The losses that seg-engine has, and what installed packages add."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.fields import Section, option
from engine.losses import LOSSES, LossSection, register

if TYPE_CHECKING:
    from engine.losses.functions import CrossEntropy, SoftDice

__all__ = ["LOSSES", "LossSection"]


class CrossEntropyKeys(Section):
    cross_entropy: float = option(
        1.0, "Weight of cross-entropy, averaged over the valid pixels", ge=0, le=1000
    )
    label_smoothing: float = option(
        0.0, "Label smoothing of cross_entropy: probability spread over all classes", ge=0, lt=1
    )


@register(CrossEntropyKeys)
def cross_entropy(keys: CrossEntropyKeys, classes: int) -> CrossEntropy:
    from engine.losses.functions import CrossEntropy

    return CrossEntropy(keys.label_smoothing)


class DiceKeys(Section):
    dice: float = option(
        0.0, "Weight of soft Dice loss, pooled over the batch (Milletari et al. 2016)", ge=0, le=1000
    )


@register(DiceKeys)
def dice(keys: DiceKeys, classes: int) -> SoftDice:
    from engine.losses.functions import SoftDice

    return SoftDice(classes)


LOSSES.load_installed()
