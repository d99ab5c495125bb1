"""Worlds that a street can be drawn in: by day, at night, in rain, fog and snow, and another city.

The street of a seed and number is the same in all but the last, as no style draws from the streams that say
what stands where: their labels are equal to the pixel. What falls through the air or lies on the ground
changes the image alone: a road under snow is road.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from engine.data.scenes.ground import SIDES, CrossSection
from engine.data.scenes.stage import SOURCE_ID, SUPERSAMPLING, Camera, Color, Light, Palette, Stage, between

DEFAULT = Palette()

Pixels = NDArray[np.floating]
Labels = NDArray[np.uint8]


def _same_picture(rng: np.random.Generator, picture: Pixels, labels: Labels, stage: Stage) -> Pixels:
    return picture


@dataclass(frozen=True)
class Style:
    """How a world differs from that of a day. `light` makes its light of a day's, `touch` its image
    [H, W, 3], 0 to 255, of what was painted; `lamps` says whether lamps and windows shine."""

    about: str
    light: Callable[[Light, np.random.Generator], Light] = lambda light, rng: light
    camera: Callable[[Camera], Camera] = lambda camera: camera
    road: Callable[[CrossSection], CrossSection] = lambda road: road
    palette: Palette = DEFAULT
    taller: float = 1.0
    """Houses over those of the other styles."""
    lamps: bool = False
    touch: Callable[[np.random.Generator, Pixels, Labels, Stage], Pixels] = _same_picture


# --- light ----------------------------------------------------------------------------------------


def _night_light(light: Light, rng: np.random.Generator) -> Light:
    return replace(
        light,
        ambient=between(rng, 0.16, 0.24),
        direct=0.0,
        tint=(0.86, 0.9, 1.06),
        zenith=(7, 9, 20),
        haze=(24, 25, 34),
        visibility=between(rng, 150, 400),
        clouds=0.0,
    )


def _rain_light(light: Light, rng: np.random.Generator) -> Light:
    return replace(
        light,
        ambient=between(rng, 0.5, 0.64),
        direct=0.0,
        tint=(0.93, 0.97, 1.0),
        zenith=(112, 118, 127),
        haze=(158, 164, 170),
        visibility=between(rng, 90, 200),
        clouds=1.0,
    )


def _fog_light(light: Light, rng: np.random.Generator) -> Light:
    grey = int(between(rng, 186, 212))
    return replace(
        light,
        ambient=between(rng, 0.74, 0.86),
        direct=0.0,
        tint=(0.97, 0.99, 1.0),
        zenith=(grey, grey + 2, grey + 4),
        haze=(grey, grey + 2, grey + 4),
        visibility=between(rng, 12, 40),
        clouds=0.0,
    )


def _snow_light(light: Light, rng: np.random.Generator) -> Light:
    return replace(
        light,
        ambient=between(rng, 0.84, 0.94),
        direct=0.0,
        tint=(0.97, 0.99, 1.03),
        zenith=(184, 189, 197),
        haze=(214, 218, 223),
        visibility=between(rng, 80, 200),
        clouds=1.0,
    )


# --- what is done to the image --------------------------------------------------------------------


def _night(rng: np.random.Generator, picture: Pixels, labels: Labels, stage: Stage) -> Pixels:
    """Lamps light what is below them, the car's own what is ahead; all of them glow; the sensor is noisy."""
    height, width = labels.shape
    camera = stage.camera
    horizon, middle = camera.horizon / SUPERSAMPLING, camera.vanishing_x / SUPERSAMPLING
    down = (np.arange(height, dtype=np.float32)[:, None] - horizon) / (height - horizon)
    across = (np.arange(width, dtype=np.float32)[None, :] - middle) / width
    spread = 0.14 + 0.4 * np.clip(down, 0, 1)
    beam = _bell(across / spread) * _bell((down - 0.3) / 0.32)
    pools = _shrunk(stage.pools, 0.01 * height, height, width)
    lit = np.float32(4.2) * beam + np.float32(3.4) * pools
    lit[labels == SOURCE_ID["sky"]] = 0
    warm = np.asarray((1.0, 0.9, 0.72), np.float32)
    lighter = picture * (1 + lit[..., None] * warm) + stage_glow(stage, height, width)
    # Two even distributions, as in the lens: the same on every machine.
    noise = rng.integers(-128, 128, (2, height, width, 3), dtype=np.int8).astype(np.int16).sum(axis=0)
    return _clipped(lighter + np.float32(0.045) * noise, 255)


