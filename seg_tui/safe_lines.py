"""The last thing that happens to every line of every widget before the terminal gets it."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from engine.visible import one_line


class SafeLines(LineFilter):
    """Makes text from outside `visible`, so that control sequences are Textual's and those of images alone.

    A line keeps its width: what a visible character needs is taken from the line's end, as the layout has
    counted it as nothing.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(segment.control or segment.text.isprintable() for segment in segments):
            return segments
        width = Segment.get_line_length(segments)
        shown = [
            segment if segment.control else Segment(one_line(segment.text), segment.style)
            for segment in segments
        ]
        return shown if Segment.get_line_length(shown) == width else Segment.adjust_line_length(shown, width)
