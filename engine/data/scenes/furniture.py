"""What stands beside the road: trees, hedges, poles, traffic lights, signs, bins and benches."""

from __future__ import annotations

from collections.abc import Mapping

from engine.data.scenes.stage import (
    CIRCLE,
    SOURCE_ID,
    SUPERSAMPLING,
    Color,
    Pose,
    Stage,
    between,
    block,
    choose,
    mix,
    vary,
)

Outline = tuple[tuple[float, float], ...]

METAL: tuple[Color, ...] = ((112, 114, 116), (84, 88, 90), (140, 142, 140), (62, 74, 68), (96, 84, 72))
SQUARE: Outline = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
TRIANGLE: Outline = ((-1.0, -0.8), (1.0, -0.8), (0.0, 0.95))
DIAMOND: Outline = ((0.0, -1.1), (1.1, 0.0), (0.0, 1.1), (-1.1, 0.0))
BAR: Outline = ((-0.6, -0.2), (0.6, -0.2), (0.6, 0.2), (-0.6, 0.2))
SHAFT: Outline = ((-0.12, -0.6), (0.12, -0.6), (0.12, 0.2), (-0.12, 0.2))
ARROWHEAD: Outline = ((-0.4, 0.15), (0.4, 0.15), (0.0, 0.65))
OCTAGON: Outline = CIRCLE[::2]
RED, WHITE, BLUE, YELLOW = (202, 22, 30), (238, 238, 233), (22, 80, 168), (240, 188, 20)

SIGNS: Mapping[str, tuple[tuple[Outline, float, Color], ...]] = {
    "warning": ((TRIANGLE, 1.05, RED), (TRIANGLE, 0.68, WHITE)),
    "prohibition": ((CIRCLE, 1.0, RED), (CIRCLE, 0.74, WHITE)),
    "speed limit": ((CIRCLE, 1.0, RED), (CIRCLE, 0.74, WHITE), (CIRCLE, 0.3, (30, 30, 30))),
    "priority": ((DIAMOND, 1.0, WHITE), (DIAMOND, 0.78, YELLOW)),
    "parking": ((SQUARE, 0.95, WHITE), (SQUARE, 0.85, BLUE), (TRIANGLE, 0.5, WHITE)),
    "no entry": ((OCTAGON, 1.05, WHITE), (OCTAGON, 0.95, RED), (BAR, 1.0, WHITE)),
    "this way": ((CIRCLE, 1.0, BLUE), (SHAFT, 1.0, WHITE), (ARROWHEAD, 1.0, WHITE)),
}
"""Layers of each sign, from the back: outline in units of the sign's size, scale, colour."""

LAMPS: tuple[Color, ...] = ((255, 60, 40), (255, 180, 40), (70, 240, 150))


def tree(stage: Stage, x: float, z: float, tall: float) -> None:
    """A broad-leaved tree of this height in metres; its trunk counts as vegetation."""
    rng = stage.rng
    radius = tall * between(rng, 0.26, 0.36)
    crown = tall - radius
    bark = vary(rng, (84, 70, 56), 16)
    thick = tall * between(rng, 0.012, 0.02)
    light = stage.light.ambient + stage.light.direct * 0.4
    trunk = [(-thick, 0.0), (thick, 0.0), (thick * 0.6, crown), (-thick * 0.6, crown)]
    stage.board(x, z, trunk, bark, "vegetation", light)
    shady = [(a if a * stage.light.sun[0] < 0 else a * 0.1, y) for a, y in trunk]
    stage.board(x, z, shady, mix(bark, (0, 0, 0), 0.35), "vegetation", light)
    foliage(
        stage,
        x,
        crown,
        z,
        radius,
        radius * between(rng, 0.85, 1.2),
        vary(rng, choose(rng, stage.palette.leaves), 10),
    )


def tree_shadow(stage: Stage, x: float, z: float, tall: float) -> None:
    """The shadow of a tree on the road."""
    ring = [(x + 0.28 * tall * a, z + 0.28 * tall * b) for a, b in CIRCLE]
    stage.cast_shadow(ring, 0.55 * tall, 0.95 * tall)


