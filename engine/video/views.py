"""What is shown of a frame and its class map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from engine.data.class_map_files import OVERLAY_SHARE

VIEWS = ("overlay", "classes", "side-by-side")
"""Colours over the frame, colours alone, the frame beside the overlay."""

Pixels = NDArray[np.uint8]


class Painter:
    """Makes views; `colors` are those of the classes, "#rrggbb"."""

    def __init__(self, view: str, colors: Sequence[str]) -> None:
        self._view = view
        self._colors = np.array([ImageColor.getrgb(color)[:3] for color in colors], dtype=np.uint8)

    def paint(self, frame: Pixels, classes: Pixels) -> Pixels:
        """Uint8 [H, W, 3], or [H, 2 * W, 3] side by side, of a frame uint8 [H, W, 3] and its train ids."""
        color = self._colors[classes]
        if self._view == "classes":
            return color
        blended = Image.blend(Image.fromarray(frame), Image.fromarray(color), OVERLAY_SHARE)
        overlay = np.asarray(blended)
        return np.concatenate([frame, overlay], axis=1) if self._view == "side-by-side" else overlay
