"""The colours that the terminal has, and the theme for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.terminal_theme import TerminalTheme
from textual.color import Color, ColorParseError

if TYPE_CHECKING:
    from seg_tui.app import SegTui

ANSI_THEME, DARK_THEME = "ansi-dark", "textual-dark"


class TerminalColors:
    """Fits the app to a terminal of 16, of 256 or of all colours."""

    def __init__(self, app: SegTui) -> None:
        self._app = app
        self._named: dict[str, TerminalTheme | None] = {}

    @property
    def are_few(self) -> bool:
        """Whether the terminal has no more than 16 colours."""
        app = self._app
        few = app.console.color_system in ("standard", None)
        return few and not app.is_headless and not os.environ.get("NO_COLOR")

    def take_theme(self, wanted: str) -> str:
        """Take the theme of that name; else one of the terminal's own colours where it has only sixteen.
        Returns a line when there is no such theme."""
        there = wanted in self._app.available_themes
        self._app.theme = wanted if there else ANSI_THEME if self.are_few else DARK_THEME
        # Textual asks for the colours with names when the theme becomes another, and not at the start.
        self._app.ansi_theme_dark = self._app.ansi_theme_light = self._app.ansi_theme
        if there or not wanted:
            return ""
        return f"theme: {wanted!r} does not exist; using {self._app.theme}. f2 lists the themes"

    def take_nearest(self) -> None:
        """On a terminal of 256 colours, show each as the nearest of them."""
        app = self._app
        if app.console.color_system == "256" and not app.is_headless and not app.no_color:
            from seg_tui.few_colors import NearestOf256

            app._filters.append(NearestOf256())

    @property
    def named(self) -> TerminalTheme | None:
        """What "red", "cyan" and so on of a report are in the theme at hand: its own colours for text that
        warns, tells of success and so on. None where the theme is the terminal's colours."""
        theme = self._app.current_theme.name
        if theme not in self._named:
            self._named[theme] = _named(self._app.get_css_variables())
        return self._named[theme]

    def hint(self, theme: str) -> str:
        """How to get more colours, where there are few and no theme is chosen; else ""."""
        if theme or not self.are_few:
            return ""
        return (
            f"TERM={os.environ.get('TERM', '')} stands for 16 colours; if your terminal has more, "
            "start TERM=xterm-256color seg-tui"
        )


_NAMED = ("background", "error", "success", "warning", "primary", "accent", "primary", "foreground")
"""Of the theme in place of black, red, green, yellow, blue, magenta, cyan and white."""


def _named(variables: dict[str, str]) -> TerminalTheme | None:
    try:
        colors = {
            name: Color.parse(variables[name if name.endswith("ground") else f"text-{name}"])
            for name in _NAMED
        }
    except (KeyError, ColorParseError):
        return None
    if any(color.ansi is not None for color in colors.values()):
        return None
    normal = [colors[name].rgb for name in _NAMED]
    return TerminalTheme(colors["background"].rgb, colors["foreground"].rgb, normal, normal)
