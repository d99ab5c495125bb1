"""Persons, and what they ride: bicycles and motorcycles, with a rider or parked."""

from __future__ import annotations

from engine.data.scenes.stage import Color, Stage, between, choose, mix, vary

CLOTHES: tuple[Color, ...] = (
    (30, 32, 38), (46, 50, 62), (70, 74, 80), (120, 118, 112), (186, 184, 178), (40, 58, 104), (28, 92, 128),
    (134, 34, 38), (184, 60, 48), (196, 150, 54), (52, 88, 58), (104, 74, 52), (150, 110, 140),
)  # fmt: skip
TROUSERS: tuple[Color, ...] = (
    (28, 30, 36), (38, 46, 72), (52, 62, 92), (74, 72, 68), (128, 116, 94), (44, 44, 44),
)  # fmt: skip
SKIN: tuple[Color, ...] = ((226, 182, 152), (204, 158, 126), (160, 112, 82), (108, 74, 54), (236, 196, 172))
HAIR: tuple[Color, ...] = ((30, 24, 20), (66, 46, 32), (120, 88, 52), (176, 146, 96), (150, 148, 146))

Outline = list[tuple[float, float]]


def person(stage: Stage, x: float, z: float, label: str = "person") -> None:
    """Someone standing or walking."""
    rng = stage.rng
    tall = between(rng, 1.5, 1.92) * (0.7 if rng.random() < 0.08 else 1.0)  # a child now and then
    width = tall * between(rng, 0.115, 0.15)
    stride = tall * between(rng, 0.0, 0.16)
    lean = between(rng, -0.03, 0.03)
    light = stage.light.ambient + stage.light.direct * between(rng, 0.3, 0.8)
    top, bottom = vary(rng, choose(rng, CLOTHES), 14), vary(rng, choose(rng, TROUSERS), 10)
    skin, hair = choose(rng, SKIN), choose(rng, HAIR)
    hip, shoulder, chin = tall * 0.5, tall * 0.82, tall * 0.87

    def limb(ax: float, ay: float, bx: float, by: float, a: float, b: float, color: Color) -> None:
        outline = [(ax - a, ay), (ax + a, ay), (bx + b, by), (bx - b, by)]
        stage.board(x, z, outline, color, label, light)

    limb(-width * 0.4, hip, -stride, 0.05, width * 0.45, width * 0.3, mix(bottom, (0, 0, 0), 0.25))
    limb(width * 0.4, hip, stride, 0.0, width * 0.45, width * 0.3, bottom)
    for foot in (-stride, stride):
        limb(foot, 0.08, foot, 0.0, width * 0.35, width * 0.55, (34, 30, 28))
    swing = stride * 0.7
    arm, hand = width * 0.95, width * 1.1 - swing
    limb(arm, shoulder, hand, hip - 0.03, width * 0.3, width * 0.22, mix(top, (0, 0, 0), 0.3))
    skirt = width * (1.5 if rng.random() < 0.2 else 0.85)
    neck, side_of_chest = width * 0.5, width * 1.05
    torso = [
        (-skirt, hip - 0.04),
        (skirt, hip - 0.04),
        (side_of_chest + lean, shoulder),
        (neck + lean, chin),
        (-neck + lean, chin),
        (-side_of_chest + lean, shoulder),
    ]
    stage.board(x, z, torso, top, label, light)
    shady = [(a if a < 0 else a * 0.1, y) for a, y in torso]
    stage.board(x, z, shady, mix(top, (0, 0, 0), 0.2), label, light)
    limb(-arm, shoulder, -hand, hip - 0.03, width * 0.3, width * 0.22, mix(top, (0, 0, 0), 0.12))
    if rng.random() < 0.3:
        side = choose(rng, (-1.0, 1.0))
        bag = choose(rng, CLOTHES)
        limb(side * width * 1.2, hip + 0.22, side * width * 1.3, hip - 0.12, width * 0.4, width * 0.5, bag)
    radius = tall * 0.068
    head = tall * 0.93
    stage.disc(x + lean, head + 0.015, z, radius * 1.08, hair, label, light)
    if rng.random() < 0.55:  # the face is turned to the camera
        stage.disc(x + lean, head - 0.015, z, radius * 0.85, skin, label, light)


def bicycle(stage: Stage, x: float, z: float, ridden: bool, sideways: bool) -> None:
    """A bicycle, parked or with a rider, seen from the side or from behind."""
    _two_wheeler(stage, x, z, "bicycle", ridden, sideways, radius=0.34, reach=0.53, tyre=0.05)


def motorcycle(stage: Stage, x: float, z: float, ridden: bool, sideways: bool) -> None:
    """A motorcycle or scooter, parked or with a rider, seen from the side or from behind."""
    _two_wheeler(stage, x, z, "motorcycle", ridden, sideways, radius=0.31, reach=0.68, tyre=0.13)