def foliage(stage: Stage, x: float, y: float, z: float, wide: float, high: float, leaves: Color) -> None:
    """A cloud of leaves: blots in an ellipse, dark at the back and below, light towards the sun."""
    rng = stage.rng
    u, v = stage.camera.project((x, y, z))
    across, up = stage.camera.pixels(wide, z), stage.camera.pixels(high, z)
    if u + 2 * across < 0 or u - 2 * across > stage.canvas.width:
        return
    # More blots where they are large enough to be told apart.
    count = int(min(150.0, 14 + 0.9 * across / SUPERSAMPLING))
    offsets = rng.random((count, 4)).tolist()
    sun_x, sun_y, _ = stage.light.sun
    for i, (a, b, c, d) in enumerate(offsets):
        a, b = 2 * a - 1, 2 * b - 1
        if a * a + b * b > 1.0:
            a, b = a * 0.6, b * 0.6
        front = i / count
        lit = stage.light.ambient * (0.55 + 0.3 * front)
        lit += stage.light.direct * max(0.0, 0.1 + 0.5 * front * (0.5 + a * sun_x + b * sun_y))
        size = (0.42 - 0.26 * front) * (0.6 + 0.8 * c)
        tone = 0.75 + 0.5 * d
        red, green, blue = stage.shade(leaves, lit * tone * 1.25, z)
        blot_u, blot_v = u + across * a * 0.88, v - up * b * 0.88
        rx, ry = max(0.7, across * size), max(0.7, up * size * 0.85)
        stage.draw.ellipse(
            (blot_u - rx, blot_v - ry, blot_u + rx, blot_v + ry), (red, green, blue, SOURCE_ID["vegetation"])
        )


def hedge(stage: Stage, x: float, z_near: float, z_far: float, tall: float) -> None:
    """A row of bushes along the road."""
    rng = stage.rng
    leaves = vary(rng, choose(rng, stage.palette.leaves), 12)
    z = z_far
    while z > z_near:
        high = tall * between(rng, 0.5, 0.65)
        foliage(stage, x + between(rng, -0.3, 0.3), tall * 0.42, z, tall * 0.9, high, leaves)
        z -= tall * between(rng, 0.9, 1.4) + 0.02 * z


def _post(stage: Stage, x: float, z: float, tall: float, radius: float, color: Color) -> None:
    """An upright pole, lighter on the side of the sun."""
    # A pole thinner than a picture pixel would vanish from the majority of the canvas pixels.
    radius = max(radius, 0.62 * SUPERSAMPLING * z / stage.camera.focal)
    light = stage.light.ambient + 0.5 * stage.light.direct
    stage.board(x, z, [(-radius, 0), (radius, 0), (radius, tall), (-radius, tall)], color, "pole", light)
    bright = radius if stage.light.sun[0] > 0 else -radius
    stripe = [(0.0, 0.0), (bright, 0.0), (bright, tall), (0.0, tall)]
    stage.board(x, z, stripe, mix(color, (255, 255, 255), 0.25), "pole", light)


def street_lamp(stage: Stage, x: float, z: float) -> None:
    """A tall lamp whose arm reaches over the road."""
    rng = stage.rng
    tall, metal = between(rng, 5.5, 9.0), choose(rng, METAL)
    _post(stage, x, z, tall, between(rng, 0.06, 0.1), metal)
    arm = between(rng, 0.8, 2.0) * (-1.0 if x > 0 else 1.0)
    light = stage.light.ambient + 0.3 * stage.light.direct
    thick = max(0.05, SUPERSAMPLING * 0.5 * z / stage.camera.focal)
    bracket = [(0, tall - thick), (arm, tall + 0.25), (arm, tall + 0.25 + thick), (0, tall + thick)]
    stage.board(x, z, bracket, metal, "pole", light)
    lantern = [(-0.3, tall + 0.18), (0.3, tall + 0.18), (0.25, tall + 0.34), (-0.25, tall + 0.34)]
    stage.board(x + arm, z, lantern, (178, 178, 172), "pole", light)
    stage.lantern(x + arm, tall + 0.2, z, (255, 214, 150))


def bollard(stage: Stage, x: float, z: float) -> None:
    """A knee-high post."""
    _post(stage, x, z, between(stage.rng, 0.7, 1.0), 0.06, choose(stage.rng, METAL))


