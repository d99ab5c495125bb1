"""Cars, trucks, buses and trams: blocks with windows, lamps and wheels on their faces."""

from __future__ import annotations

from dataclasses import dataclass

from engine.data.scenes.stage import (
    CIRCLE,
    SUPERSAMPLING,
    Block,
    Color,
    Face,
    Point,
    Pose,
    Stage,
    between,
    block,
    cell,
    choose,
    vary,
)

GLASS: Color = (52, 62, 72)
BLACK: Color = (24, 24, 26)
HEADLAMP: Color = (238, 236, 220)
TAIL_LAMP: Color = (196, 24, 22)
PLATE: Color = (224, 224, 214)


@dataclass(frozen=True)
class CarShape:
    """Sizes of a car in metres; cabin spans are fractions of the length, from the rear."""

    length: float
    width: float
    deck: float
    roof: float
    cabin_base: tuple[float, float]
    cabin_top: tuple[float, float]


SEDAN = CarShape(4.6, 1.82, 0.92, 1.44, (0.14, 0.74), (0.27, 0.56))
HATCHBACK = CarShape(3.95, 1.74, 0.93, 1.50, (0.01, 0.74), (0.10, 0.54))
ESTATE = CarShape(4.7, 1.82, 0.93, 1.48, (0.01, 0.72), (0.07, 0.54))
OFFROADER = CarShape(4.6, 1.92, 1.08, 1.74, (0.01, 0.74), (0.07, 0.58))
VAN = CarShape(5.1, 1.98, 1.16, 2.05, (0.0, 0.88), (0.01, 0.70))
CAR_SHAPES = (SEDAN, SEDAN, HATCHBACK, HATCHBACK, HATCHBACK, ESTATE, ESTATE, OFFROADER, VAN)


def car(stage: Stage, pose: Pose, shape: CarShape) -> None:
    """A passenger car; its front looks along the pose."""
    rng = stage.rng
    paint = vary(rng, choose(rng, stage.palette.paints), 12)
    half = shape.length / 2

    def along(spans: tuple[float, float]) -> tuple[float, float]:
        return (spans[0] - 0.5) * shape.length, (spans[1] - 0.5) * shape.length

    _fill_block(stage, block(pose, 0.0, 0.35, shape.width - 0.25, (0.3 - half, half - 0.3)), BLACK, "car")
    wheel = 0.31 + 0.1 * (shape.roof - 1.4)
    body = block(pose, 0.2, shape.deck, shape.width, (-half, half), shape.width - 0.1)
    _fill_block(stage, body, paint, "car")
    _sill_and_doors(stage, body, "car")
    _wheels(stage, pose, shape.width, wheel, (0.19 * shape.length - half, half - 0.2 * shape.length), "car")

    cabin = block(
        pose, shape.deck - 0.02, shape.roof, shape.width - 0.1, along(shape.cabin_base),
        shape.width - 0.45, along(shape.cabin_top),
    )  # fmt: skip
    _fill_block(stage, cabin, paint, "car")
    for side in (cabin.left, cabin.right):
        _window(stage, side, "car", 0.07, 0.1, 0.49, 0.88)
        _window(stage, side, "car", 0.53, 0.1, 0.93, 0.88)
    _window(stage, cabin.rear, "car", 0.07, 0.12, 0.93, 0.86)
    _window(stage, cabin.front, "car", 0.05, 0.06, 0.95, 0.92)

    _lamps(stage, body.rear, TAIL_LAMP, 0.62, 0.88, "car")
    _lamps(stage, body.front, HEADLAMP, 0.52, 0.84, "car")
    for end in (body.rear, body.front):
        _detail(stage, end, (58, 60, 62), "car", 0.02, 0.0, 0.98, 0.2)
        _detail(stage, end, PLATE, "car", 0.36, 0.3, 0.64, 0.46)
    _detail(stage, body.front, BLACK, "car", 0.28, 0.52, 0.72, 0.76)


