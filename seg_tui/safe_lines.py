"""The last thing that happens to every line of every widget before the terminal gets it."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
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
        room = Segment.get_line_length(segments)
        shown = []
        for segment in segments:
            if segment.control:
                shown.append(segment)
                continue
            text = one_line(segment.text)
            length = cell_len(text)
            if length > room:
                text, length = set_cell_size(text, room), room
            room -= length
            shown.append(Segment(text, segment.style))
        return shown
