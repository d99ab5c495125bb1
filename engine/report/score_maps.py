"""What a run of the task ood keeps beside its gallery, and reading its score maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.report.gallery import PictureError, Pixels, size_text

SCORES_FOLDER = "scores"
FULL = 65535
"""What a score map stores where all held-out in-distribution pixels score lower."""

REJECTED = 128
"""Grey of what would be rejected."""

RAMP = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
"""From low to high: five colours of magma, which is perceptually even (van der Walt and Smith 2015)."""

PIXEL_SCORES = ("msp", "entropy", "max_logit", "energy", "sml")
"""In the order in which they are shown."""


def kept_scores(gallery: Path, sample: str) -> list[str]:
    """The scores that a sample has maps of; none for a run that is not of the task ood."""
    folder = gallery / SCORES_FOLDER
    return [name for name in PIXEL_SCORES if (folder / f"{sample}_{name}.png").is_file()]


def read_score_map(gallery: Path, sample: str, score: str, like: Pixels) -> NDArray[np.float32]:
    """For each pixel the share of held-out in-distribution pixels that score lower: float32 [H, W], 0 to 1.

    Raises PictureError: missing, damaged, or of another size than `like`.
    """
    path = gallery / SCORES_FOLDER / f"{sample}_{score}.png"
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            values = np.asarray(picture)
    except FileNotFoundError:
        raise PictureError(f"{path} is missing from the gallery") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    if values.ndim != 2 or values.shape != like.shape[:2]:
        raise PictureError(f"{path} is {size_text(values)}, its ground truth is {size_text(like)}")
    return (values.astype(np.float32) / FULL).clip(0, 1)


def heat(shares: NDArray[np.float32]) -> Pixels:
    """A score map [H, W] of 0 to 1 in colour, uint8 [H, W, 3]. The upper half of the colours is for the top
    tenth, where thresholds lie."""
    stretched = np.where(shares < 0.9, shares / 0.9 * 0.5, 0.5 + (shares - 0.9) / 0.1 * 0.5)
    places = np.linspace(0, 1, len(RAMP))
    channels = [np.interp(stretched, places, [color[i] for color in RAMP]) for i in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def greyed(panel: Pixels, rejected: NDArray[np.bool_]) -> Pixels:
    """A coloured panel uint8 [H, W, 3] with the pixels that are rejected, [H, W], in an even grey."""
    shown = panel.copy()
    shown[rejected] = REJECTED
    return shown
