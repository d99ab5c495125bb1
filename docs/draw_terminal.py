"""Draw the screen of a Textual app as an image, cell by cell, and join such images to a moving picture.

Text is drawn with the DejaVu Sans Mono that matplotlib brings, so the picture is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.color import Color
from rich.style import Style
from textual.app import App

FONT_SIZE = 19
CELL_WIDTH, CELL_HEIGHT = 11, 22
"""Pixels of a cell of the terminal."""

Pixels = NDArray[np.uint8]

_BLOCKS = {
    "▀": (0.0, 0.0, 1.0, 0.5),
    "▐": (0.5, 0.0, 1.0, 1.0),
    "▔": (0.0, 0.0, 1.0, 1 / 8),
    "▕": (7 / 8, 0.0, 1.0, 1.0),
    **{chr(0x2581 + n): (0.0, 1 - (n + 1) / 8, 1.0, 1.0) for n in range(8)},  # from one eighth to all of it
    **{chr(0x2589 + n): (0.0, 0.0, (7 - n) / 8, 1.0) for n in range(7)},  # from seven eighths to one
}
"""Characters that fill a part of their cell: left, top, right and bottom, as shares of it."""

_ARMS = {"─": "lr", "│": "tb", "┌": "rb", "┐": "lb", "└": "rt", "┘": "lt", "├": "rtb", "┤": "ltb", "┬": "lrb"}
_ARMS |= {"┴": "lrt", "┼": "lrtb", "╶": "r", "╴": "l", "╵": "t", "╷": "b"}
_ARMS |= {"╭": "rb", "╮": "lb", "╰": "rt", "╯": "lt"}
"""Lines from the middle of the cell to its left, right, top and bottom edge."""

_PLACES = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
_BRAILLE = tuple((1 << bit, *at) for bit, at in enumerate(_PLACES))
"""The dots of a braille character: bit, column, row."""


RGB = tuple[int, ...]


class Look(NamedTuple):
    """One cell: a character in a colour on another."""

    character: str
    color: RGB
    background: RGB
    bold: bool
    underline: bool


def draw_screen(app: App[object]) -> Image.Image:
    """The screen as it is now, with square corners and nothing around it."""
    strips = app.screen._compositor.render_strips()
    plain = app.get_css_variables()
    default = (_parsed(plain["foreground"]), _parsed(plain["background"]))
    width = app.size.width
    image = Image.new("RGB", (width * CELL_WIDTH, len(strips) * CELL_HEIGHT), default[1])
    for row, strip in enumerate(strips):
        column = 0
        for text, style, control in strip:
            if control:
                continue
            for character in text:
                look = _look(character, style or Style.null(), default)
                image.paste(_cell(look), (column * CELL_WIDTH, row * CELL_HEIGHT))
                column += 1
    return image


def save_gif(
    path: Path, frames: Sequence[Image.Image], seconds: Sequence[float], keep: Sequence[RGB]
) -> None:
    """A GIF that plays without end.

    All frames share one palette, so that what stands still takes no room: the colours to `keep`, and for all
    else those that serve it best.
    """
    palette = Image.new("P", (1, 1))
    palette.putpalette(
        [value for color in [*keep, *_best_colors(frames, 256 - len(keep))] for value in color]
    )
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [round(each * 100) * 10 for each in seconds]
    indexed[0].save(
        path, save_all=True, append_images=indexed[1:], duration=durations, loop=0, optimize=False
    )


def _best_colors(frames: Sequence[Image.Image], count: int) -> list[RGB]:
    """Colours that serve all frames. Each counts by the square root of its pixels: people look at text
    and curves, which have few."""
    pixels: dict[int, int] = {}
    for frame in frames:
        packed = np.asarray(frame).astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        for color, found in zip(*np.unique(packed, return_counts=True), strict=True):
            pixels[int(color)] = max(pixels.get(int(color), 0), int(found))
    weights = np.sqrt(np.array(list(pixels.values()))).astype(int).clip(1, 60)
    dots = np.repeat(np.array(list(pixels)), weights)
    rgb = np.stack([dots >> 16, dots >> 8 & 255, dots & 255], axis=-1).astype(np.uint8)
    strip = Image.fromarray(rgb[None]).quantize(count, method=Image.Quantize.MEDIANCUT, kmeans=2)
    values = strip.getpalette() or []
    return [tuple(values[at : at + 3]) for at in range(0, len(values), 3)]


# ---------------------------------------------------------------------- cells


def _parsed(color: str) -> RGB:
    return tuple(Color.parse(color[:7]).get_truecolor())


def _look(character: str, style: Style, default: tuple[RGB, RGB]) -> Look:
    color = _rgb(style.color, default[0])
    background = _rgb(style.bgcolor, default[1])
    if style.reverse:
        color, background = background, color
    if style.dim:
        color = tuple((a + b) // 2 for a, b in zip(color, background, strict=True))
    return Look(character, color, background, bool(style.bold), bool(style.underline))


def _rgb(color: Color | None, default: RGB) -> RGB:
    if color is None or color.is_default:
        return default
    return tuple(color.get_truecolor())


@lru_cache(maxsize=1 << 16)
def _cell(look: Look) -> Image.Image:
    image = Image.new("RGB", (CELL_WIDTH, CELL_HEIGHT), look.background)
    draw = ImageDraw.Draw(image)
    code = ord(look.character)
    if look.character in _BLOCKS:
        left, top, right, bottom = _BLOCKS[look.character]
        first = round(left * CELL_WIDTH), round(top * CELL_HEIGHT)
        last = round(right * CELL_WIDTH) - 1, round(bottom * CELL_HEIGHT) - 1
        draw.rectangle((first, last), fill=look.color)
    elif look.character in _ARMS:
        _draw_lines(draw, _ARMS[look.character], look.color)
    elif 0x2800 <= code <= 0x28FF:
        for bit, column, row in _BRAILLE:
            if code & bit:
                x, y = round((column + 0.5) * CELL_WIDTH / 2), round((row + 0.5) * CELL_HEIGHT / 4)
                draw.ellipse((x - 2, y - 2, x + 1, y + 1), fill=look.color)
    elif look.character != " ":
        font = _font(look.bold)
        draw.text((CELL_WIDTH / 2, CELL_HEIGHT * 0.76), look.character, look.color, font, anchor="ms")
    if look.underline:
        draw.line((0, CELL_HEIGHT - 3, CELL_WIDTH, CELL_HEIGHT - 3), fill=look.color)
    return image


def _draw_lines(draw: ImageDraw.ImageDraw, arms: str, color: RGB) -> None:
    x, y = CELL_WIDTH // 2, CELL_HEIGHT // 2
    ends = {"l": (0, y), "r": (CELL_WIDTH, y), "t": (x, 0), "b": (x, CELL_HEIGHT)}
    for arm in arms:
        draw.line((x, y, *ends[arm]), fill=color, width=1)


@lru_cache
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(fonts / f"DejaVuSansMono{'-Bold' if bold else ''}.ttf", FONT_SIZE)
