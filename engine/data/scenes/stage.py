"""Camera, light and canvas: what every painter of a street scene draws with.

World coordinates are metres: x to the right, y up from the road, z forward from the camera.
Colours are red, green, blue from 0 to 255 as seen in full white light.

Image and labels come from one RGBA canvas whose fourth channel holds the source id, so that one
stroke paints both and they cannot disagree. The canvas is twice the size of the picture; the
finished image is the mean of 2 x 2 canvas pixels, the label their majority.

Only +, -, *, / and sqrt touch the geometry: IEEE 754 rounds those the same everywhere, while sine
and power differ in the last bit between C libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from engine.classes import CITYSCAPES

SOURCE_ID = {c.name: c.ids[0] for c in CITYSCAPES.classes} | {
    "ego vehicle": 1,
    "static": 4,
    "dynamic": 5,
    "ground": 6,
    "parking": 9,
    "guard rail": 14,
}
"""Names of the Cityscapes table that the scenes use, void classes included, with their source ids."""

SUPERSAMPLING = 2
"""Canvas pixels a picture pixel, along each side."""

NEAR = 0.9
"""Metres: nothing is drawn closer to the camera than this."""

Color = tuple[int, int, int]
Point = tuple[float, float, float]
Face = tuple[Point, Point, Point, Point]
"""A flat four-cornered patch, seen from outside: bottom left, bottom right, top right, top left."""

CIRCLE = tuple(
    (x * sign, y * sign)
    for sign in (1.0, -1.0)
    for x, y in (
        (1.0, 0.0), (0.924, 0.383), (0.707, 0.707), (0.383, 0.924),
        (0.0, 1.0), (-0.383, 0.924), (-0.707, 0.707), (-0.924, 0.383),
    )
)  # fmt: skip
"""Sixteen points on the unit circle."""

Option = TypeVar("Option")


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number drawn evenly from [low, high)."""
    return low + (high - low) * float(rng.random())


def choose(rng: np.random.Generator, options: Sequence[Option]) -> Option:
    """One of the options, each as likely; name an option twice to have it twice as often."""
    return options[int(rng.random() * len(options))]


def vary(rng: np.random.Generator, color: Color, spread: float) -> Color:
    """The colour made up to `spread` lighter or darker, and each channel changed a little."""
    tone = between(rng, -spread, spread)
    red, green, blue = (int(c + tone + between(rng, -spread, spread) * 0.3) for c in color)
    return red, green, blue


