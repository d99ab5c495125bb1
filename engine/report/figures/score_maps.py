"""Score maps for a paper: image, prediction, how far out the score says each pixel is, and what is
rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from engine.report.figures.samples import laid_out
from engine.report.figures.style import Columns
from engine.report.gallery import Sample
from engine.report.score_maps import greyed
from engine.report.triptych import Color, class_map_panel

MAP = "magma"
"""Perceptually even, dark where the score is low (van der Walt and Smith 2015)."""

_WHOLE = (1, 1)


@dataclass(frozen=True)
class Judged:
    """One image with its prediction, and for each pixel the share of held-out in-distribution pixels that
    score lower, float32 [H, W]."""

    sample: Sample
    shares: NDArray[np.float32]


def score_maps_figure(
    judged: Sequence[Judged], score: str, accept: float, colors: Sequence[Color], columns: Columns = 2
) -> Figure:
    """A row for each image: as it is, predicted, its score map, and the prediction of what is accepted."""
    panels = [
        [
            one.sample.image,
            class_map_panel(one.sample.prediction, colors, _WHOLE),
            heat(one.shares),
            greyed(class_map_panel(one.sample.prediction, colors, _WHOLE), one.shares > accept),
        ]
        for one in judged
    ]
    titles = ["Image", "Prediction", f"Score: {score}", f"Accepted ({100 * accept:g} %)"]
    keys = [(told, Patch(facecolor=colormaps[MAP](value))) for told, value in (("low", 0.1), ("high", 0.95))]
    keys.append(("rejected", Patch(facecolor=(0.5, 0.5, 0.5))))
    return laid_out(panels, titles, keys, columns)


def heat(shares: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A score map [H, W] of 0 to 1 in colour, uint8 [H, W, 3]. The upper half of the colours is for the top
    tenth, where thresholds lie."""
    stretched = np.where(shares < 0.9, shares / 0.9 * 0.5, 0.5 + (shares - 0.9) / 0.1 * 0.5)
    coloured: NDArray[np.uint8] = colormaps[MAP](stretched, bytes=True)[..., :3]
    return coloured
