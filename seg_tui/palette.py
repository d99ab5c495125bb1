"""Colours that mean something: curves, statuses, better and worse.

The usual curves take the eight colours of Okabe and Ito ("Color Universal Design", 2008), which people with
any common colour blindness tell apart; black, the ninth of many figures, is left out as terminals are dark.
"""

from __future__ import annotations

CURVES = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#999999")

CURVE_PALETTES: dict[str, tuple[str, ...]] = {
    "okabe-ito": CURVES,
    # The same hues, darkened until each has a contrast of 3 to 1 and more on white.
    "okabe-ito-light": (
        "#0072b2", "#b35900", "#00795a", "#b0507f", "#857a00", "#3b8fc4", "#c24f00", "#666666",
    ),
    "bright": ("#5fd7ff", "#ffaf5f", "#87ff5f", "#ff87d7", "#ffff5f", "#af87ff", "#ff5f5f", "#d0d0d0"),
}  # fmt: skip
"""By the name that the setting `curves` has."""

BETTER, WORSE = "#56b4e9", "#d55e00"
"""Of a difference: blue and vermilion, not green and red, which many people cannot tell apart."""


def curve_color(position: int, palette: str = "okabe-ito") -> str:
    """The colour of the curve at a position; after eight they begin anew."""
    colors = CURVE_PALETTES[palette]
    return colors[position % len(colors)]
