"""One street scene from a seed: layout, painting from far to near, and what lies in front of the camera."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engine.data.scenes import furniture, people, surroundings, vehicles
from engine.data.scenes.ground import LANE, SIDES, draw_cross_section, paint_ground
from engine.data.scenes.lens import develop
from engine.data.scenes.stage import (
    AWAY,
    LEFTWARDS,
    RIGHTWARDS,
    SOURCE_ID,
    SUPERSAMPLING,
    TOWARDS,
    Pose,
    Stage,
    between,
    choose,
    mix,
    vary,
)
from engine.data.scenes.styles import DAY, STYLES, Style
from engine.data.scenes.weather import draw_camera, draw_weather, paint_sky

RARE = ("rider", "bus", "motorcycle", "truck", "wall", "train")
"""Classes that seldom come by chance: every six pictures have each of them put in once."""

FAR = 130.0
"""Metres: how far the street is laid out."""

Paint = Callable[[], None]


def render(
    seed: int, index: int, size: tuple[int, int], style: str = DAY
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture number `index` of the set `seed`, at `size` (height, width) in pixels, in one of STYLES.

    Returns the image [height, width, 3] (RGB) and the label map [height, width] of source ids, both
    uint8. They depend on the four arguments alone. What stands where does not depend on the size, and on the
    style only where that is another city.
    """
    height, width = size
    # Painters draw more numbers where there is more to see; streams of their own for layout and for
    # pixel noise let a larger picture show the same street.
    rng, brush_rng, pixel_rng, style_rng = (
        np.random.Generator(np.random.PCG64(child))
        for child in np.random.SeedSequence([seed, index]).spawn(4)
    )
    world = STYLES[style]
    light = world.light(draw_weather(rng), style_rng)
    camera = world.camera(draw_camera(rng, height * SUPERSAMPLING, width * SUPERSAMPLING))
    canvas = paint_sky(rng, light, camera, height * SUPERSAMPLING, width * SUPERSAMPLING)
    stage = Stage(canvas, camera, light, brush_rng, world.palette, style_rng if world.lamps else None)
    _Scene(stage, rng, world).paint(_rare_class(seed, index))
    _paint_bonnet(stage, rng)
    return develop(stage, height, width, pixel_rng, partial(world.touch, style_rng))


def _rare_class(seed: int, index: int) -> str:
    """The class that this picture is given; shuffled, so that no split's rhythm misses one for good."""
    six, place = divmod(index, len(RARE))
    shuffler = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, six], spawn_key=(3,))))
    return RARE[int(shuffler.permutation(len(RARE))[place])]