def bus(stage: Stage, pose: Pose) -> None:
    """A city bus, 12 m long."""
    rng = stage.rng
    paint = vary(rng, choose(rng, ((226, 178, 40), (196, 34, 34), (220, 220, 216), (40, 92, 150))), 10)
    _long_vehicle(stage, pose, "bus", paint, length=12.0, width=2.55, height=3.05, windows=7)


def tram(stage: Stage, pose: Pose) -> None:
    """A tram, 27 m long."""
    rng = stage.rng
    paint = vary(rng, choose(rng, ((222, 196, 52), (170, 30, 38), (214, 212, 200), (40, 110, 70))), 10)
    _long_vehicle(stage, pose, "train", paint, length=27.0, width=2.45, height=3.45, windows=14)


def truck(stage: Stage, pose: Pose) -> None:
    """A lorry: a cargo box behind a driver's cabin."""
    rng = stage.rng
    paint = vary(rng, choose(rng, stage.palette.paints[4:]), 12)
    cargo_paint = vary(rng, choose(rng, ((214, 214, 210), (190, 186, 172), (44, 80, 136), (176, 60, 44))), 12)
    half, width = 3.9, 2.4
    _fill_block(stage, block(pose, 0.35, 0.95, width - 0.5, (-half, half)), BLACK, "truck")
    _wheels(stage, pose, width - 0.1, 0.48, (-2.6, -1.6, 2.5), "truck")
    cargo = block(pose, 0.95, 3.3, width, (-half, 1.6))
    cabin = block(pose, 0.5, 2.7, width - 0.15, (1.75, half), width - 0.3, (1.8, half - 0.25))
    # The part that is farther from the camera goes first.
    facing_away = pose.turn[0] >= 0.0
    for part in (cabin, cargo) if facing_away else (cargo, cabin):
        if part is cargo:
            _fill_block(stage, cargo, cargo_paint, "truck")
            _detail(stage, cargo.rear, vary(rng, cargo_paint, 25), "truck", 0.05, 0.05, 0.49, 0.95)
            _detail(stage, cargo.rear, vary(rng, cargo_paint, 25), "truck", 0.51, 0.05, 0.95, 0.95)
            stripe = choose(rng, stage.palette.paints)
            for side in (cargo.left, cargo.right):
                _detail(stage, side, stripe, "truck", 0.15, 0.4, 0.85, 0.62)
            _lamps(stage, cargo.rear, TAIL_LAMP, 0.0, 0.07, "truck")
        else:
            _fill_block(stage, cabin, paint, "truck")
            _window(stage, cabin.front, "truck", 0.06, 0.5, 0.94, 0.92)
            _lamps(stage, cabin.front, HEADLAMP, 0.12, 0.22, "truck")
            _detail(stage, cabin.front, BLACK, "truck", 0.2, 0.25, 0.8, 0.42)
            for side in (cabin.left, cabin.right):
                _window(stage, side, "truck", 0.2, 0.5, 0.85, 0.9)


