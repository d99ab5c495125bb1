"""From canvas to picture: downsampling, texture, blur, vignette, exposure and sensor noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from engine.data.scenes.stage import SOURCE_ID, SUPERSAMPLING, Stage, between

TEXTURE = {
    "vegetation": 150,
    "terrain": 110,
    "building": 22,
    "wall": 50,
    "fence": 30,
    "sidewalk": 16,
    "road": 12,
}
"""Strength of the mottle that stays put on the picture, in 1/256 of the brightness."""

GRAVEL = {"road": 46, "sidewalk": 70, "terrain": 90, "parking": 60, "ground": 80}
"""Strength of the mottle that lies on the ground, in 1/256 of the brightness."""


@cache
def _mottle() -> NDArray[np.uint8]:
    """A 512 x 512 tile of noise at several scales that repeats without a seam, mean 128."""
    rng = np.random.Generator(np.random.PCG64(1))
    total = np.zeros((512, 512), np.int32)
    for cell, weight in ((1, 3), (2, 3), (4, 3), (8, 2), (32, 1), (64, 1)):
        noise = rng.integers(-128, 128, (512 // cell, 512 // cell), dtype=np.int32)
        noise = noise.repeat(cell, 0).repeat(cell, 1)
        step = cell // 2
        if step:  # soften the squares
            noise = (
                noise
                + np.roll(noise, step, 0)
                + np.roll(noise, step, 1)
                + np.roll(noise, (step, step), (0, 1))
            ) // 4
        total += noise * weight
    return np.clip(128 + total // 8, 0, 255).astype(np.uint8)


def _strengths(table: dict[str, int]) -> NDArray[np.float32]:
    lookup = np.zeros(256, np.float32)
    for name, strength in table.items():
        lookup[SOURCE_ID[name]] = strength / (256 * 128)
    return lookup


def develop(
    stage: Stage,
    height: int,
    width: int,
    rng: np.random.Generator,
    touch: Callable[[NDArray[np.floating], NDArray[np.uint8], Stage], NDArray[np.floating]],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """From canvas to picture: downsampling, texture, what a style does with it (`touch`), lens blur,
    vignette, exposure, sensor noise."""
    labels = _majority(np.asarray(stage.canvas.getchannel("A")))
    small = np.asarray(stage.canvas.convert("RGB").reduce(SUPERSAMPLING))

    mottle = np.roll(_mottle(), tuple(rng.integers(0, 512, 2).tolist()), (0, 1))
    # The tile is stretched with the picture, so that leaves do not shrink in a larger one.
    stretch = max(1, height // 256)
    tile = np.tile(mottle, (height // (512 * stretch) + 1, width // (512 * stretch) + 1))
    tile = tile[: -(-height // stretch), : -(-width // stretch)]
    leaves = Image.fromarray(tile)
    if stretch > 1:
        leaves = leaves.resize((tile.shape[1] * stretch, tile.shape[0] * stretch), Image.Resampling.BILINEAR)
    texture = (np.asarray(leaves, np.float32)[:height, :width] - 128) * _strengths(TEXTURE)[labels]
    texture += (_gravel(stage, mottle, height, width) - 128) * _strengths(GRAVEL)[labels]
    picture: NDArray[np.floating] = touch(small * (1 + texture)[:, :, None], labels, stage)

    blur = between(rng, 0.25, 0.7) * max(1.0, height / 512)
    soft = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(blur))
    picture = np.asarray(soft, np.float32)

    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    darker = np.float32(between(rng, 0.03, 0.14))
    balance = [between(rng, 0.95, 1.05) for _ in range(3)]
    exposure = between(rng, 1.0, 1.3)
    gain = np.asarray([exposure * channel for channel in balance], np.float32)
    picture = picture * (1 - darker * (down * down + across * across)) * gain

    strength = between(rng, 0.01, 0.035)
    noise = rng.integers(-128, 128, (2, height, width, 3), dtype=np.int8)
    # Two even distributions add up to nearly a bell, without a logarithm. More light, more noise.
    grain = (noise[0].astype(np.int16) + noise[1]) * np.float32(strength)
    picture += grain * (np.float32(0.6) + picture * np.float32(1 / 256))
    return np.clip(picture, 0, 255).astype(np.uint8), labels


def _gravel(stage: Stage, mottle: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """The mottle laid on the ground in perspective, 128 above the horizon."""
    camera = stage.camera
    horizon, focal = camera.horizon / SUPERSAMPLING, camera.focal / SUPERSAMPLING
    vanishing_x = camera.vanishing_x / SUPERSAMPLING
    texels, middle = 14.0, 256.0  # texels a metre; tile column below the camera
    first = int(horizon) + 2
    field = np.full((height, width), 128, np.float32)
    if first >= height:
        return field
    # Pixel (u, v) below the horizon at v0 sees the ground at x = camera height * (u - u0) / (v - v0) and
    # z = camera height * focal / (v - v0). Pillow wants both over one denominator whose constant is 1.
    lift = first - horizon
    scale = texels * camera.height / lift
    coefficients = (
        scale, middle / lift, middle - scale * vanishing_x,
        0.0, 0.0, scale * focal,
        0.0, 1.0 / lift,
    )  # fmt: skip
    tile = Image.fromarray(np.tile(mottle, (2, 1)))
    flat = tile.transform(
        (width, height - first),
        Image.Transform.PERSPECTIVE,
        coefficients,
        Image.Resampling.BILINEAR,
        fillcolor=128,
    )
    field[first:] = np.asarray(flat)
    return field


def _majority(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The most frequent value of every 2 x 2 pixels."""
    a, b, c, d = labels[::2, ::2], labels[::2, 1::2], labels[1::2, ::2], labels[1::2, 1::2]
    return np.where((b == c) | (b == d), b, np.where(c == d, c, a))
