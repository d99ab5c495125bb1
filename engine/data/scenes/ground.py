"""The street across, and the painting of its ground."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from engine.data.scenes.stage import CIRCLE, NEAR, Color, Stage, between, choose, mix, vary

SIDES = (-1.0, 1.0)
"""Left and right of the street."""

LANE = 3.4
"""Width of a lane in metres."""

KERB = 0.15
"""Width of the kerb stones in metres; they belong to the sidewalk."""

GROUND_STEPS = (NEAR, 1.6, 2.4, 3.5, 5.0, 7.0, 10.0, 14.0, 20.0, 28.0, 40.0, 60.0, 90.0, 140.0, 260.0)
"""Metres: where strips of ground are cut, so that they follow the bend and fade with distance."""


@dataclass(frozen=True)
class CrossSection:
    """The street across: metres, the camera driving at x = 0 in the middle of its lane.

    Tables by side have the key 1.0 for the right and -1.0 for the left.
    """

    style: str  # city, avenue, suburb or open
    lanes: int  # of oncoming traffic
    left: float  # edges of the road
    right: float
    parking: Mapping[float, bool]
    sidewalk: Mapping[float, float]
    verge: Mapping[float, float]  # grass beside the sidewalk, 0.0 for none
    verge_at_kerb: bool  # otherwise it is on the far side of the sidewalk
    crossing: float  # metres ahead where the traffic lights are

    def edge(self, side: float) -> float:
        """Where the road ends and the kerb begins."""
        return self.right if side > 0 else self.left

    def front(self, side: float) -> float:
        """Where gardens or houses begin."""
        return self.edge(side) + side * (self.sidewalk[side] + self.verge[side] + KERB)


def draw_cross_section(rng: np.random.Generator) -> CrossSection:
    """A city street, an avenue, a suburb or an open road."""
    style = choose(rng, ("city", "city", "city", "avenue", "avenue", "suburb", "suburb", "open"))
    lanes = choose(rng, (1, 1, 2))
    parking = {-1.0: rng.random() < 0.6, 1.0: rng.random() < 0.5}
    if style == "open":
        parking = {-1.0: False, 1.0: False}
    margin = {side: 2.2 if parking[side] else between(rng, 0.1, 0.9) for side in SIDES}
    grassy = 0.75 if style in ("open", "suburb") else 0.3
    return CrossSection(
        style=style,
        lanes=lanes,
        left=-LANE * (lanes + 0.5) - margin[-1.0],
        right=LANE / 2 + margin[1.0],
        parking=parking,
        sidewalk={side: between(rng, 1.8, 4.2) for side in SIDES},
        verge={side: between(rng, 1.0, 3.0) if rng.random() < grassy else 0.0 for side in SIDES},
        verge_at_kerb=rng.random() < 0.5,
        crossing=between(rng, 9, 34),
    )


def ground_strip(
    stage: Stage, left: float, right: float, color: Color, label: str, near: float = NEAR, far: float = 260.0
) -> None:
    """Ground between two lines along the street (x in metres), from `near` to `far` ahead."""
    cuts = [near, *(z for z in GROUND_STEPS if near < z < far), far]
    light = stage.light.ambient + stage.light.direct * max(0.0, stage.light.sun[1])
    for a, b in pairwise(cuts):
        stage.fill([(left, 0, a), (right, 0, a), (right, 0, b), (left, 0, b)], color, label, light)


def paint_ground(stage: Stage, road: CrossSection) -> None:
    """Road, sidewalks, verges and what lies beyond them, with wear and markings."""
    rng, strip = stage.rng, partial(ground_strip, stage)
    grass = vary(rng, choose(rng, stage.palette.grass), 8)
    paving = vary(rng, choose(rng, stage.palette.paving), 10)
    asphalt = vary(rng, choose(rng, stage.palette.asphalt), 8)
    yard = vary(rng, (128, 122, 114), 12)
    city = road.style in ("city", "avenue")
    strip(-220, 220, yard if city else grass, "ground" if city else "terrain")
    for side in SIDES:
        edge, front = road.edge(side), road.front(side)
        strip(edge, front, paving, "sidewalk")
        if road.verge[side]:
            start = edge + side * (KERB if road.verge_at_kerb else KERB + road.sidewalk[side])
            strip(start, start + side * road.verge[side], grass, "terrain")
        strip(edge, edge + side * KERB, mix(paving, (235, 232, 228), 0.4), "sidewalk")
    strip(road.left, road.right, asphalt, "road")
    for side in SIDES:
        if road.parking[side] and rng.random() < 0.25:
            bay = road.edge(side) - side * 2.1
            strip(bay, road.edge(side), mix(asphalt, (150, 120, 110), 0.4), "parking", near=4.0)
        gutter = road.edge(side) - side * 0.25
        strip(gutter, road.edge(side), mix(asphalt, (60, 58, 54), 0.35), "road")
    _paint_wear(stage, road, asphalt)
    _paint_markings(stage, road, asphalt)


def _paint_wear(stage: Stage, road: CrossSection, asphalt: Color) -> None:
    """Mended patches, wheel tracks and manhole covers."""
    rng, strip = stage.rng, partial(ground_strip, stage)
    for track in (-0.8, 0.8, -4.2, -2.6):
        strip(track - 0.22, track + 0.22, mix(asphalt, (50, 50, 52), 0.1), "road")
    for _ in range(int(between(rng, 2, 8))):
        x, z = between(rng, road.left + 1, road.right - 2), between(rng, 3, 40)
        tar = choose(rng, ((40, 40, 42), (40, 40, 42), (180, 178, 174)))
        patch = mix(asphalt, tar, between(rng, 0.15, 0.4))
        strip(x, x + between(rng, 0.5, 2), patch, "road", z, z + between(rng, 0.8, 9))
    for _ in range(int(between(rng, 0, 4))):
        x, z = between(rng, road.left + 1, road.right - 1), between(rng, 4, 20)
        _manhole(stage, x, z, mix(asphalt, (50, 46, 42), 0.55))


def _paint_markings(stage: Stage, road: CrossSection, asphalt: Color) -> None:
    rng, strip = stage.rng, partial(ground_strip, stage)
    fresh = choose(rng, stage.palette.markings)
    paint = mix(asphalt, fresh, between(rng, 0.55, 0.95))
    worn = road.style == "suburb" and rng.random() < 0.5
    start = between(rng, -6, 0)
    for lane in range(road.lanes):
        x = -LANE * (lane + 0.5)
        if worn:
            break
        if lane == 0 and rng.random() < 0.3:
            strip(x - 0.06, x + 0.06, paint, "road")
            continue
        z = start
        while z < 90:
            if z + 3 > 1:
                strip(x - 0.07, x + 0.07, paint, "road", max(1.0, z), z + 3)
            z += 7.5
    for side in SIDES:
        if rng.random() < 0.5:
            x = road.edge(side) - side * (2.15 if road.parking[side] else 0.4)
            strip(x - 0.06, x + 0.06, paint, "road")
    if road.style != "open" and rng.random() < 0.55:
        x = road.left + 0.3
        while x < road.right - 0.5:
            strip(x, x + 0.5, paint, "road", road.crossing, road.crossing + 3.2)
            x += 1.0
        strip(-1.6, road.right - 0.2, paint, "road", road.crossing - 1.6, road.crossing - 1.2)


def _manhole(stage: Stage, x: float, z: float, color: Color) -> None:
    """An iron cover in the road."""
    light = stage.light.ambient + stage.light.direct * max(0.0, stage.light.sun[1])
    stage.fill([(x + 0.35 * a, 0.0, z + 0.35 * b) for a, b in CIRCLE], color, "road", light)
