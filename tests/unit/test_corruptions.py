"""Corrupted images: the same each time, the stronger the farther, and at their own size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engine.data.corruptions import CLEAN, CORRUPTIONS, STRENGTHS, corrupt


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """A gradient with some structure, 60x90."""
    rows, columns = np.mgrid[0:60, 0:90]
    pixels = np.stack([rows * 3, columns * 2, 40 + 60 * ((rows // 6 + columns // 9) % 2)], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_stronger_corruption_is_farther_from_the_image(corruption: str, image: Image.Image) -> None:
    before = np.asarray(image, dtype=np.float64)
    distances = []
    for strength in STRENGTHS:
        changed = corrupt(image, corruption, strength, "street/a")
        assert (changed.size, changed.mode) == (image.size, "RGB")
        distances.append(float(np.abs(np.asarray(changed, dtype=np.float64) - before).mean()))
    assert distances[0] > 0
    assert distances == sorted(distances)


@pytest.mark.parametrize("corruption", ["noise", "fog", "rain"])
def test_what_is_random_depends_on_the_name_alone(corruption: str, image: Image.Image) -> None:
    one, again, other = (np.asarray(corrupt(image, corruption, 3, name)) for name in ("a", "a", "b"))
    assert (one == again).all()
    assert (one != other).any()


def test_a_clean_image_is_left_as_it_is(image: Image.Image) -> None:
    assert corrupt(image, CLEAN, 0, "a") is image


def test_blur_grows_with_the_image(image: Image.Image) -> None:
    small = np.asarray(corrupt(image, "blur", 3, "a"), dtype=np.float64)
    large = corrupt(image.resize((360, 240), Image.Resampling.NEAREST), "blur", 3, "a").resize(image.size)
    assert np.abs(np.asarray(large, dtype=np.float64) - small).mean() < 4


def test_black_gets_brighter_without_a_colour() -> None:
    black = Image.new("RGB", (4, 4))
    assert set(np.asarray(corrupt(black, "brightness", 1, "a")).ravel()) == {26}
