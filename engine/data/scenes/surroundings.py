"""What lines the street: houses, walls, fences and guard rails."""

from __future__ import annotations

from engine.data.scenes.stage import (
    AWAY,
    SUPERSAMPLING,
    Color,
    Face,
    Pose,
    Stage,
    between,
    block,
    cell,
    choose,
    mix,
    vary,
)

ROOM_LIGHTS: tuple[Color, ...] = ((250, 206, 130), (255, 224, 170), (236, 190, 110), (216, 226, 240))
SHOP_SIGNS: tuple[Color, ...] = ((170, 30, 36), (24, 70, 130), (30, 100, 60), (220, 180, 50), (40, 40, 44))


def building(stage: Stage, x: float, z_near: float, z_far: float, tall: float) -> None:
    """A house whose street front stands at x, on the side of the street that x is on."""
    rng = stage.rng
    color = vary(rng, choose(rng, stage.palette.facades), 16)
    depth = 14.0
    side = 1.0 if x > 0 else -1.0
    solid = block(Pose(x + side * depth / 2, 0.0, AWAY), 0.0, tall, depth, (z_near, z_far))
    front = solid.left if x > 0 else solid.right
    storeys = max(1, int(tall / between(rng, 2.9, 3.6)))

    stage.face(solid.rear, color, "building")
    if stage.camera.pixels(1.0, z_near) > SUPERSAMPLING and rng.random() < 0.5:
        # The gable end that shows where a lower house or a gap comes before this one.
        _windows(stage, solid.rear, color, storeys, 4, bottom=0.1)
    stage.face(front, color, "building")
    if rng.random() < 0.35:
        _pitched_roof(stage, x, side, z_near, z_far, tall)

    columns = max(1, int((z_far - z_near) / between(rng, 1.9, 3.0)))
    ground_floor = min(0.5, 3.4 / tall)
    _ground_floor(stage, front, color, ground_floor, shop=rng.random() < 0.55, bays=max(1, columns // 2))
    if storeys > 1:
        _windows(stage, front, color, storeys - 1, columns, ground_floor)
    stage.face(cell(front, 0, 0.965, 1, 1), mix(color, (255, 255, 255), 0.25), "building")


def _windows(stage: Stage, wall: Face, color: Color, storeys: int, columns: int, bottom: float) -> None:
    rng = stage.rng
    frame = mix(color, choose(rng, ((245, 245, 240), (60, 50, 44), (240, 236, 226))), 0.7)
    wide, high = between(rng, 0.36, 0.62), between(rng, 0.5, 0.68)
    ribbon = rng.random() < 0.15  # an office block has bands of glass
    sky = stage.light.haze
    band = rng.random() < 0.4
    balconies = rng.random() < 0.2
    for storey in range(storeys):
        low = bottom + (0.96 - bottom) * (storey + 0.2) / storeys
        top = low + (0.96 - bottom) * high / storeys
        if band:
            ledge = low - 0.12 * (top - low)
            stage.face(
                cell(wall, 0, ledge, 1, ledge + 0.06 * (top - low)),
                mix(color, (40, 36, 30), 0.25),
                "building",
            )
        if ribbon:
            stage.face(cell(wall, 0.02, low, 0.98, top), (70, 80, 90), "building")
        for column in range(columns):
            left = (column + 0.5 - wide / 2) / columns
            right = (column + 0.5 + wide / 2) / columns
            pane = cell(wall, left, low, right, top)
            (ua, va), (ub, vb) = stage.camera.project(pane[0]), stage.camera.project(pane[2])
            if abs(ub - ua) < 0.8 * SUPERSAMPLING or max(ua, ub) < 0 or min(ua, ub) > stage.canvas.width:
                continue
            fine = abs(ub - ua) > 3 * SUPERSAMPLING and abs(vb - va) > 4 * SUPERSAMPLING
            if fine and not ribbon:
                stage.face(cell(pane, -0.12, -0.08, 1.12, 1.06), frame, "building")
            mirrored = 0.12 + 0.5 * float(rng.random())
            glass = mix((44, 50, 58), sky, mirrored * 0.6)
            stage.face(pane, glass, "building")
            if stage.lamp_rng is not None and stage.lamp_rng.random() < 0.3:
                stage.shine(pane, choose(stage.lamp_rng, ROOM_LIGHTS), "building", 0.18)
            if fine:
                if rng.random() < 0.3:
                    blind = between(rng, 0.3, 0.8)
                    stage.face(cell(pane, 0, blind, 1, 1), (196, 190, 176), "building")
                stage.face(cell(pane, 0.46, 0, 0.54, 1), frame, "building")
                if balconies and column % 2 == 0:
                    stage.face(cell(pane, -0.3, -0.25, 1.3, 0.3), mix(color, (50, 50, 54), 0.55), "building")


def _ground_floor(stage: Stage, front: Face, color: Color, top: float, shop: bool, bays: int) -> None:
    rng = stage.rng
    base = mix(color, choose(rng, ((70, 66, 62), (120, 112, 104))), 0.5)
    stage.face(cell(front, 0, 0, 1, top), base, "building")
    for bay in range(bays):
        left, right = (bay + 0.08) / bays, (bay + 0.92) / bays
        if shop:
            stage.face(cell(front, left, 0.1 * top, right, 0.68 * top), (48, 52, 56), "building")
            goods = vary(rng, (120, 100, 80), 40)
            stage.face(cell(front, left + 0.01, 0.14 * top, right - 0.3 / bays, 0.4 * top), goods, "building")
            sign = vary(rng, choose(rng, SHOP_SIGNS), 15)
            stage.face(cell(front, left, 0.7 * top, right, 0.88 * top), sign, "building")
        elif bay % 3 == 1:
            door = vary(rng, choose(rng, ((82, 54, 36), (40, 60, 50), (60, 60, 66))), 10)
            stage.face(cell(front, left + 0.2 / bays, 0, right - 0.3 / bays, 0.68 * top), door, "building")
        else:
            pane = cell(front, left + 0.12 / bays, 0.28 * top, right - 0.12 / bays, 0.74 * top)
            stage.face(pane, (60, 66, 72), "building")


def _pitched_roof(stage: Stage, x: float, side: float, z_near: float, z_far: float, tall: float) -> None:
    rng = stage.rng
    tiles = vary(rng, choose(rng, ((140, 70, 52), (104, 60, 50), (78, 76, 78), (120, 84, 64))), 12)
    ridge = tall + between(rng, 2.0, 3.5)
    eave, back = x - side * 0.4, x + side * 5.0
    slope = [
        (eave, tall - 0.1, z_near),
        (eave, tall - 0.1, z_far),
        (back, ridge, z_far),
        (back, ridge, z_near),
    ]
    light = stage.light.ambient + stage.light.direct * 0.6
    stage.fill(slope, tiles, "building", light)
    gable = [(eave, tall - 0.1, z_near), (back, ridge, z_near), (back + side * 5.4, tall - 0.1, z_near)]
    stage.fill(gable, mix(tiles, (200, 190, 170), 0.5), "building", light * 0.8)


def wall(stage: Stage, x: float, z_near: float, z_far: float, tall: float) -> None:
    """A free-standing wall along the street: brick, plaster or concrete slabs."""
    rng = stage.rng
    color = vary(rng, choose(rng, ((150, 146, 138), (132, 88, 70), (178, 170, 152), (120, 118, 114))), 14)
    side = 1.0 if x > 0 else -1.0
    solid = block(Pose(x + side * 0.2, 0.0), 0.0, tall, 0.4, (z_near, z_far))
    front = solid.left if x > 0 else solid.right
    for face in (solid.top, solid.rear, front):
        stage.face(face, color, "wall")
    courses = 5
    for i in range(1, courses):
        seam = cell(front, 0, i / courses, 1, i / courses + 0.02)
        stage.face(seam, mix(color, (40, 38, 36), 0.35), "wall")
    slabs = max(1, int((z_far - z_near) / 2.5))
    for i in range(slabs):
        stage.face(
            cell(front, i / slabs, 0, i / slabs + 0.03 / slabs, 1), mix(color, (40, 38, 36), 0.4), "wall"
        )
        if rng.random() < 0.2:
            slab = cell(front, (i + 0.05) / slabs, 0.0, (i + 0.98) / slabs, 0.95)
            stage.face(slab, vary(rng, color, 22), "wall")
    stage.face(cell(front, 0, 0.93, 1, 1), mix(color, (230, 226, 216), 0.4), "wall")


def fence(stage: Stage, x: float, z_near: float, z_far: float, tall: float) -> None:
    """A fence of bars or boards along the street; the gaps between the bars count as fence."""
    rng = stage.rng
    wooden = rng.random() < 0.4
    color = vary(rng, choose(rng, ((122, 92, 62), (148, 120, 88), (200, 196, 186))), 14)
    if not wooden:
        color = vary(rng, choose(rng, ((52, 58, 58), (92, 96, 96), (40, 70, 52), (130, 134, 134))), 10)
    side = 1.0 if x > 0 else -1.0
    solid = block(Pose(x + side * 0.05, 0.0), 0.0, tall, 0.1, (z_near, z_far))
    front = solid.left if x > 0 else solid.right
    behind = mix(color, (62, 76, 46), 0.25 if wooden else 0.7)
    stage.face(front, behind, "fence")
    z = z_far
    spacing = 0.35 if wooden else 0.22
    while z > z_near:
        length = min(z - z_near, max(spacing * 0.6 if wooden else 0.05, z * z / stage.camera.focal / 2))
        stage.face(_upright(x, z - length, z, 0.0, tall, side), color, "fence")
        # Bars that would fall below two canvas pixels are left to the colour behind them.
        z -= max(spacing, 3.0 * z * z / stage.camera.focal)
    for rail in (0.12, 0.88):
        stage.face(cell(front, 0, rail, 1, rail + 0.06), mix(color, (0, 0, 0), 0.2), "fence")


def guard_rail(stage: Stage, x: float, z_near: float, z_far: float) -> None:
    """A steel rail on posts, void in the evaluation."""
    side = 1.0 if x > 0 else -1.0
    z = z_far
    while z > z_near:
        stage.face(_upright(x, z - 0.15, z, 0.0, 0.6, side), (110, 112, 112), "guard rail")
        z -= max(2.0, 3.0 * z * z / stage.camera.focal)
    for low, high, tone in ((0.4, 0.55, 186), (0.55, 0.62, 120), (0.62, 0.78, 170)):
        stage.face(_upright(x, z_near, z_far, low, high, side), (tone, tone, tone), "guard rail")


def _upright(x: float, z_near: float, z_far: float, low: float, high: float, side: float) -> Face:
    """A patch along the street that faces it; `side` is 1.0 right of the street, -1.0 left of it."""
    a, b = (z_far, z_near) if side > 0 else (z_near, z_far)
    return (x, low, a), (x, low, b), (x, high, b), (x, high, a)
