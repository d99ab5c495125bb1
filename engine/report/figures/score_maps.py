"""Score maps for a paper: image, prediction, how far out the score says each pixel is, and what is
rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from engine.report.figures.samples import laid_out, share_of
from engine.report.figures.style import FAINT, Columns
from engine.report.gallery import Sample
from engine.report.score_maps import RAMP, REJECTED, greyed, heat
from engine.report.triptych import Color, class_map_panel

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
    ends = (("low", RAMP[0]), ("high", RAMP[-1]))
    keys = [(told, Patch(facecolor=share_of(color), edgecolor=FAINT, lw=0.3)) for told, color in ends]
    keys.append(("rejected", Patch(facecolor=share_of((REJECTED, REJECTED, REJECTED)))))
    return laid_out(panels, titles, keys, columns)
