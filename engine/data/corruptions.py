"""Corrupted images as environments that a network has not seen, each at five strengths.

Noise, blur, brightness and JPEG follow the strengths of Hendrycks and Dietterich, "Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations", ICLR 2019, made for images 224 pixels high;
lengths grow with the height of the image, so that a scene is as blurred at every resolution. Fog and
rain-like streaks are our own. What is random is drawn from the image's name, so every run sees the same
images."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

CLEAN = "clean"
"""What an image is called that was left as it is, at strength 0."""

STRENGTHS = (1, 2, 3, 4, 5)

_HEIGHT = 224
_GREY = 0.85
"""Lightness of fog and rain, 0 to 1."""

Floats = NDArray[np.float32]


def corrupt(image: Image.Image, corruption: str, strength: int, name: str) -> Image.Image:
    """The RGB image corrupted; `strength` is 1 to 5, `name` seeds what is random. CLEAN leaves it as it
    is."""
    if corruption == CLEAN:
        return image
    seed = hashlib.sha256(f"{corruption}:{name}".encode("utf-8", "surrogateescape")).digest()
    return CORRUPTIONS[corruption](image, strength - 1, np.random.default_rng(list(seed)))


def _noise(image: Image.Image, level: int, generator: np.random.Generator) -> Image.Image:
    """Gaussian noise, the same pattern at every strength."""
    pixels = _floats(image)
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[level]
    return _image(pixels + deviation * generator.standard_normal(pixels.shape, dtype=np.float32))


def _blur(image: Image.Image, level: int, generator: np.random.Generator) -> Image.Image:
    """A Gaussian blur."""
    return image.filter(ImageFilter.GaussianBlur((1, 2, 3, 4, 6)[level] * image.height / _HEIGHT))


def _fog(image: Image.Image, level: int, generator: np.random.Generator) -> Image.Image:
    """Light grey over the scene, in clouds of several sizes, thicker towards the upper half."""
    size = (image.width, image.height)
    clouds = np.zeros((image.height, image.width), dtype=np.float32)
    for cells in (2, 4, 8, 16):
        grid = generator.random((cells + 1, 2 * cells + 1), dtype=np.float32)
        clouds += np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)) / cells
    clouds = (clouds - clouds.min()) / max(float(np.ptp(clouds)), 1e-6)
    distance = 1 - np.clip(np.linspace(-0.5, 1, image.height, dtype=np.float32), 0, 1)[:, None]
    thick = (0.25, 0.4, 0.55, 0.7, 0.85)[level] * (0.5 + 0.25 * clouds + 0.25 * distance) / 0.9
    share = np.clip(thick, 0, 1)[..., None]
    return _image(_floats(image) * (1 - share) + _GREY * share)


def _rain(image: Image.Image, level: int, generator: np.random.Generator) -> Image.Image:
    """Slanted bright streaks over a slightly darker scene; stronger rain keeps the streaks of a weaker
    one."""
    height, width = image.height, image.width
    count = (100, 200, 400, 700, 1100)[level] * width // (2 * height)
    length, slant = 0.06 * height, generator.uniform(-0.3, 0.3)
    drops = generator.random((max(count, 1), 3))
    streaks = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(streaks)
    for across, down, size in drops:
        x, y, long = across * width, down * height, length * (0.5 + size)
        shade, thickness = int(90 + 110 * size), max(1, round(height / 400 * (0.5 + size)))
        draw.line((x, y, x + slant * long, y + long), fill=shade, width=thickness)
    share = _floats(streaks.filter(ImageFilter.GaussianBlur(height / 800)))[..., None]
    return _image(_floats(image) * (1 - 0.06 * level) * (1 - share) + _GREY * share)


def _brightness(image: Image.Image, level: int, generator: np.random.Generator) -> Image.Image:
    """A higher value in HSV: the largest channel of each pixel rises, the others keep their ratio to it."""
    pixels = _floats(image)
    value = pixels.max(axis=2, keepdims=True)
    higher = np.minimum(value + (0.1, 0.2, 0.3, 0.4, 0.5)[level], 1)
    grey = np.broadcast_to(higher, pixels.shape)
    return _image(np.where(value > 0, pixels / np.maximum(value, 1e-6) * higher, grey))


def _jpeg(image: Image.Image, level: int, generator: np.random.Generator) -> Image.Image:
    """JPEG of low quality, as Pillow counts it."""
    stored = io.BytesIO()
    image.save(stored, format="JPEG", quality=(25, 18, 15, 10, 7)[level])
    return Image.open(stored).convert("RGB")


CORRUPTIONS: dict[str, Callable[[Image.Image, int, np.random.Generator], Image.Image]] = {
    "noise": _noise,
    "blur": _blur,
    "fog": _fog,
    "rain": _rain,
    "brightness": _brightness,
    "jpeg": _jpeg,
}


def _floats(image: Image.Image) -> Floats:
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def _image(pixels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))
