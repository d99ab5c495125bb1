"""The augmentations that seg-engine has, and what installed packages add. They are in the order in which a
sample passes through them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import model_validator

from engine.augment import AUGMENTATIONS, COLOUR, ERASE, GEOMETRY, MIX, AugmentSection, register
from engine.config.fields import Section, option

if TYPE_CHECKING:
    from engine.augment.draws import Change

__all__ = ["AUGMENTATIONS", "AugmentSection"]


class WindowKeys(Section):
    scale_min: float = option(1.0, "Smallest scale; below 1 the border is padded with void", ge=0.1, le=10)
    scale_max: float = option(1.0, "Largest scale; above 1 the image is cropped at random", ge=0.1, le=10)
    rotate: float = option(
        0.0, "Largest angle of a rotation, either way; what it uncovers is void", unit="degrees", ge=0, le=180
    )
    cat_max_ratio: float = option(
        1.0,
        "Draw a crop again, up to 10 times, if one class has this share of its labelled pixels or more; 1: "
        "never",
        gt=0,
        le=1,
    )

    @model_validator(mode="after")
    def _scales_are_in_order(self) -> Self:
        if self.scale_min > self.scale_max:
            raise ValueError(
                f"augment.scale_min: {self.scale_min:g} is above augment.scale_max, {self.scale_max:g}"
            )
        return self


@register(WindowKeys, order=GEOMETRY)
def window(keys: Any) -> Change | None:
    """Random scale, rotation and crop, in one resampling."""
    from engine.augment.geometry import Window

    made = Window(keys.scale_min, keys.scale_max, keys.rotate, keys.crop_size, keys.cat_max_ratio)
    still = Window(most=keys.cat_max_ratio)
    return None if made == still else made


class FlipKeys(Section):
    flip: float = option(0.0, "Probability of a horizontal flip", ge=0, le=1)


@register(FlipKeys, order=GEOMETRY)
def mirror(keys: FlipKeys) -> Change | None:
    from engine.augment.geometry import Mirror

    return Mirror(keys.flip) if keys.flip > 0 else None


class MosaicKeys(Section):
    mosaic: float = option(0.0, "Probability of a mosaic of four images of the batch", ge=0, le=1)


@register(MosaicKeys, order=MIX)
def mosaic(keys: MosaicKeys) -> Change | None:
    from engine.augment.mixing import Mosaic

    return Mosaic(keys.mosaic) if keys.mosaic > 0 else None


class CopyPasteKeys(Section):
    copy_paste: float = option(
        0.0, "Probability of copy-paste: classes with few pixels in another image of the batch", ge=0, le=1
    )
    copy_paste_area: float = option(
        0.05,
        "Of copy_paste: largest share of that image's pixels that such a class may have",
        of="copy_paste",
        gt=0,
        le=1,
    )


@register(CopyPasteKeys, order=MIX)
def copy_paste(keys: CopyPasteKeys) -> Change | None:
    from engine.augment.mixing import CopyPaste

    return CopyPaste(keys.copy_paste, keys.copy_paste_area) if keys.copy_paste > 0 else None


class ClassMixKeys(Section):
    classmix: float = option(
        0.0, "Probability of ClassMix: half of the classes of another image of the batch", ge=0, le=1
    )


@register(ClassMixKeys, order=MIX)
def classmix(keys: ClassMixKeys) -> Change | None:
    from engine.augment.mixing import ClassMix

    return ClassMix(keys.classmix) if keys.classmix > 0 else None


class CutMixKeys(Section):
    cutmix: float = option(
        0.0, "Probability of CutMix: a rectangle of another image of the batch", ge=0, le=1
    )


@register(CutMixKeys, order=MIX)
def cutmix(keys: CutMixKeys) -> Change | None:
    from engine.augment.mixing import CutMix

    return CutMix(keys.cutmix) if keys.cutmix > 0 else None


class RandAugmentKeys(Section):
    randaugment: int = option(
        0, "Operations of RandAugment on each image, different ones of 7; 0: none", ge=0, le=7
    )
    randaugment_magnitude: float = option(
        0.2, "Strength of RandAugment's operations, from 0 to 1", of="randaugment", ge=0, le=1
    )


@register(RandAugmentKeys, order=COLOUR)
def randaugment(keys: RandAugmentKeys) -> Change | None:
    from engine.augment.randaugment import RandAugment

    return RandAugment(keys.randaugment, keys.randaugment_magnitude) if keys.randaugment else None


class ColourKeys(Section):
    brightness: float = option(0.0, "Largest relative change of brightness", ge=0, le=1)
    contrast: float = option(0.0, "Largest relative change of contrast", ge=0, le=1)
    saturation: float = option(0.0, "Largest relative change of saturation", ge=0, le=1)
    hue: float = option(0.0, "Largest change of hue, as a share of the colour circle", ge=0, le=0.5)


@register(ColourKeys, order=COLOUR)
def colour(keys: ColourKeys) -> Change | None:
    from engine.augment.colour import ColourJitter

    strengths = keys.brightness, keys.contrast, keys.saturation, keys.hue
    return ColourJitter(*strengths) if any(strengths) else None


class GrayscaleKeys(Section):
    grayscale: float = option(0.0, "Probability of an image without colour", ge=0, le=1)


@register(GrayscaleKeys, order=COLOUR)
def grayscale(keys: GrayscaleKeys) -> Change | None:
    from engine.augment.colour import Grayscale

    return Grayscale(keys.grayscale) if keys.grayscale > 0 else None


class BlurKeys(Section):
    blur: float = option(0.0, "Probability of a Gaussian blur", ge=0, le=1)
    blur_sigma: float = option(
        2.0,
        "Of blur: its largest standard deviation; the smallest is 0.1",
        of="blur",
        unit="pixels",
        gt=0,
        le=20,
    )


@register(BlurKeys, order=COLOUR)
def blur(keys: BlurKeys) -> Change | None:
    from engine.augment.colour import Blur

    return Blur(keys.blur, keys.blur_sigma) if keys.blur > 0 else None


class RandConvKeys(Section):
    randconv: float = option(
        0.0,
        "Probability of a random convolution, mixed with the image: other textures, same shapes",
        ge=0,
        le=1,
    )


@register(RandConvKeys, order=COLOUR)
def randconv(keys: RandConvKeys) -> Change | None:
    from engine.augment.colour import RandConv

    return RandConv(keys.randconv) if keys.randconv > 0 else None


class CutoutKeys(Section):
    cutout: float = option(0.0, "Probability of cutout: a rectangle turns black", ge=0, le=1)
    cutout_size: float = option(
        0.25, "Of cutout: sides of the rectangle, as shares of the image's", of="cutout", gt=0, le=1
    )
    cutout_labels: Literal["void", "keep"] = option(
        "void", "Labels of the rectangle; keep: the network is to guess what was there", of="cutout"
    )


@register(CutoutKeys, order=ERASE)
def cutout(keys: CutoutKeys) -> Change | None:
    from engine.augment.colour import Cutout

    made = Cutout(keys.cutout, keys.cutout_size, keys.cutout_labels == "keep")
    return made if keys.cutout > 0 else None


AUGMENTATIONS.load_installed()