class _Scene:
    """What has been put on a street, to be painted from far to near."""

    def __init__(self, stage: Stage, rng: np.random.Generator, world: Style) -> None:
        self.stage, self.rng, self.taller = stage, rng, world.taller
        self.road = world.road(draw_cross_section(rng))
        self.things: list[tuple[float, Paint]] = []
        self.frontage: list[tuple[float, Paint]] = []

    def paint(self, rare: str) -> None:
        for side in SIDES:
            self._line_with_houses(side, wanted=rare == "wall" and side > 0)
        self._put_traffic(rare)
        for side in SIDES:
            self._furnish(side)
        self._put_people(rare)

        paint_ground(self.stage, self.road)
        self.stage.lay_shadows()
        self._paint_skyline()
        for pile in (self.frontage, self.things):
            for _, paint in sorted(pile, key=lambda item: -item[0]):
                paint()

    def put(
        self,
        paint: Paint,
        x: float,
        z: float,
        width: float,
        length: float,
        tall: float,
        turn: tuple[float, float] = AWAY,
    ) -> None:
        """Have a thing painted in its turn, and its shadow laid; sizes in metres."""
        pose = Pose(x, z, turn)
        self.stage.contact_shadow(pose.footprint(width + 0.2, length + 0.2))
        self.stage.cast_shadow(pose.footprint(width, length), 0.2, tall)
        reach = length / 2 if turn in (AWAY, TOWARDS) else width / 2
        # Of two things side by side, the one nearer to the middle of the street hides the other.
        self.things.append((z - reach + 0.5 * abs(x), paint))

    # surroundings

    def _line_with_houses(self, side: float, wanted: bool) -> None:
        """Fill one side of the street with houses, gardens and parks; `wanted` asks for a wall near by."""
        rng = self.rng
        kinds = {
            "city": ("house",) * 14 + ("park", "wall", "fenced", "garden"),
            "avenue": ("house",) * 8 + ("park", "garden", "fenced", "wall"),
            "suburb": ("house", "garden", "garden", "garden", "park", "park", "fenced", "wall"),
            "open": ("park", "park", "fenced", "field", "field", "rail", "wall", "garden"),
        }[self.road.style]
        x = self.road.front(side)
        usual_height = between(rng, 9, 19) if self.road.style in ("city", "avenue") else between(rng, 5.5, 9)
        usual_height *= self.taller
        z = between(rng, 0.9, 2.0)
        while z < FAR:
            near, far = z, z + between(rng, 8, 22) * (1.0 if z < 60 else 1.6)
            kind = choose(rng, kinds)
            if wanted and near > 5:
                kind, wanted = "wall", False
            tall = usual_height * between(rng, 0.75, 1.3)
            if kind == "house":
                self._put_house(x + side * between(rng, 0, 0.3), near, far, tall)
            elif kind == "garden":
                self._put_house(x + side * between(rng, 4, 8), near + 1, far - 1, tall * 0.8)
                self._put_green(x + side * 2.5, side, near, far, trees=1)
                self._put_border(x, near, far, choose(rng, ("fence", "fence", "wall", "hedge", "hedge")))
            elif kind == "park":
                self._put_green(x + side * 2, side, near, far, trees=3)
                self._put_border(x, near, far, choose(rng, ("fence", "hedge", "none")))
            elif kind == "fenced":
                self._put_green(x + side * 3, side, near, far, trees=2)
                self._put_border(x, near, far, "fence")
            elif kind == "wall":
                self._put_green(x + side * 3, side, near, far, trees=2)
                self._put_border(x, near, far, "wall")
            elif kind == "rail":
                self._put_border(x, near, far, "rail")
            elif rng.random() < 0.5:
                self._put_green(x + side * 12, side, near, far, trees=1)
            z = far + (between(rng, 2, 6) if rng.random() < 0.12 else 0.0)
        if self.road.style == "avenue" or rng.random() < 0.3:
            self._plant_row(side)

    def _put_house(self, x: float, near: float, far: float, tall: float) -> None:
        side = 1.0 if x > 0 else -1.0
        self.frontage.append((near, partial(surroundings.building, self.stage, x, near, far, tall)))
        self.stage.cast_shadow([(x, near), (x + side * 10, near), (x + side * 10, far), (x, far)], 0.0, tall)

    def _put_green(self, x: float, side: float, near: float, far: float, trees: int) -> None:
        for _ in range(trees):
            depth, z = x + side * between(self.rng, 0, 7), between(self.rng, max(4.0, near), max(5.0, far))
            tall = between(self.rng, 5, 13)
            self.frontage.append((z, partial(furniture.tree, self.stage, depth, z, tall)))
            furniture.tree_shadow(self.stage, depth, z, tall)

    def _put_border(self, x: float, near: float, far: float, kind: str) -> None:
        stage, rng = self.stage, self.rng
        paint: Paint
        if kind == "fence":
            paint = partial(surroundings.fence, stage, x, near, far, between(rng, 0.9, 1.9))
        elif kind == "wall":
            paint = partial(surroundings.wall, stage, x, near, far, between(rng, 0.9, 2.6))
        elif kind == "hedge":
            paint = partial(furniture.hedge, stage, x, max(3.0, near), far, between(rng, 0.9, 2.0))
        elif kind == "rail":
            paint = partial(surroundings.guard_rail, stage, x, near, far)
        else:
            return
        # Nearer than the trees behind it, whatever their distance.
        self.frontage.append((near - 0.01, paint))

    def _plant_row(self, side: float) -> None:
        rng, stage = self.rng, self.stage
        x = self.road.edge(side) + side * min(1.0, self.road.sidewalk[side] / 2)
        tall, z = between(rng, 6, 11), between(rng, 7, 15)
        while z < 90:
            grown = tall * between(rng, 0.8, 1.2)
            self.put(partial(furniture.tree, stage, x, z, grown), x, z, 0.4, 0.4, 1.0)
            furniture.tree_shadow(stage, x, z, grown)
            z += between(rng, 8, 14)

    def _paint_skyline(self) -> None:
        """Roofs and trees where the street ends."""
        stage, rng = self.stage, self.rng
        for _ in range(22):
            x, z = between(rng, -140, 140), between(rng, 150, 210)
            wide, tall = between(rng, 6, 18), between(rng, 5, 20)
            if rng.random() < 0.5:
                tone = vary(rng, choose(rng, stage.palette.facades), 12)
                outline = [(-wide, 0.0), (wide, 0.0), (wide, tall), (-wide, tall)]
                stage.board(x, z, outline, tone, "building", stage.light.ambient + 0.2)
            else:
                furniture.foliage(
                    stage, x, tall * 0.35, z, wide, tall * 0.5, choose(rng, stage.palette.leaves)
                )

    # things on the street

    def _put_vehicle(self, kind: str, x: float, z: float, turn: tuple[float, float]) -> float:
        """Put a vehicle with its near end at z; returns the z of its far end."""
        stage, rng = self.stage, self.rng
        if kind == "car":
            shape = choose(rng, vehicles.CAR_SHAPES)
            length, width, tall = shape.length, shape.width, shape.roof
            paint: Callable[[Stage, Pose], None] = partial(vehicles.car, shape=shape)
        else:
            paint, length, width, tall = {
                "truck": (vehicles.truck, 7.8, 2.4, 3.3),
                "bus": (vehicles.bus, 12.0, 2.55, 3.05),
                "train": (vehicles.tram, 27.0, 2.45, 3.45),
            }[kind]
        along = turn in (AWAY, TOWARDS)
        centre = z + (length if along else width) / 2
        # A few degrees off, as drivers are; 2t / (1 + t^2) and (1 - t^2) / (1 + t^2) are a sine and cosine.
        t = between(rng, -0.012, 0.012) + stage.camera.bend * centre
        cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
        turned = (turn[0] * cosine - turn[1] * sine, turn[0] * sine + turn[1] * cosine)
        self.put(partial(paint, stage, Pose(x, centre, turned)), x, centre, width, length, tall, turn)
        return z + (length if along else width)

    def _put_traffic(self, rare: str) -> None:
        rng = self.rng
        big = rare if rare in ("bus", "truck", "train") else None
        ahead = big is not None and big != "train" and rng.random() < 0.4
        self._put_lane(0.0, AWAY, between(rng, 12, 45), big if ahead else None)
        for lane in range(self.road.lanes):
            outermost = lane == self.road.lanes - 1
            first = big if outermost and not ahead else None
            self._put_lane(-LANE * (lane + 1), TOWARDS, between(rng, 9, 40), first)
        for side in SIDES:
            if self.road.parking[side]:
                self._park_cars(side)
        if rng.random() < 0.15:
            turn = choose(rng, (LEFTWARDS, RIGHTWARDS))
            self._put_vehicle("car", between(rng, -5, 3), between(rng, 45, 70), turn)

    def _park_cars(self, side: float) -> None:
        rng = self.rng
        usual = AWAY if side > 0 else TOWARDS
        z = between(rng, 6, 22)
        while z < 80:
            turn = usual if rng.random() < 0.95 else choose(rng, (AWAY, TOWARDS))
            kind = "truck" if rng.random() < 0.02 else "car"
            far = self._put_vehicle(kind, self.road.edge(side) - side * 1.15, z, turn)
            z = far + (between(rng, 0.8, 1.6) if rng.random() < 0.55 else between(rng, 6, 22))

    def _put_lane(self, x: float, turn: tuple[float, float], z: float, first: str | None) -> None:
        rng = self.rng
        if first is not None:
            z = self._put_vehicle(first, x, min(z, 22.0), turn) + between(rng, 4, 15)
        while z < 100:
            if rng.random() < 0.6:
                odd = rng.random()
                kind = "truck" if odd < 0.03 else "bus" if odd < 0.05 else "car"
                z = self._put_vehicle(kind, x + between(rng, -0.25, 0.25), z, turn)
            z += between(rng, 5, 28)

    def _furnish(self, side: float) -> None:
        """Poles, lights, signs and boxes along one kerb."""
        rng, stage = self.rng, self.stage
        kerb = self.road.edge(side) + side * 0.45
        z = between(rng, 6, 24)
        while z < 100:
            self.put(partial(furniture.street_lamp, stage, kerb, z), kerb, z, 0.15, 0.15, 7.0)
            z += between(rng, 18, 32)
        if self.road.style != "open" and rng.random() < 0.65:
            z = self.road.crossing - 0.6
            self.put(partial(furniture.traffic_light, stage, kerb, z), kerb, z, 0.15, 0.15, 3.5)
        for _ in range(int(between(rng, 0, 5))):
            x, z = kerb + side * between(rng, 0, 0.4), between(rng, 7, 45)
            self.put(partial(furniture.traffic_sign, stage, x, z), x, z, 0.1, 0.1, 3.0)
        if rng.random() < 0.12:
            x, z = kerb + side * 2.2, between(rng, 16, 40)
            self.put(partial(furniture.direction_board, stage, x, z), x, z, 2.0, 0.1, 4.0)
        if rng.random() < 0.3:
            z = between(rng, 6, 20)
            for i in range(int(between(rng, 3, 9))):
                at = z + 1.6 * i
                self.put(partial(furniture.bollard, stage, kerb, at), kerb, at, 0.1, 0.1, 0.9)
        for _ in range(int(between(rng, 0, 3))):
            x, z = self.road.front(side) - side * between(rng, 0.5, 1.0), between(rng, 6, 40)
            self.put(partial(furniture.street_thing, stage, x, z), x, z, 0.7, 0.7, 1.1)

    def _put_people(self, rare: str) -> None:
        rng, stage = self.rng, self.stage
        busy = {"city": 13, "avenue": 10, "suburb": 6, "open": 3}[self.road.style]
        for _ in range(int(between(rng, 1, busy))):
            side = choose(rng, SIDES)
            x = self.road.edge(side) + side * between(rng, 0.5, self.road.sidewalk[side])
            z = between(rng, 6, 45)
            for _ in range(choose(rng, (1, 1, 1, 2, 3))):  # people walk alone or together
                self.put(partial(people.person, stage, x, z), x, z, 0.4, 0.3, 1.7)
                x, z = x + between(rng, 0.5, 0.8), z + between(rng, -0.4, 0.4)
        if rng.random() < 0.35:
            x = between(rng, self.road.left + 0.5, self.road.right - 0.5)
            z = self.road.crossing + between(rng, 0.5, 2.5)
            self.put(partial(people.person, stage, x, z), x, z, 0.4, 0.3, 1.7)

        if rare == "rider" or rng.random() < 0.25:
            x, z = self.road.edge(1.0) - (2.5 if self.road.parking[1.0] else 0.6), between(rng, 8, 18)
            self._put_two_wheeler("bicycle", x, z, ridden=True, sideways=rng.random() < 0.3)
        if rare == "motorcycle":
            side = choose(rng, SIDES)
            # On the sidewalk where the kerb is full of parked cars, else on the road.
            x = self.road.edge(side) + side * (0.9 if self.road.parking[side] else -0.7)
            z, ridden = between(rng, 8, 15), rng.random() < 0.3
            self._put_two_wheeler("motorcycle", x, z, ridden, sideways=rng.random() < 0.6)
        for _ in range(choose(rng, (0, 1, 2, 3))):
            side, z = choose(rng, SIDES), between(rng, 7, 26)
            x = self.road.edge(side) + side * between(rng, 0.7, 1.4)
            for i in range(choose(rng, (1, 1, 2, 4))):  # racks are shared
                kind = "motorcycle" if rng.random() < 0.08 else "bicycle"
                self._put_two_wheeler(kind, x, z + 0.7 * i, ridden=False, sideways=rng.random() < 0.7)

    def _put_two_wheeler(self, kind: str, x: float, z: float, ridden: bool, sideways: bool) -> None:
        paint = {"bicycle": people.bicycle, "motorcycle": people.motorcycle}[kind]
        wide, tall = 1.8 if sideways else 0.5, 1.6 if ridden else 0.9
        self.put(partial(paint, self.stage, x, z, ridden, sideways), x, z, wide, 0.4, tall)


def _paint_bonnet(stage: Stage, rng: np.random.Generator) -> None:
    """The bonnet of the camera's own car along the lower edge, with the sky mirrored in it."""
    width, height = stage.canvas.size
    rise, middle = height * between(rng, 0.03, 0.1), width * between(rng, 0.46, 0.54)
    if rng.random() < 0.2:
        return
    paint = vary(rng, choose(rng, ((40, 42, 46), (70, 74, 80), (30, 34, 50))), 8)
    steps = [i / 24 for i in range(25)]

    def arc(share: float) -> list[tuple[float, float]]:
        bow = [(s, 1.0 - ((s * width - middle) / (0.56 * width)) ** 2) for s in steps]
        return [(s * width, height - rise * share * max(0.0, b)) for s, b in bow]

    for share, gloss in ((1.0, 0.1), (0.95, 0.45), (0.8, 0.35), (0.6, 0.25), (0.4, 0.18), (0.2, 0.12)):
        red, green, blue = stage.shade(mix(paint, stage.light.haze, gloss), 0.9, 0.0)
        outline = [*arc(share), (width, height), (0, height)]
        stage.draw.polygon(outline, (red, green, blue, SOURCE_ID["ego vehicle"]))
