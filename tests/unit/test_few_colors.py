"""The colours of the theme on a terminal that has 256."""

from __future__ import annotations

import pytest
from rich.color import Color, ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.color import Color as Background
from textual.theme import BUILTIN_THEMES

from seg_tui.few_colors import NearestOf256


def shown(color: str) -> Color:
    (segment,) = NearestOf256().apply([Segment("x", Style(bgcolor=color))], Background(0, 0, 0))
    assert segment.style is not None
    assert segment.style.bgcolor is not None
    return segment.style.bgcolor.downgrade(ColorSystem.EIGHT_BIT)


def test_the_bars_are_grey_and_no_navy() -> None:
    colors = BUILTIN_THEMES["textual-dark"].to_color_system().generate()
    for name in ("background", "surface", "panel"):
        red, green, blue = shown(colors[name]).get_truecolor()
        assert max(red, green, blue) - min(red, green, blue) < 20, name


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "nord", "gruvbox"])
def test_no_colour_moves_far(theme: str) -> None:
    for name, color in BUILTIN_THEMES[theme].to_color_system().generate().items():
        if not color.startswith("#"):
            continue
        wanted = Color.parse(color[:7]).get_truecolor()
        got = shown(color[:7]).get_truecolor()
        assert sum(abs(a - b) for a, b in zip(wanted, got, strict=True)) < 100, (name, color)


def test_terminal_colours_and_none_stay() -> None:
    style = Style(color="red", bold=True)
    (segment,) = NearestOf256().apply([Segment("x", style)], Background(0, 0, 0))
    assert segment.style == style
