"""Where the predictions of an image lie, and what they are called."""

from __future__ import annotations

from pathlib import Path

PRODUCTS = ("ids", "color", "overlay")
"""Folders of what is made of an image. One each, because the Cityscapes scorer takes every PNG below a folder
whose name begins as the image's for its prediction."""

CITYSCAPES_ENDING = "_leftImg8bit"


def output_name(image: Path, naming: str) -> str:
    """The file name of an image's predictions, the same in every product's folder.

    "cityscapes": as its server wants it, `<city>_<sequence>_<frame>*.png`; "plain": as the image is called.
    """
    if naming == "cityscapes":
        return f"{image.stem.removesuffix(CITYSCAPES_ENDING)}_pred.png"
    return f"{image.stem}.png"
