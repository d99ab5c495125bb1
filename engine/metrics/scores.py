"""Scores of a segmentation, from its confusion matrix.

The confusion matrix [C, C+1] has a row for each class of the ground truth and a column for each
class of the prediction; its last column counts pixels predicted as void. Pixels whose ground truth
is void are in no cell. For the class c,

    TP = the diagonal,  FN = the rest of its row (predicted void included),  FP = the rest of its column
    Dice = 2 TP / (2 TP + FP + FN)        Dice, "Measures of the amount of ecologic association", 1945
    IoU  =   TP / (  TP + FP + FN)        Jaccard 1912; the pixel-level score of Cityscapes, Cordts et al.,
                                          CVPR 2016

A class that is in neither ground truth nor prediction has no score and is left out of the means; a
class that is predicted and not in the ground truth scores 0 and counts. That is the rule of the
official Cityscapes evaluation, and Dice follows it, so that both means are over the same classes.
A score that is undefined is None: never 0, which would be a bad score, and never NaN, which JSON
and SQL cannot hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import EngineError


class MetricsError(EngineError, ValueError):
    """Labels or counts that cannot be scored; the message is one line a person can act on."""


@dataclass(frozen=True)
class Scores:
    """The scores of one split (or one image); every score is in 0..1, None where undefined.

    `dice` and `miou` are means over classes of the pooled counts; `dice_image` is the mean over
    images of each image's own mean Dice. `pixel_accuracy` counts a pixel predicted as void as
    wrong. `class_dice` and `class_iou` are ordered by train id. `valid_pixels` is the number of
    pixels whose ground truth is not void.
    """

    dice: float | None
    dice_image: float | None
    miou: float | None
    pixel_accuracy: float | None
    class_dice: tuple[float | None, ...]
    class_iou: tuple[float | None, ...]
    valid_pixels: int


def scores_from_confusion(confusion: npt.NDArray[np.integer], *, dice_image: float | None = None) -> Scores:
    """Score a confusion matrix [C, C+1] of pixel counts, of one image or pooled over many.

    `dice_image` cannot be had from pooled counts and is passed through. For a single image it is
    the image's own `dice`.

    Raises MetricsError when the shape is not [C, C+1] or a cell is not a whole number >= 0.
    """
    if confusion.ndim != 2 or confusion.shape[0] < 1 or confusion.shape[1] != confusion.shape[0] + 1:
        raise MetricsError(f"a confusion matrix has the shape [C, C+1], got {list(confusion.shape)}")
    if not np.issubdtype(confusion.dtype, np.integer):
        raise MetricsError(f"a confusion matrix holds whole numbers, got {confusion.dtype}")
    if confusion.min() < 0:
        raise MetricsError(f"a confusion matrix holds counts >= 0, got {confusion.min()}")

    counts = confusion.astype(np.int64)
    correct = counts.diagonal()
    in_truth = counts.sum(axis=1)
    in_prediction = counts[:, :-1].sum(axis=0)
    valid_pixels = int(counts.sum())

    class_dice = _ratios(2 * correct, in_truth + in_prediction)
    class_iou = _ratios(correct, in_truth + in_prediction - correct)
    return Scores(
        dice=_mean_of_defined(class_dice),
        dice_image=dice_image,
        miou=_mean_of_defined(class_iou),
        pixel_accuracy=int(correct.sum()) / valid_pixels if valid_pixels else None,
        class_dice=class_dice,
        class_iou=class_iou,
        valid_pixels=valid_pixels,
    )


def _ratios(above: npt.NDArray[np.int64], below: npt.NDArray[np.int64]) -> tuple[float | None, ...]:
    pairs = zip(above.tolist(), below.tolist(), strict=True)
    return tuple(a / b if b else None for a, b in pairs)


def _mean_of_defined(values: tuple[float | None, ...]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
