"""Colours for terminals of 256: the nearest of theirs.

Rich rounds each channel by itself, which makes navy of a dark grey with a trace of blue, such as that of
Textual's title and key bars; SSH passes on no word of more colours.
"""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color as RichColor
from rich.palette import Palette
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

_STEPS = (0, 95, 135, 175, 215, 255)
_FIRST = 16
"""The colours before this one are the person's own; nobody knows what they look like."""

_OURS = Palette(
    [(red, green, blue) for red in _STEPS for green in _STEPS for blue in _STEPS]
    + [(8 + 10 * step,) * 3 for step in range(24)]
)
"""The cube of 6x6x6 colours and the 24 greys of xterm, from number 16 on."""


class NearestOf256(LineFilter):
    """Replaces each colour by the nearest that the terminal has."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            Segment(text, None if style is None else _nearest_style(style), control)
            for text, style, control in segments
        ]


@lru_cache(4096)
def _nearest_style(style: Style) -> Style:
    return style + Style.from_color(_nearest(style.color), _nearest(style.bgcolor))


@lru_cache(4096)
def _nearest(color: RichColor | None) -> RichColor | None:
    if color is None or color.triplet is None:
        return color
    return RichColor.from_ansi(_FIRST + _OURS.match(color.triplet))
