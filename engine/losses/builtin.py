"""The losses that seg-engine has, and what installed packages add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.config.fields import Section, option
from engine.losses import LOSSES, LossSection, register

if TYPE_CHECKING:
    from engine.losses.boundary import Boundary
    from engine.losses.functions import CrossEntropy, Focal, SoftDice, SoftJaccard, SoftTversky
    from engine.losses.ranked import Lovasz, Ohem

__all__ = ["LOSSES", "LossSection"]


class CrossEntropyKeys(Section):
    cross_entropy: float = option(
        1.0, "Weight of cross-entropy, averaged over the valid pixels", ge=0, le=1000
    )
    label_smoothing: float = option(
        0.0, "Label smoothing of cross_entropy: probability spread over all classes", ge=0, lt=1
    )
    class_weights: Literal["none", "inverse_frequency", "enet"] = option(
        "none",
        "Class weights of cross_entropy, by a class's share p of the training pixels. inverse_frequency: "
        "1/p; enet: 1/ln(1.02 + p) (Paszke et al. 2016)",
    )


@register(CrossEntropyKeys)
def cross_entropy(keys: CrossEntropyKeys, classes: int) -> CrossEntropy:
    from engine.losses.functions import CrossEntropy

    return CrossEntropy(keys.label_smoothing, keys.class_weights, classes)


class OhemKeys(Section):
    ohem: float = option(
        0.0, "Weight of the cross-entropy of the hardest pixels alone (OHEM, Wu et al. 2016)", ge=0, le=1000
    )
    ohem_threshold: float = option(
        0.7, "Of ohem: a pixel is hard if its true class has a lower probability", of="ohem", gt=0, le=1
    )
    ohem_min_kept: int = option(
        256,
        "Of ohem: least number of pixels kept of a batch, or of a device's or micro-batch's part of it",
        of="ohem",
        unit="pixels",
        ge=0,
        le=1_000_000_000,
    )


@register(OhemKeys)
def ohem(keys: OhemKeys, classes: int) -> Ohem:
    from engine.losses.ranked import Ohem

    return Ohem(keys.ohem_threshold, keys.ohem_min_kept)


class DiceKeys(Section):
    dice: float = option(
        0.0, "Weight of soft Dice loss, pooled over the batch (Milletari et al. 2016)", ge=0, le=1000
    )


@register(DiceKeys)
def dice(keys: DiceKeys, classes: int) -> SoftDice:
    from engine.losses.functions import SoftDice

    return SoftDice(classes)


class JaccardKeys(Section):
    jaccard: float = option(
        0.0, "Weight of soft Jaccard loss, pooled over the batch (Rahman and Wang 2016)", ge=0, le=1000
    )


@register(JaccardKeys)
def jaccard(keys: JaccardKeys, classes: int) -> SoftJaccard:
    from engine.losses.functions import SoftJaccard

    return SoftJaccard(classes)


class TverskyKeys(Section):
    tversky: float = option(
        0.0, "Weight of Tversky loss, pooled over the batch (Salehi et al. 2017)", ge=0, le=1000
    )
    tversky_a: float = option(0.3, "Of tversky: what false positives count", of="tversky", ge=0, le=1)
    tversky_b: float = option(0.7, "Of tversky: what false negatives count", of="tversky", ge=0, le=1)


@register(TverskyKeys)
def tversky(keys: TverskyKeys, classes: int) -> SoftTversky:
    from engine.losses.functions import SoftTversky

    return SoftTversky(classes, keys.tversky_a, keys.tversky_b)


class FocalKeys(Section):
    focal: float = option(
        0.0, "Weight of focal loss, each class against all others (Lin et al. 2017)", ge=0, le=1000
    )
    focal_gamma: float = option(
        2.0, "Of focal: how strongly easy pixels are down-weighted", of="focal", ge=0, le=10
    )


@register(FocalKeys)
def focal(keys: FocalKeys, classes: int) -> Focal:
    from engine.losses.functions import Focal

    return Focal(keys.focal_gamma)


class LovaszKeys(Section):
    lovasz: float = option(0.0, "Weight of Lovasz-softmax loss (Berman et al. 2018)", ge=0, le=1000)
    lovasz_per_image: bool = option(
        False, "Of lovasz: compute it for each image, not for the batch", of="lovasz"
    )


@register(LovaszKeys)
def lovasz(keys: LovaszKeys, classes: int) -> Lovasz:
    from engine.losses.ranked import Lovasz

    return Lovasz(keys.lovasz_per_image)


class BoundaryKeys(Section):
    boundary: float = option(
        0.0, "Weight of boundary loss, 1 - F1 of the boundaries (Bokhovkin and Burnaev 2019)", ge=0, le=1000
    )
    boundary_distance: int = option(
        2,
        "Of boundary: largest distance at which boundaries still match",
        of="boundary",
        unit="pixels",
        ge=1,
        le=64,
    )


@register(BoundaryKeys)
def boundary(keys: BoundaryKeys, classes: int) -> Boundary:
    from engine.losses.boundary import Boundary

    return Boundary(keys.boundary_distance)


LOSSES.load_installed()
