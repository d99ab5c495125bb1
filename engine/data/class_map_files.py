"""Class maps of images as files: ids, colours, and colours over the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from engine.data.catalog import DataError
from engine.run.files import replacing, sweep_temporaries
from engine.run.prediction_files import PRODUCTS

OVERLAY_SHARE = 0.5
"""Of the classes' colours in an overlay; the rest is the image."""


@dataclass(frozen=True)
class ClassMapWriter:
    """Where predictions go, and how classes become pixels: a value and a colour for each train id."""

    out: Path
    values: NDArray[np.uint8]
    colors: NDArray[np.uint8]

    @classmethod
    def of(cls, out: Path, values: Sequence[int], colors: Sequence[str]) -> ClassMapWriter:
        """Makes the folders, which are swept of what a killed attempt left half-written."""
        for product in PRODUCTS:
            (out / product).mkdir(parents=True, exist_ok=True)
            sweep_temporaries(out / product)
        rgb = np.array([ImageColor.getrgb(color)[:3] for color in colors], dtype=np.uint8)
        return cls(out, np.array(values, dtype=np.uint8), rgb)

    def has(self, name: str) -> bool:
        return all((self.out / product / name).exists() for product in PRODUCTS)

    def make_room(self, names: Sequence[str], overwrite: bool) -> None:
        """Remove predictions of an earlier run. Raises DataError where there are some and none may go."""
        for path in (self.out / product / name for name in names for product in PRODUCTS):
            if path.exists() and not overwrite:
                raise DataError(f"{path}: already exists; use another --out or add --overwrite")
            path.unlink(missing_ok=True)

    def write(self, name: str, image: Image.Image, classes: NDArray[np.uint8]) -> None:
        """All products of one image; `classes` are its train ids, uint8 [H, W]. Raises DataError."""
        color = Image.fromarray(self.colors[classes])
        self._save("ids", name, Image.fromarray(self.values[classes]))
        self._save("color", name, color)
        self._save("overlay", name, Image.blend(image, color, OVERLAY_SHARE))

    def _save(self, product: str, name: str, picture: Image.Image) -> None:
        path = self.out / product / name
        try:
            with replacing(path) as stream:
                picture.save(stream, format="PNG", compress_level=1)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
