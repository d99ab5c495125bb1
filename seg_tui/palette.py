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


OF_TEXT = 4.5
"""The contrast that WCAG 2.2 (success criterion 1.4.3) asks of text."""

_INKS = ("primary", "secondary", "success", "warning", "error", "accent")
"""What themes have a colour of text for, each in a variable such as "text-error"."""


def with_legible_text(variables: dict[str, str]) -> dict[str, str]:
    """The variables of a theme with its colours of text, and that of cursors, lighter or darker until they
    can be read. Colours of the terminal's own are left as they are."""
    grounds = [variables.get(name, "") for name in ("background", "surface", "panel")]
    if not all(map(_is_plain, grounds)):
        return variables
    changed = {}
    for name in (f"text-{ink}" for ink in _INKS):
        color = variables.get(name, "")
        for ground in grounds if _is_plain(color) else ():
            color = legible(color, ground, OF_TEXT)
        changed[name] = color
    if _is_plain(cursor := variables.get("primary", "")):
        changed["block-cursor-background"] = legible(cursor, grounds[0], OF_TEXT)
        changed["block-cursor-foreground"] = grounds[0]
    return variables | {name: color for name, color in changed.items() if color}


def _is_plain(color: str) -> bool:
    return len(color) == 7 and color.startswith("#")


def legible(color: str, background: str, contrast: float = 3.0) -> str:
    """`color` made lighter or darker until its contrast to `background` is at least `contrast`.

    3 is what WCAG 2.2 (success criterion 1.4.11) asks of graphics. Colours are "#rrggbb".
    """
    target = (255, 255, 255) if _luminance(background) < 0.18 else (0, 0, 0)
    own = _channels(color)
    for share in range(0, 101, 5):
        mixed = tuple(round(c + (t - c) * share / 100) for c, t in zip(own, target, strict=True))
        shade = "#{:02x}{:02x}{:02x}".format(*mixed)
        light, dark = sorted((_luminance(shade), _luminance(background)), reverse=True)
        if (light + 0.05) / (dark + 0.05) >= contrast:
            break
    return shade


def _channels(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color.removeprefix("#")[:6]))


def _luminance(color: str) -> float:
    """Relative luminance in [0, 1] (WCAG 2.2)."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (channel / 255 for channel in _channels(color))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
