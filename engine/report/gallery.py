"""Reading the gallery of a run: which epochs and samples it has, their pixels and their scores.

gallery/inputs/<sample>_image.png     RGB, at the input size
gallery/inputs/<sample>_target.png    train ids, indexed
gallery/epoch_0010/<sample>.png       predicted train ids, indexed
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.classes import VOID
from engine.errors import EngineError
from engine.metrics.image_confusions import confusion_of
from engine.metrics.scores import Scores, scores_from_confusion
from engine.run.files import fitting_name

Pixels = NDArray[np.uint8]


LONGEST_NAME = 200
"""Bytes of a sample's name in a gallery: what is added to it, and to a temporary file, must fit into 255."""


def gallery_name(sample: str) -> str:
    """What a sample is called in a gallery: its name with "/" as "__", cut where it is too long for a
    file."""
    return fitting_name(sample.replace("/", "__"), LONGEST_NAME)


class PictureError(EngineError):
    """A gallery that cannot be drawn; the message is one line a person can act on."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a sample is predicted from and scored against: image uint8 [H, W, 3], target uint8 [H, W]
    train ids (255 is void)."""

    image: Pixels
    target: Pixels


@dataclass(frozen=True)
class Sample:
    """One row: image uint8 [H, W, 3], target and prediction uint8 [H, W] train ids (255 is void)."""

    name: str
    image: Pixels
    target: Pixels
    prediction: Pixels


def gallery_epochs(gallery: Path) -> dict[int, list[Path]]:
    """The predictions that are kept: epoch -> its PNGs, by name. Ascending; none where there is no gallery.

    An epoch whose folder is still empty does not count.
    """
    found: dict[int, list[Path]] = {}
    for folder in gallery.glob("epoch_*"):
        number = folder.name.removeprefix("epoch_")
        predictions = sorted(folder.glob("*.png"))
        if number.isdecimal() and predictions:
            found[int(number)] = predictions
    return dict(sorted(found.items()))


def read_sample(gallery: Path, prediction_path: Path, classes: int) -> Sample:
    """A prediction with what belongs to it. Raises PictureError: missing, damaged, of unequal sizes."""
    inputs = read_inputs(gallery, prediction_path.stem, classes)
    prediction = read_prediction(prediction_path, inputs, classes)
    return Sample(short_name(prediction_path.stem), inputs.image, inputs.target, prediction)


def read_inputs(gallery: Path, sample: str, classes: int) -> Inputs:
    """The image and the ground truth of a sample. Raises PictureError."""
    image_path = gallery / "inputs" / f"{sample}_image.png"
    target = read_class_map(gallery / "inputs" / f"{sample}_target.png", classes)
    image = np.asarray(_read_png(image_path).convert("RGB"))
    _refuse_other_size(image_path, image, target)
    return Inputs(image, target)


def read_prediction(path: Path, inputs: Inputs, classes: int) -> Pixels:
    """Predicted train ids uint8 [H, W]. Raises PictureError, also when they are not of the inputs' size."""
    prediction = read_class_map(path, classes)
    _refuse_other_size(path, prediction, inputs.target)
    return prediction


def read_class_map(path: Path, classes: int) -> Pixels:
    """Train ids uint8 [H, W] of an indexed PNG. Raises PictureError, also for an id of no class."""
    picture = _read_png(path)
    if picture.mode not in ("P", "L"):
        raise PictureError(f"{path} is no class map: wanted an indexed 8-bit PNG, got mode {picture.mode}")
    train_ids = np.asarray(picture)
    strangers = np.unique(train_ids[(train_ids >= classes) & (train_ids != VOID)])
    if strangers.size:
        raise PictureError(f"{path} holds train id {strangers[0]}; with {classes} classes 0 to {classes - 1}")
    return train_ids


def short_name(sample: str) -> str:
    """A sample is named by `gallery_name`; its last part is the file's name."""
    return sample.rsplit("__", 1)[-1]


def image_scores(sample: Sample, classes: int) -> Scores:
    """The scores of one image, over the pixels whose ground truth is not void."""
    return scores_from_confusion(confusion_of(sample.prediction, sample.target, classes))


def size_text(array: Pixels) -> str:
    """HEIGHTxWIDTH of an array of pixels."""
    return f"{array.shape[0]}x{array.shape[1]}"


def _refuse_other_size(path: Path, other: Pixels, target: Pixels) -> None:
    if other.shape[:2] != target.shape:
        raise PictureError(f"{path} is {size_text(other)}, its ground truth is {size_text(target)}")


def _read_png(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.verify()  # the checksums, which load() leaves unread; it takes a second opening to load
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
            return picture
    except FileNotFoundError:
        raise PictureError(f"{path} is missing from the gallery") from None
    # A damaged PNG meets Pillow as any of these, depending on the chunk that is hit.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path} is damaged: {' '.join(str(error).split())}") from error
