"""Colours that mean something: curves, statuses, better and worse.

Curves take the eight colours of Okabe and Ito ("Color Universal Design", 2008), which people with any
common colour blindness tell apart; black, the ninth of many figures, is left out as terminals are dark.
"""

from __future__ import annotations

CURVES = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00", "#999999")

BETTER, WORSE = "#56b4e9", "#d55e00"
"""Of a difference: blue and vermilion, not green and red, which many people cannot tell apart."""


def curve_color(position: int) -> str:
    """The colour of the curve at a position; after eight they begin anew."""
    return CURVES[position % len(CURVES)]