def traffic_light(stage: Stage, x: float, z: float) -> None:
    """A traffic light on a pole, sometimes with a second one on an arm over the road."""
    rng = stage.rng
    lit = int(between(rng, 0, 3))
    tall = between(rng, 2.9, 3.6)
    metal = choose(rng, METAL)
    if rng.random() < 0.4:
        arm = between(rng, 2.5, 4.5) * (-1.0 if x > 0 else 1.0)
        _post(stage, x, z, 5.9, 0.09, metal)
        thick = max(0.06, 0.6 * SUPERSAMPLING * z / stage.camera.focal)
        boom = [(0, 5.7 - thick), (arm, 5.7 - thick), (arm, 5.7 + thick), (0, 5.7 + thick)]
        stage.board(x, z, boom, metal, "pole", stage.light.ambient + 0.3)
        _signal_head(stage, x + arm, 5.15, z, lit)
    else:
        _post(stage, x, z, tall, 0.07, metal)
    _signal_head(stage, x, tall - 0.75, z, lit)


def _signal_head(stage: Stage, x: float, y: float, z: float, lit: int) -> None:
    """Three lamps in a dark box, from `y` upwards; `lit` is the one that shines: 0 is the top one."""
    light = stage.light.ambient + 0.3 * stage.light.direct
    case = choose(stage.rng, ((30, 32, 32), (30, 32, 32), (44, 58, 50)))
    outline = [(-0.19, y), (0.19, y), (0.19, y + 0.98), (-0.19, y + 0.98)]
    stage.board(x, z - 0.02, outline, case, "traffic light", light)
    for i, color in enumerate(LAMPS):
        shines = i == lit
        glass = color if shines else mix(color, (20, 20, 20), 0.8)
        stage.disc(x, y + 0.8 - 0.31 * i, z - 0.02, 0.115, glass, "traffic light", 1.35 if shines else light)


def traffic_sign(stage: Stage, x: float, z: float) -> None:
    """A sign on its pole; one in six is seen from behind."""
    rng = stage.rng
    tall = between(rng, 2.3, 3.0)
    _post(stage, x, z, tall + 0.3, 0.045, choose(rng, METAL))
    light = stage.light.ambient + stage.light.direct * between(rng, 0.35, 0.85)
    size = between(rng, 0.32, 0.45)
    back = rng.random() < 1 / 6
    layers = SIGNS[choose(rng, tuple(SIGNS))]
    for outline, share, color in layers[:1] if back else layers:
        points = [(size * share * a, tall + size * share * b) for a, b in outline]
        stage.board(x, z - 0.02, points, (138, 140, 140) if back else color, "traffic sign", light)


def direction_board(stage: Stage, x: float, z: float) -> None:
    """A wide board with place names, on two poles."""
    rng = stage.rng
    wide, low, high = between(rng, 1.2, 2.0), 2.3, between(rng, 3.2, 4.2)
    color = choose(rng, ((238, 190, 30), (22, 84, 160), (236, 236, 230)))
    ink = (24, 24, 26) if color[0] > 100 else (236, 236, 236)
    light = stage.light.ambient + stage.light.direct * 0.6
    for side in (-0.7, 0.7):
        _post(stage, x + side * wide, z, high, 0.06, METAL[0])
    stage.board(x, z, [(-wide, low), (wide, low), (wide, high), (-wide, high)], color, "traffic sign", light)
    for i in range(3):
        y = low + (high - low) * (0.2 + 0.27 * i)
        length = between(rng, 0.2, 0.7) * wide
        line = [(-wide * 0.8, y), (length, y), (length, y + 0.14), (-wide * 0.8, y + 0.14)]
        stage.board(x, z, line, ink, "traffic sign", light)


def street_thing(stage: Stage, x: float, z: float) -> None:
    """A bin, a switch box or a litter basket: static or dynamic, void in the evaluation."""
    rng = stage.rng
    movable = rng.random() < 0.5
    color = choose(rng, ((40, 62, 44), (60, 62, 66), (150, 120, 40), (36, 52, 84), (116, 116, 110)))
    wide, tall = between(rng, 0.5, 0.9), between(rng, 0.8, 1.3)
    label = "dynamic" if movable else "static"
    solid = block(Pose(x, z), 0.0, tall, wide, (-wide / 2, wide / 2), wide * 1.08)
    for face in solid.faces():
        stage.face(face, vary(rng, color, 8), label)
    lid = block(Pose(x, z), tall, tall + 0.07, wide * 1.15, (-wide * 0.57, wide * 0.57))
    for face in lid.faces():
        stage.face(face, mix(color, (0, 0, 0), 0.4), label)
