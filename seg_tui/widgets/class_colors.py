"""The colours of classes on the terminal at hand: as they are, the nearest it has, or letters.

A terminal with 256 or 16 colours shows the nearest of its own. Two classes must not become one by that, so
each class gets a colour of its own as long as there are enough; and only colours that survive the rounding
on the way to the terminal are given out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from rich.color import Color as RichColor
from rich.color import ColorSystem
from textual.app import App

Color = tuple[int, int, int]
"""Red, green, blue; 0-255."""

Depth = Literal["true", "256", "16", "none"]
"""What a terminal can show: 24-bit colours, 256, 16, or none (NO_COLOR)."""

VOID_COLOR: Color = (0, 0, 0)

_SIXTEEN = (
    0x000000, 0xAA0000, 0x00AA00, 0xAA5500, 0x0000AA, 0xAA00AA, 0x00AAAA, 0xAAAAAA,
    0x555555, 0xFF5555, 0x55FF55, 0xFFFF55, 0x5555FF, 0xFF55FF, 0x55FFFF, 0xFFFFFF,
)  # fmt: skip
"""The colours that Rich takes the 16 of a terminal for, those of the VGA."""

_SYSTEMS = {"256": ColorSystem.EIGHT_BIT, "16": ColorSystem.STANDARD}


def color_depth(app: App[object]) -> Depth:
    """What the terminal of the app can show."""
    if app.no_color:
        return "none"
    systems: dict[str | None, Depth] = {"256": "256", "standard": "16", "windows": "16"}
    return systems.get(app.console.color_system, "true")


def class_paints(colors: Sequence[Color], depth: Depth) -> list[Color]:
    """The colour in which each class is shown, distinct for each as far as the terminal's colours go.

    With few colours the most different class and palette colours meet last: pairs are taken nearest first.
    """
    palette = _palette(depth)
    if not palette:
        return list(colors)
    void = min(palette, key=lambda paint: _distance(paint, VOID_COLOR))
    free = set(palette) - {void}
    paints: dict[int, Color] = {}
    pairs = sorted(
        (_distance(color, paint), position, paint) for position, color in enumerate(colors) for paint in free
    )
    for _, position, paint in pairs:
        if position not in paints and paint in free:
            paints[position] = paint
            free.discard(paint)
    return [
        paints.get(position) or min(palette, key=lambda paint: _distance(paint, color))
        for position, color in enumerate(colors)
    ]


def class_letters(names: Sequence[str]) -> list[str]:
    """A character for each class, distinct as far as letters go: of its name where that is free."""
    spare = [chr(code) for code in (*range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1))]
    spare += [chr(code) for code in (*range(ord("0"), ord("9") + 1), *range(0xC0, 0x180))]
    taken: list[str] = []
    for name in names:
        own = [c for c in name if c.isalnum() and len(c) == 1]
        wanted = (*own[:1], *(c.upper() for c in own[:1]), *own[1:], *spare)
        taken.append(next((c for c in wanted if c not in taken), "?"))
    return taken


def hex_of(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def color_of(text: str) -> Color:
    """Of "#rrggbb"."""
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


@lru_cache
def _palette(depth: Depth) -> tuple[Color, ...]:
    """The colours that such a terminal shows just as they are given; none where it shows all, or none."""
    system = _SYSTEMS.get(depth)
    if system is None:
        return ()
    found = []
    for number in range(16, 256) if depth == "256" else range(16):
        triplet = RichColor.from_ansi(number).get_truecolor()
        paint = (triplet.red, triplet.green, triplet.blue)
        if depth == "16":
            paint = color_of(f"{_SIXTEEN[number]:06x}")
        if RichColor.from_rgb(*paint).downgrade(system).number == number:
            found.append(paint)
    return tuple(dict.fromkeys(found))


def _distance(one: Color, other: Color) -> float:
    """How different two colours look: the "redmean" approximation of Riemersma, "Colour metric" (2019)."""
    red = (one[0] + other[0]) / 2
    dr, dg, db = (a - b for a, b in zip(one, other, strict=True))
    return (2 + red / 256) * dr * dr + 4 * dg * dg + (2 + (255 - red) / 256) * db * db