def _rain(rng: np.random.Generator, picture: Pixels, labels: Labels, stage: Stage) -> Pixels:
    """A wet road that mirrors what stands on it, the glow of lamps, and streaks of falling drops."""
    height, width = labels.shape
    horizon = int(stage.camera.horizon / SUPERSAMPLING)
    picture = picture + stage_glow(stage, height, width)
    rows = np.clip(2 * horizon - np.arange(height), 0, height - 1)
    soft = Image.fromarray(np.clip(picture[rows], 0, 255).astype(np.uint8))
    mirrored = soft.filter(ImageFilter.BoxBlur((height / 70, height / 24)))
    puddles = _patches(rng, height, width, (6, 3), stretched=True)
    wet = np.isin(labels, [SOURCE_ID[name] for name in ("road", "parking", "sidewalk", "ground")])
    share = np.where(wet, 0.28 + 0.34 * puddles, 0).astype(np.float32)[..., None]
    picture = picture * (1 - 0.25 * wet[..., None]) * (1 - share) + np.asarray(mirrored, np.float32) * share
    drops = _streaks(rng, height, width, count=height * width // 900, length=0.07)
    return picture * (1 - drops) + np.float32(196) * drops


def _fog(rng: np.random.Generator, picture: Pixels, labels: Labels, stage: Stage) -> Pixels:
    """Lamps glow in it, and it is thicker in some places than in others."""
    height, width = labels.shape
    share = (0.12 * _patches(rng, height, width, (3, 5)))[..., None]
    picture = picture + stage_glow(stage, height, width)
    return picture * (1 - share) + np.asarray(stage.light.haze, np.float32) * share


_COVER = {
    "terrain": 0.95, "ground": 0.9, "sidewalk": 0.8, "parking": 0.75, "road": 0.62, "vegetation": 0.4,
    "wall": 0.12, "fence": 0.18, "guard rail": 0.2, "car": 0.16, "bus": 0.1, "truck": 0.1, "building": 0.06,
    "static": 0.25,
}  # fmt: skip
"""How white snow makes a class."""


def _snow(rng: np.random.Generator, picture: Pixels, labels: Labels, stage: Stage) -> Pixels:
    """Snow on the ground, thinner where wheels have been, on trees and a little on all else; flakes."""
    height, width = labels.shape
    cover = np.zeros(256, np.float32)
    for name, share in _COVER.items():
        cover[SOURCE_ID[name]] = share
    wide, fine = _patches(rng, height, width, (3, 5), stretched=True), _patches(rng, height, width, (48, 90))
    patches = 0.7 * wide + 0.3 * fine
    on_road = _wheel_tracks(stage, height, width) * (labels == SOURCE_ID["road"])
    covered = _clipped(cover[labels] * (0.85 + 0.35 * patches), 1) * (1 - 0.75 * on_road)
    white = np.asarray((236, 240, 247), np.float32) * (0.92 + 0.08 * patches[..., None])
    picture = picture * (1 - covered[..., None]) + white * covered[..., None]
    flakes = _flakes(rng, height, width)
    return picture * (1 - flakes) + np.float32(246) * flakes


def stage_glow(stage: Stage, height: int, width: int) -> Pixels:
    """The light of lamps in the lens and in the air, [H, W, 3], 0 to 255."""
    near, far = (_shrunk(stage.glow, radius * height, height, width) for radius in (0.006, 0.03))
    return _clipped(170 * near + 190 * far, 255)


def _shrunk(canvas: Image.Image, blur: float, height: int, width: int) -> Pixels:
    """A canvas at the size of the picture, blurred, from 0 to 1."""
    small = canvas.resize((width, height), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(small, np.float32) / 255


def _patches(
    rng: np.random.Generator, height: int, width: int, cells: tuple[int, int], stretched: bool = False
) -> Pixels:
    """Soft patches from 0 to 1; `stretched`: wider than they are high, as on the ground."""
    down, across = cells if not stretched else (cells[0] * 4, cells[1])
    noise = Image.fromarray(rng.integers(0, 256, (down, across), dtype=np.uint8))
    field = np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255
    return _clipped((field - 0.35) * 2.2, 1)


def _streaks(rng: np.random.Generator, height: int, width: int, count: int, length: float) -> Pixels:
    """Falling drops, [H, W, 1], 0 to 1; near ones are longer and fainter."""
    layer = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(layer)
    slant = between(rng, -0.25, 0.25)
    for across, down, size, shade in rng.random((max(count, 20), 4)).tolist():
        x, y, long = across * width, down * height * 1.1 - 0.1 * height, length * height * (0.35 + size)
        draw.line((x, y, x + slant * long, y + long), fill=int(55 + 80 * shade), width=max(1, height // 500))
    soft = layer.filter(ImageFilter.GaussianBlur(height / 900))
    return (np.asarray(soft, np.float32) / 255)[..., None]


def _flakes(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Falling snow, [H, W, 1], 0 to 1; few flakes are near and large."""
    layer = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(layer)
    for across, down, size, shade in rng.random((max(60, height * width // 420), 4)).tolist():
        x, y, radius = (
            across * width,
            down * height,
            height * (0.0012 + 0.007 * (size * size * size) * (size * size * size)),
        )
        stretch = radius * (1 + 0.8 * shade)
        draw.ellipse((x - radius, y - stretch, x + radius, y + stretch), fill=int(130 + 110 * shade))
    return (np.asarray(layer.filter(ImageFilter.GaussianBlur(height / 700)), np.float32) / 255)[..., None]


def _wheel_tracks(stage: Stage, height: int, width: int) -> Pixels:
    """Where wheels of both lanes roll, [H, W], 0 to 1: on the ground at x metres beside the camera."""
    camera = stage.camera
    horizon, focal = camera.horizon / SUPERSAMPLING, camera.focal / SUPERSAMPLING
    middle = camera.vanishing_x / SUPERSAMPLING
    below = np.maximum(np.arange(height, dtype=np.float32)[:, None] + 0.5 - horizon, 0.5)
    z = camera.height * focal / below
    x = (np.arange(width, dtype=np.float32)[None, :] - middle) * z / focal - camera.bend * z * z
    tracks: Pixels = np.zeros((height, width), np.float32)
    for at in (-0.8, 0.8, -4.2, -2.6):
        tracks = np.maximum(tracks, _bell((x - at) / 0.36))
    on_ground: Pixels = tracks * (below > 1)
    return on_ground


def _bell(x: Pixels) -> Pixels:
    """1 at 0 and nearly 0 from 2 on; like all else here of operations that every machine rounds alike."""
    slope = 1 / (1 + x * x)
    return slope * slope


def _clipped(values: Pixels, most: float) -> Pixels:
    clipped: Pixels = np.clip(values, 0, most)
    return clipped


# --- another city ---------------------------------------------------------------------------------


def _higher_camera(camera: Camera) -> Camera:
    """On a van, with a wider lens that looks down a little more."""
    return replace(
        camera, focal=camera.focal * 0.82, height=camera.height + 0.75, horizon=camera.horizon * 0.9
    )


def _narrower_street(road: CrossSection) -> CrossSection:
    """Lanes as they are, narrow pavements, no grass, cars parked on both sides of a street in town."""
    parking = dict.fromkeys(SIDES, road.style != "open")
    spare = {side: 2.2 if parking[side] and not road.parking[side] else 0.0 for side in SIDES}
    return replace(
        road,
        left=road.left - spare[-1.0],
        right=road.right + spare[1.0],
        parking=parking,
        sidewalk={side: 0.55 * road.sidewalk[side] for side in SIDES},
        verge=dict.fromkeys(SIDES, 0.0),
    )


_OTHER_FACADES: tuple[Color, ...] = (
    (226, 128, 96), (238, 200, 96), (112, 160, 168), (214, 108, 124), (244, 238, 222), (150, 182, 132),
    (92, 112, 150), (70, 78, 90), (232, 164, 72), (188, 196, 204),
)  # fmt: skip
_OTHER_LEAVES: tuple[Color, ...] = (
    (150, 142, 52),
    (176, 120, 44),
    (110, 128, 76),
    (160, 96, 52),
    (96, 112, 88),
)
_OTHER_PAINTS: tuple[Color, ...] = (
    (240, 196, 24), (240, 196, 24), (240, 240, 238), (26, 110, 84), (210, 210, 206), (196, 60, 28),
    (84, 170, 200), (36, 36, 40), (150, 60, 120), (230, 230, 228),
)  # fmt: skip

_OTHER_CITY = Palette(
    facades=_OTHER_FACADES,
    leaves=_OTHER_LEAVES,
    paints=_OTHER_PAINTS,
    grass=((158, 146, 92), (140, 126, 78), (150, 152, 84)),
    paving=((190, 140, 112), (176, 122, 100), (204, 190, 160)),
    asphalt=((132, 122, 112), (146, 136, 122), (118, 112, 108)),
    markings=((244, 200, 40), (244, 200, 40), (236, 236, 230)),
)

STYLES = {
    "day": Style("clear, hazy, overcast, evening or dusk; a European town"),
    "night": Style("dark, with lit windows and lamps", _night_light, lamps=True, touch=_night),
    "rain": Style("dark clouds, a wet road that mirrors, drops", _rain_light, lamps=True, touch=_rain),
    "fog": Style("half of a colour is gone after 12 to 40 metres", _fog_light, lamps=True, touch=_fog),
    "snow": Style("snow on the ground and on trees, flakes", _snow_light, touch=_snow),
    "other-city": Style(
        "tall, colourful houses, narrow pavements, other cars and trees, seen from a van",
        camera=_higher_camera,
        road=_narrower_street,
        palette=_OTHER_CITY,
        taller=2.1,
    ),
}
"""By the name that `seg-engine data synthesize --style` takes."""

DAY = "day"