def _two_wheeler(
    stage: Stage,
    x: float,
    z: float,
    label: str,
    ridden: bool,
    sideways: bool,
    radius: float,
    reach: float,
    tyre: float,
) -> None:
    rng = stage.rng
    light = stage.light.ambient + stage.light.direct * between(rng, 0.3, 0.8)
    paint = vary(rng, choose(rng, CLOTHES), 15)
    way = choose(rng, (-1.0, 1.0))  # the side that the front is on

    def stroke(points: Outline, color: Color, of: str = label) -> None:
        stage.board(x, z, [(way * a, y) for a, y in points], color, of, light)

    def bar(ax: float, ay: float, bx: float, by: float, thick: float, color: Color, of: str = label) -> None:
        # A bar is thickened across its longer direction.
        steep = abs(by - ay) > abs(bx - ax)
        dx, dy = (thick, 0.0) if steep else (0.0, thick)
        stroke([(ax - dx, ay - dy), (ax + dx, ay + dy), (bx + dx, by + dy), (bx - dx, by - dy)], color, of)

    seat = 0.92 if label == "bicycle" else 0.78
    if sideways:
        spokes = (96, 96, 94) if label == "bicycle" else (58, 58, 60)
        for hub in (-reach, reach):
            stage.disc(x + hub, radius, z, radius, (26, 26, 28), label, light)
            stage.disc(x + hub, radius, z, radius - tyre, spokes, label, light)
            stage.disc(x + hub, radius, z, 0.05, (150, 150, 150), label, light)
        if label == "bicycle":
            bar(-reach, radius, -0.05, 0.3, 0.028, paint)
            bar(-0.05, 0.3, -0.2, seat - 0.04, 0.028, paint)
            bar(-0.05, 0.3, 0.38, 0.78, 0.028, paint)
            bar(-0.17, 0.72, 0.38, 0.8, 0.028, paint)
            bar(reach, radius, 0.34, 1.0, 0.028, paint)
            bar(0.3, 1.02, 0.5, 1.04, 0.025, (30, 30, 30))
            bar(-0.32, seat, -0.08, seat + 0.02, 0.035, (30, 28, 26))
        else:
            stroke([(-0.75, 0.62), (-0.6, 0.35), (0.3, 0.28), (0.45, 0.6), (0.4, 0.9), (0.1, 0.86)], paint)
            stroke([(-0.7, 0.7), (0.05, 0.72), (0.05, 0.84), (-0.8, 0.82)], (30, 28, 26))
            bar(reach, radius, 0.42, 1.02, 0.05, (70, 70, 72))
            bar(0.28, 1.03, 0.5, 1.05, 0.03, (30, 30, 30))
            bar(-0.7, 0.3, 0.1, 0.26, 0.05, (150, 150, 152))
    else:
        wide = tyre * 0.9
        bar(0.0, 0.0, 0.0, radius * 2, wide, (26, 26, 28))
        bar(0.0, radius, 0.0, seat, wide * (0.8 if label == "bicycle" else 1.8), paint)
        bar(-0.3, 1.02, 0.3, 1.02, 0.03, (40, 40, 40))
        bar(-0.1, seat, 0.1, seat, 0.05, (30, 28, 26))
        stage.disc(x, 0.62, z, 0.05, (196, 30, 26), label, light)
    if ridden:
        _rider(stage, x, z, way, seat, sideways, light, helmet=label == "motorcycle" or rng.random() < 0.4)


def _rider(
    stage: Stage, x: float, z: float, way: float, seat: float, sideways: bool, light: float, helmet: bool
) -> None:
    rng = stage.rng
    top, legs = vary(rng, choose(rng, CLOTHES), 14), vary(rng, choose(rng, TROUSERS), 10)
    cover = vary(rng, choose(rng, CLOTHES if helmet else HAIR), 10)

    def stroke(points: Outline, color: Color) -> None:
        stage.board(x, z, [(way * a, y) for a, y in points], color, "rider", light)

    if sideways:
        lean = between(rng, 0.1, 0.28)
        stroke([(-0.3, seat), (-0.12, seat + 0.12), (0.2, seat - 0.2), (0.1, seat - 0.3)], legs)
        stroke([(0.06, seat - 0.24), (0.22, seat - 0.2), (0.08, 0.2), (-0.06, 0.2)], legs)
        stroke([(-0.06, 0.26), (0.08, 0.26), (0.18, 0.18), (-0.06, 0.18)], (34, 30, 28))
        stroke([(-0.36, seat), (-0.08, seat), (lean + 0.08, seat + 0.5), (lean - 0.18, seat + 0.56)], top)
        stroke(
            [(lean - 0.12, seat + 0.46), (lean, seat + 0.48), (0.44, 1.06), (0.38, 1.0)],
            mix(top, (0, 0, 0), 0.25),
        )
        head = lean + 0.02
    else:
        for side in (-1.0, 1.0):
            pedal = 0.18 + 0.12 * side * way
            stroke(
                [(side * 0.02, seat), (side * 0.2, seat), (side * 0.17, pedal), (side * 0.07, pedal)], legs
            )
            shoulder = [(side * 0.15, seat + 0.5), (side * 0.24, seat + 0.45)]
            stroke([*shoulder, (side * 0.34, 1.02), (side * 0.26, 1.0)], mix(top, (0, 0, 0), 0.2))
        stroke([(-0.17, seat), (0.17, seat), (0.22, seat + 0.5), (0.08, seat + 0.58), (-0.08, seat + 0.58),
                (-0.22, seat + 0.5)], top)  # fmt: skip
        head = 0.0
    stage.disc(x + way * head, seat + 0.68, z, 0.115, choose(rng, SKIN), "rider", light)
    stage.disc(x + way * head, seat + 0.73, z, 0.125, cover, "rider", light)