def _long_vehicle(
    stage: Stage,
    pose: Pose,
    label: str,
    paint: Color,
    length: float,
    width: float,
    height: float,
    windows: int,
) -> None:
    rng = stage.rng
    half = length / 2
    _fill_block(stage, block(pose, 0.05, 0.4, width - 0.3, (-half + 0.4, half - 0.4)), BLACK, label)
    body = block(pose, 0.3, height, width, (-half, half), width - 0.12)
    _fill_block(stage, body, paint, label)
    band = vary(rng, choose(rng, stage.palette.paints), 10)
    advert = between(rng, 0.1, 0.55)
    for side in (body.left, body.right):
        _detail(stage, side, band, label, 0.0, 0.0, 1.0, 0.16)
        _detail(
            stage,
            side,
            vary(rng, choose(rng, stage.palette.paints), 20),
            label,
            advert,
            0.18,
            advert + 0.3,
            0.36,
        )
        _detail(stage, side, BLACK, label, 0.01, 0.44, 0.99, 0.86)
        for i in range(windows):
            left, right = 0.015 + 0.97 * i / windows, 0.015 + 0.97 * (i + 0.88) / windows
            bottom = 0.06 if i % 3 == 1 else 0.46  # every third one is a door
            _window(stage, side, label, left, bottom, right, 0.84)
    if label == "bus":
        _wheels(stage, pose, width, 0.48, (-half + 3.2, half - 2.6), label)
    for end, lamp in ((body.rear, TAIL_LAMP), (body.front, HEADLAMP)):
        _window(stage, end, label, 0.07, 0.36 if lamp is HEADLAMP else 0.5, 0.93, 0.83)
        _detail(stage, end, BLACK, label, 0.18, 0.86, 0.82, 0.96)
        _detail(stage, end, (240, 170, 40), label, 0.25, 0.88, 0.7, 0.94)
        _lamps(stage, end, lamp, 0.14, 0.22, label)
        _detail(stage, end, (58, 60, 62), label, 0.0, 0.0, 1.0, 0.08)
        _detail(stage, end, PLATE, label, 0.4, 0.09, 0.6, 0.13)


def _fill_block(stage: Stage, solid: Block, color: Color, label: str) -> None:
    for face in solid.faces():
        stage.face(face, color, label)


def _detail(
    stage: Stage, face: Face, color: Color, label: str, left: float, bottom: float, right: float, top: float
) -> None:
    stage.face(cell(face, left, bottom, right, top), color, label)


def _window(
    stage: Stage, face: Face, label: str, left: float, bottom: float, right: float, top: float
) -> None:
    """Dark glass whose upper part mirrors the sky."""
    if stage.face(cell(face, left, bottom, right, top), GLASS, label) is None:
        return
    mirrored = between(stage.rng, 0.35, 0.75)
    sky = stage.light.haze
    reflection = (40 + sky[0] // 4, 44 + sky[1] // 4, 50 + sky[2] // 4)
    _detail(stage, face, reflection, label, left, bottom + (top - bottom) * mirrored, right, top)


def _lamps(stage: Stage, face: Face, color: Color, bottom: float, top: float, label: str) -> None:
    for left, right in ((0.03, 0.22), (0.78, 0.97)):
        _detail(stage, face, color, label, left, bottom, right, top)
        stage.shine(cell(face, left, bottom, right, top), color, label, 0.9)


def _sill_and_doors(stage: Stage, body: Block, label: str) -> None:
    for side in (body.left, body.right):
        _detail(stage, side, (40, 40, 42), label, 0.0, 0.0, 1.0, 0.12)
        for s in (0.27, 0.5, 0.7):
            _detail(stage, side, (36, 36, 38), label, s, 0.14, s + 0.006, 0.98)


def _wheels(
    stage: Stage, pose: Pose, width: float, radius: float, axles: tuple[float, ...], label: str
) -> None:
    """Wheels on the side that the camera sees."""
    for sign in (-1.0, 1.0):
        x = sign * (width / 2 + 0.01)
        side_x, _, side_z = pose.world((x, 0.0, 0.0))
        if (side_x - pose.x) * side_x + (side_z - pose.z) * side_z >= 0.0:
            continue
        for axle in axles:

            def rim(size: float, axle: float = axle, x: float = x) -> list[Point]:
                return [pose.world((x, radius + size * b, axle + size * a)) for a, b in CIRCLE]

            stage.fill(rim(radius), (22, 22, 24), label, stage.light.ambient + 0.15)
            if stage.camera.pixels(radius, pose.z) > 3 * SUPERSAMPLING:
                stage.fill(rim(radius * 0.62), (134, 136, 140), label, stage.light.ambient + 0.25)
                stage.fill(rim(radius * 0.2), (60, 62, 64), label, stage.light.ambient + 0.2)
