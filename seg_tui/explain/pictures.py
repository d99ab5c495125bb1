"""The drawings of an explanation as widgets."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from textual.color import Color
from textual.strip import Strip
from textual.widget import Widget

from engine.report.explain import Explanation, Factor
from seg_tui.palette import curve_color, legible


class ExplainPicture(Widget):
    """Draws an explanation anew when it, its size or the theme changes."""

    DEFAULT_CSS = """
    ExplainPicture { width: 1fr; height: 1fr; min-height: 4; }
    ExplainPicture > .picture--axis { color: $foreground 35%; }
    ExplainPicture > .picture--label { color: $foreground 70%; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"picture--axis", "picture--label"}

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.explanation: Explanation | None = None
        self.factor: Factor | None = None
        """The key whose values are the x axis; None: all keys as parallel axes."""
        self._palette = "okabe-ito"
        self._strips: list[Strip] | None = None

    def show(self, explanation: Explanation | None, factor: Factor | None, palette: str) -> None:
        self.explanation, self.factor, self._palette = explanation, factor, palette
        self._redraw()

    def on_resize(self) -> None:
        self._redraw()

    def notify_style_update(self) -> None:
        self._strips = None
        super().notify_style_update()

    def _redraw(self) -> None:
        self._strips = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        if self._strips is None:
            self._strips = self._draw()
        blank = Strip.blank(self.size.width, self.rich_style)
        return self._strips[y] if y < len(self._strips) else blank

    def _draw(self) -> list[Strip]:
        if self.explanation is None or not self.size:
            return []
        from seg_tui.explain.drawing import ExplainInks, parallel, scatter  # brings NumPy

        width, height = self.size
        faint, blue, orange = self._ink(0, 0.35), self._ink(0), self._ink(1)
        bold = Style(bold=True)
        inks = ExplainInks(
            ground=self.rich_style,
            axis=self.get_component_rich_style("picture--axis"),
            label=self.get_component_rich_style("picture--label"),
            point=blue,
            spread=faint,
            mean=orange,
            worst=faint,
            middle=blue,
            best=orange + bold,
        )
        if self.factor is None:
            strips = parallel(self.explanation, width, height, inks)
        else:
            strips = scatter(self.explanation, self.factor, width, height, inks)
        return [strip.adjust_cell_length(width, self.rich_style) for strip in strips]

    def _ink(self, place: int, share: float = 1.0) -> Style:
        """A colour of the palette that can be told from the background, or mixed with it."""
        color, background = curve_color(place, self._palette), self.background_colors[1]
        if background.ansi is not None:
            # A terminal's own background is not known: nothing can be mixed with it.
            return Style(color=color, dim=share < 1)
        color = legible(color, background.hex6)
        return Style(color=background.blend(Color.parse(color), share).rich_color)
