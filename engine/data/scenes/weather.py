"""Time of day, weather and sky, and how the camera is mounted."""

from __future__ import annotations

from math import sqrt

import numpy as np
from PIL import Image

from engine.data.scenes.stage import SOURCE_ID, Camera, Light, between, choose, mix, vary


def draw_weather(rng: np.random.Generator) -> Light:
    """Clear, hazy, overcast, evening or dusk; ambient and direct light, tint and sky go together."""
    weather = choose(
        rng, ("clear", "clear", "clear", "hazy", "hazy", "overcast", "overcast", "evening", "dusk")
    )
    ambient, direct, tint, zenith, haze, height, clouds = {
        "clear": (0.50, 0.70, (1.0, 0.98, 0.94), (74, 122, 188), (188, 206, 222), (0.9, 1.8), (0.0, 0.55)),
        "hazy": (0.68, 0.36, (1.0, 0.99, 0.96), (140, 164, 192), (216, 220, 222), (0.7, 1.6), (0.2, 0.7)),
        "overcast": (0.88, 0.04, (0.97, 0.98, 1.0), (168, 174, 182), (216, 219, 222), (1.0, 2.0), (0.8, 1.0)),
        "evening": (
            0.44,
            0.66,
            (1.08, 0.95, 0.78),
            (104, 124, 168),
            (240, 206, 168),
            (0.35, 0.6),
            (0.1, 0.6),
        ),
        "dusk": (0.78, 0.02, (0.90, 0.92, 1.0), (70, 84, 124), (166, 158, 176), (0.5, 1.0), (0.1, 0.8)),
    }[weather]
    x, z, y = between(rng, -1, 1), between(rng, -1, 1), between(rng, *height)
    length = sqrt(x * x + y * y + z * z)
    return Light(
        sun=(x / length, y / length, z / length),
        ambient=ambient * between(rng, 0.9, 1.1),
        direct=direct * between(rng, 0.8, 1.15),
        tint=tint,
        zenith=vary(rng, zenith, 10),
        haze=vary(rng, haze, 8),
        visibility=between(rng, 220, 900),
        clouds=between(rng, *clouds),
    )


def draw_camera(rng: np.random.Generator, height: int, width: int) -> Camera:
    """A camera behind a windscreen, about 50 degrees wide, that looks down the street or a little aside."""
    return Camera(
        focal=1.08 * min(width, 2.2 * height) * between(rng, 0.9, 1.1),
        vanishing_x=width * between(rng, 0.38, 0.62),
        horizon=height * between(rng, 0.39, 0.46),
        height=between(rng, 1.25, 1.6),
        bend=choose(rng, (0.0, 0.0, 1.0, -1.0)) * between(rng, 0.0002, 0.0012),
    )


def paint_sky(rng: np.random.Generator, light: Light, camera: Camera, height: int, width: int) -> Image.Image:
    """A canvas with the sky above the horizon and haze below, all of it labelled sky."""
    rows, columns = 48, 96
    down = (np.arange(rows, dtype=np.float32) / (rows * np.float32(camera.horizon / height)))[:, None, None]
    down = np.minimum(down, np.float32(1.0))
    zenith, haze = np.asarray(light.zenith, np.float32), np.asarray(light.haze, np.float32)
    sky = (zenith + (haze - zenith) * down * (2 - down)).repeat(columns, 1)
    cover = np.zeros((rows, columns), np.float32)
    for cells, weight in (((4, 5), 0.5), ((8, 12), 0.3), ((20, 32), 0.2)):
        noise = Image.fromarray(rng.integers(0, 256, cells, dtype=np.uint8))
        cover += np.asarray(noise.resize((columns, rows), Image.Resampling.BICUBIC), np.float32) * np.float32(
            weight
        )
    share = np.clip((cover / 255 - np.float32(0.85 - 0.75 * light.clouds)) * 3, 0, 1)[
        :, :, None
    ] * np.float32(0.8)
    bright = np.asarray(mix(light.haze, (255, 255, 255), 0.45), np.float32)
    sky += (bright - sky) * share * (1 - np.float32(0.35) * (cover / 255)[:, :, None])
    sky *= np.asarray(light.tint, np.float32)
    picture = Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8))
    canvas = picture.resize((width, height), Image.Resampling.BICUBIC).convert("RGBA")
    canvas.putalpha(SOURCE_ID["sky"])
    return canvas