def mix(first: Color, second: Color, share: float) -> Color:
    """The first colour with `share` (0 to 1) of it replaced by the second."""
    red, green, blue = (int(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


@dataclass(frozen=True)
class Light:
    """Time of day and weather."""

    sun: Point  # unit vector towards the sun
    ambient: float  # light on a surface turned away from the sun, where 1.0 is fully lit
    direct: float  # what full sun adds to it
    tint: tuple[float, float, float]  # colour of the light
    zenith: Color  # of the sky
    haze: Color  # of the sky at the horizon; distance fades into it
    visibility: float  # metres at which half of a colour is haze
    clouds: float  # share of the sky, 0 to 1


@dataclass(frozen=True)
class Palette:
    """What things are painted in; of each, one of several colours is drawn."""

    facades: tuple[Color, ...] = (
        (196, 180, 150), (206, 192, 170), (168, 160, 148), (148, 144, 140), (182, 150, 112), (150, 92, 72),
        (128, 74, 58), (216, 212, 202), (204, 178, 120), (122, 118, 112), (176, 186, 188), (186, 156, 140),
    )  # fmt: skip
    leaves: tuple[Color, ...] = (
        (62, 88, 38), (74, 98, 44), (54, 80, 42), (88, 104, 50), (100, 108, 46), (70, 84, 34), (120, 104, 48),
    )  # fmt: skip
    paints: tuple[Color, ...] = (
        (26, 27, 30), (48, 50, 54), (92, 95, 100), (150, 153, 157), (205, 207, 208), (232, 232, 230),
        (28, 40, 82), (20, 74, 120), (128, 22, 24), (168, 40, 32), (62, 58, 46), (34, 66, 52), (190, 158, 60),
    )  # fmt: skip
    grass: tuple[Color, ...] = ((96, 116, 58), (112, 118, 64), (84, 104, 54), (128, 116, 76))
    paving: tuple[Color, ...] = ((150, 144, 138), (134, 132, 130), (160, 148, 136), (146, 128, 120))
    asphalt: tuple[Color, ...] = ((96, 96, 98), (84, 85, 88), (110, 108, 106), (122, 118, 114))
    markings: tuple[Color, ...] = ((236, 236, 230), (236, 236, 230), (232, 206, 110))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in a car, in canvas pixels."""

    focal: float
    vanishing_x: float
    horizon: float
    height: float  # metres above the road
    bend: float  # sideways metres a squared metre of distance: the street curves

    def project(self, point: Point) -> tuple[float, float]:
        """Canvas column and row of a world point; points behind the camera are moved to `NEAR`."""
        x, y, z = point
        if z < NEAR:
            z = NEAR
        scale = self.focal / z
        return self.vanishing_x + (x + self.bend * z * z) * scale, self.horizon + (self.height - y) * scale

    def pixels(self, metres: float, z: float) -> float:
        """Canvas pixels that a length covers at a distance, when it faces the camera."""
        return metres * self.focal / max(z, NEAR)


class Stage:
    """A canvas with a camera and a light, and the strokes that painters use."""

    def __init__(
        self,
        canvas: Image.Image,
        camera: Camera,
        light: Light,
        rng: np.random.Generator,
        palette: Palette | None = None,
        lamp_rng: np.random.Generator | None = None,
    ) -> None:
        """With a `lamp_rng`, which says which windows are lit, lamps shine."""
        self.palette = palette or Palette()
        self.lamp_rng = lamp_rng
        # What glows, and where light falls on the ground; a pixel each where no lamp shines.
        size = canvas.size if lamp_rng is not None else (1, 1)
        self.glow, self.pools = Image.new("RGB", size), Image.new("L", size)
        self.canvas = canvas
        self.camera = camera
        self.light = light
        self.rng = rng
        self.draw = ImageDraw.Draw(canvas)
        self.shadow = Image.new("L", canvas.size, 0)
        self._shadow_draw = ImageDraw.Draw(self.shadow)

    def shade(self, color: Color, light: float, z: float) -> Color:
        """The colour as it arrives at the camera: lit by `light` (1.0 is full), faded by distance."""
        haze = z / (z + self.light.visibility)
        red, green, blue = (
            min(255, max(0, int(c * light * tint * (1.0 - haze) + far * haze)))
            for c, tint, far in zip(color, self.light.tint, self.light.haze, strict=True)
        )
        return red, green, blue

    def brightness(self, face: Face) -> float:
        """Light that a face gets from sun and sky (Lambert), where 1.0 is fully lit."""
        (ax, ay, az), (bx, by, bz), _, (dx, dy, dz) = face
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, dx - ax, dy - ay, dz - az
        nx, ny, nz = uz * vy - uy * vz, ux * vz - uz * vx, uy * vx - ux * vy
        length = sqrt(nx * nx + ny * ny + nz * nz) or 1.0
        sun_x, sun_y, sun_z = self.light.sun
        facing = (nx * sun_x + ny * sun_y + nz * sun_z) / length
        sky = 0.85 + 0.15 * ny / length  # surfaces that look up see more of the sky
        return self.light.ambient * sky + self.light.direct * max(0.0, facing)

    def fill(self, points: Iterable[Point], color: Color, label: str, light: float = 1.0) -> None:
        """Paint a flat polygon of world points."""
        corners = list(points)
        z = max(NEAR, sum(p[2] for p in corners) / len(corners))
        red, green, blue = self.shade(color, light, z)
        self.draw.polygon([self.camera.project(p) for p in corners], (red, green, blue, SOURCE_ID[label]))

    def face(self, face: Face, color: Color, label: str) -> float | None:
        """Paint a face if its outside is turned to the camera; return its brightness, None if unseen."""
        corners = [self.camera.project(p) for p in face]
        area = 0.0
        for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
            area += ax * by - bx * ay
        if area >= 0.0:
            return None
        light = self.brightness(face)
        z = max(NEAR, (face[0][2] + face[1][2]) / 2)
        red, green, blue = self.shade(color, light, z)
        self.draw.polygon(corners, (red, green, blue, SOURCE_ID[label]))
        return light

    def shine(self, face: Face, color: Color, label: str, glow: float = 0.5) -> None:
        """Paint a face that gives light, where lamps do, and let it glow; `glow` is its share, 0 to 1."""
        corners = [self.camera.project(p) for p in face]
        if self.lamp_rng is None or self.face(face, color, label) is None:
            return
        z = max(NEAR, (face[0][2] + face[1][2]) / 2)
        red, green, blue = self.shade(color, 1.1, z)
        self.draw.polygon(corners, (red, green, blue, SOURCE_ID[label]))
        faded = self.light.visibility / (self.light.visibility + z)
        red, green, blue = (int(c * glow * faded) for c in color)
        ImageDraw.Draw(self.glow).polygon(corners, (red, green, blue))

    def lantern(self, x: float, y: float, z: float, color: Color) -> None:
        """The light of a lamp at a place, and the pool of it on the ground, where lamps shine."""
        if self.lamp_rng is None:
            return
        u, v = self.camera.project((x, y, z))
        radius = max(1.0, self.camera.pixels(0.3, z))
        faded = self.light.visibility / (self.light.visibility + z)
        red, green, blue = (int(c * faded) for c in color)
        ImageDraw.Draw(self.glow).ellipse(
            (u - radius, v - radius, u + radius, v + radius), (red, green, blue)
        )
        ring = [self.camera.project((x + 4.5 * a, 0.0, z + 4.5 * b)) for a, b in CIRCLE]
        ImageDraw.Draw(self.pools).polygon(ring, 170)

    def board(
        self,
        x: float,
        z: float,
        points: Iterable[tuple[float, float]],
        color: Color,
        label: str,
        light: float,
    ) -> None:
        """Paint a polygon that faces the camera: points are (sideways from x, up from the road) in metres."""
        self.fill([(x + a, y, z) for a, y in points], color, label, light)

    def disc(
        self, x: float, y: float, z: float, radius: float, color: Color, label: str, light: float
    ) -> None:
        """Paint a disc that faces the camera."""
        self.fill([(x + radius * a, y + radius * b, z) for a, b in CIRCLE], color, label, light)

    def cast_shadow(self, footprint: Sequence[tuple[float, float]], base: float, top: float) -> None:
        """Add to the road the shadow of an upright prism with this (x, z) footprint, in metres."""
        if self.light.direct < 0.1:
            return
        sun_x, sun_y, sun_z = self.light.sun
        low = [(x - sun_x / sun_y * base, z - sun_z / sun_y * base) for x, z in footprint]
        high = [(x - sun_x / sun_y * top, z - sun_z / sun_y * top) for x, z in footprint]
        self._darken(low)
        self._darken(high)
        for i in range(len(low)):
            self._darken((low[i - 1], low[i], high[i], high[i - 1]))

    def contact_shadow(self, footprint: Sequence[tuple[float, float]]) -> None:
        """Darken the road under a thing, as it is even without sun."""
        self._darken(footprint)

    def _darken(self, footprint: Sequence[tuple[float, float]]) -> None:
        if max(z for _, z in footprint) > NEAR:
            self._shadow_draw.polygon([self.camera.project((x, 0.0, z)) for x, z in footprint], 255)

    def lay_shadows(self) -> None:
        """Put the collected shadows on what has been painted so far, which should be the ground."""
        share = 0.3 + 0.45 * self.light.direct / (self.light.direct + self.light.ambient)
        soft = self.shadow.filter(ImageFilter.BoxBlur(self.canvas.height / 512))
        labels = self.canvas.getchannel("A")
        self.canvas.paste((12, 14, 24, 0), mask=soft.point([int(v * share) for v in range(256)]))
        self.canvas.putalpha(labels)


@dataclass(frozen=True)
class Pose:
    """Where a thing stands and how it is turned: (cosine, sine) of its angle; (1, 0) looks forward."""

    x: float
    z: float
    turn: tuple[float, float] = (1.0, 0.0)

    def world(self, point: Point) -> Point:
        """World point of a point in the thing's own coordinates (x right, y up, z to its front)."""
        x, y, z = point
        cosine, sine = self.turn
        return self.x + cosine * x + sine * z, y, self.z - sine * x + cosine * z

    def footprint(self, width: float, length: float) -> list[tuple[float, float]]:
        """The four (x, z) corners of a rectangle on the ground, centred on the pose."""
        half, reach = width / 2, length / 2
        corners = ((-half, -reach), (half, -reach), (half, reach), (-half, reach))
        return [(p[0], p[2]) for p in (self.world((x, 0.0, z)) for x, z in corners)]


AWAY, TOWARDS, LEFTWARDS, RIGHTWARDS = (1.0, 0.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 1.0)
"""Turns of a `Pose`, as seen from the camera."""


@dataclass(frozen=True)
class Block:
    """The five visible faces of a block; a side face's bottom left is where a viewer sees it."""

    rear: Face
    front: Face
    left: Face
    right: Face
    top: Face

    def faces(self) -> tuple[Face, ...]:
        return self.rear, self.front, self.left, self.right, self.top


def block(
    pose: Pose,
    bottom: float,
    top: float,
    width: float,
    span: tuple[float, float],
    top_width: float | None = None,
    top_span: tuple[float, float] | None = None,
) -> Block:
    """A box, or a frustum when the top has its own width or its own span, in metres.

    `span` is from rear to front, measured from the pose.
    """
    w, (a, b) = width / 2, span
    v, (c, d) = (top_width if top_width is not None else width) / 2, top_span or span
    low = [pose.world(p) for p in ((-w, bottom, a), (w, bottom, a), (w, bottom, b), (-w, bottom, b))]
    high = [pose.world(p) for p in ((-v, top, c), (v, top, c), (v, top, d), (-v, top, d))]
    return Block(
        rear=(low[0], low[1], high[1], high[0]),
        front=(low[2], low[3], high[3], high[2]),
        left=(low[3], low[0], high[0], high[3]),
        right=(low[1], low[2], high[2], high[1]),
        top=(high[0], high[1], high[2], high[3]),
    )


def cell(face: Face, left: float, bottom: float, right: float, top: float) -> Face:
    """The part of a face between these fractions (0 to 1) of its width and height."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz), (dx, dy, dz) = face

    def at(s: float, t: float) -> Point:
        a, b, c, d = (1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t
        return (
            a * ax + b * bx + c * cx + d * dx,
            a * ay + b * by + c * cy + d * dy,
            a * az + b * bz + c * cz + d * dz,
        )

    return at(left, bottom), at(right, bottom), at(right, top), at(left, top)
