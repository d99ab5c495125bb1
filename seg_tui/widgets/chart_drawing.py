"""One drawing of a chart: curves in braille with axes and a legend that is also the read-off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.strip import Strip

from seg_tui.palette import legible
from seg_tui.widgets import curves as axes
from seg_tui.widgets.column_widths import shorten
from seg_tui.widgets.curves import Curve, Window, reading
from seg_tui.widgets.legend import legend_lines

if TYPE_CHECKING:
    from seg_tui.widgets.plot import Plot, View
    from seg_tui.widgets.raster import Raster

_NARROW_LOG = 0.05
"""Powers of ten in sight up to which ticks on a log scale need more than three digits."""
_SIGNS, _SIGN_EVERY = "●▲■◆○△□◇", 8
"""What tells curves apart where there are no colours, and at which distance it stands, in cells."""
_ABOVE, _BELOW = "↑", "↓"
"""What stands where a curve leaves the chart for an outlier."""
_LEAST_HEIGHT_FOR_AXIS, _LEAST_WIDTH_FOR_NAME = 10, 40


@dataclass(frozen=True)
class Inks:
    """What a chart is drawn with: the styles of its parts, its background, and whether there are colours."""

    axis: Style
    label: Style
    title: Style
    cursor: Style
    shared: Style
    hidden: Style
    ground: Style
    background: Color
    no_color: bool


@dataclass
class ChartDrawing:
    """What a chart shows of a `plot` of its curves. `cursor` is the x at which the legend reads off, `key`
    the one that shows outliers, "" where none does. Once drawn, the curves take `columns` cells from the
    column `left` on; 0 while nothing is drawn."""

    title: str
    empty: str
    curves: tuple[Curve, ...]
    plot: Plot
    x_kind: Literal["epoch", "time"]
    log_scale: bool
    clipped: bool
    smoothing: float
    cursor: float | None
    key: str
    inks: Inks
    left: int = 0
    columns: int = 0

    def strips(self, width: int, height: int, window: Window) -> list[Strip]:
        """The lines, with the x of `window` in sight."""
        view = self.plot.view(window, self.clipped)
        if view is None:
            return self._say_empty(width, height)
        background = self.inks.background
        colors = [
            curve.color if background.ansi is not None else legible(curve.color, background.hex6)
            for curve in self.curves
        ]
        has_axis = height >= _LEAST_HEIGHT_FOR_AXIS
        most = max(1, height // 4)
        # Which curves share a cell is known once they are drawn; its entry makes no legend higher.
        rows = max(1, height - len(self._legend(view, width, most, colors, is_shared=False)) - 1 - has_axis)
        y_ticks, y_labels = self._y_ticks(view, rows)
        name = self.x_kind if width >= _LEAST_WIDTH_FOR_NAME else ""
        margin = max(map(len, (*y_labels, name)))
        self.left, self.columns = margin + 1, max(1, width - margin - 1)
        front, behind = self.plot.rasters(view, self.columns, rows)
        head = self._legend(view, width, most, colors, front.is_shared)
        drawn = self._drawn(front, behind, view, margin, y_ticks, y_labels, colors)
        below = self._on_ground(self._x_axis(view, width, margin, has_axis, name), width)
        return [*self._on_ground(head, width), *drawn, *below]

    def _on_ground(self, strips: Sequence[Strip], width: int) -> list[Strip]:
        """Lines of `width` cells on the theme's background; a segment without one has the terminal's."""
        ground = self.inks.ground
        return [strip.apply_style(ground).adjust_cell_length(width, ground) for strip in strips]

    def _say_empty(self, width: int, height: int) -> list[Strip]:
        told = self.empty
        if self.log_scale and any(curve.last() is not None for curve in self.curves):
            told = "no value above 0 for a log scale (L)"
        title, label = self.inks.title, self.inks.label
        lines = [Strip.blank(width)] * height
        if height:
            lines[0] = Strip([Segment(shorten(self.title, width), title)])
            lines[height // 2] = Strip([Segment(shorten(told, width).center(width), label)])
        return self._on_ground(lines, width)

    def _drawn(
        self,
        front: Raster,
        behind: Raster,
        view: View,
        margin: int,
        y_ticks: Sequence[float],
        y_labels: Sequence[str],
        colors: Sequence[str],
    ) -> list[Strip]:
        """The curves with the y axis at their left."""
        from seg_tui.widgets.painting import Canvas  # brings NumPy

        axis, label, ground = self.inks.axis, self.inks.label, self.inks.ground
        rows = len(front.marks)
        at_row = {self._row_of(tick, view, rows): text for tick, text in zip(y_ticks, y_labels, strict=True)}
        canvas = Canvas(self.columns, rows, self.inks.ground)
        for row in at_row:
            canvas.row(row, "┈", axis)
        read = self._column_of(self.cursor, view, self.columns)
        if read is not None:
            canvas.column(read, "│", self.inks.cursor)
        canvas.dots(behind, [self._faint(color) for color in colors], self._faint(self._shared_color))
        canvas.dots(front, [Style(color=color) for color in colors], self.inks.shared)
        if self.inks.no_color:
            for position in front.cells:
                for row, column in front.spots(position, _SIGN_EVERY, 3 * position):
                    canvas.cell(row, column, _sign(position), Style(color=colors[position]))
        for column, is_above, position in self.plot.hidden(view, self.columns):
            row = 0 if is_above else rows - 1
            # The mark of a hidden point hides no other curve.
            if front.marks[row, column] in (-1, position):
                canvas.cell(row, column, _ABOVE if is_above else _BELOW, Style(color=colors[position]))
        return [
            Strip(
                [
                    Segment(at_row.get(row, "").rjust(margin), ground + label),
                    Segment("┤" if row in at_row else "│", ground + axis),
                    *segments,
                ],
                margin + 1 + self.columns,
            )
            for row, segments in enumerate(canvas.segments())
        ]

    @property
    def _shared_color(self) -> str:
        color = self.inks.shared.color
        return color.get_truecolor().hex if color is not None else "#808080"

    def _faint(self, color: str) -> Style:
        background = self.inks.background
        if background.ansi is not None:
            # A terminal's own background is not known: nothing can be mixed with it.
            return Style(color=color, dim=True)
        return Style(color=background.blend(Color.parse(color), 0.4).rich_color)

    def _row_of(self, y: float, view: View, rows: int) -> int:
        return round((view.high - y) / (view.high - view.low) * (rows - 1))

    def _column_of(self, x: float | None, view: View, columns: int) -> int | None:
        if x is None or not view.left <= x <= view.right:
            return None
        return min(columns - 1, int((x - view.left) / (view.right - view.left) * columns))

    def _y_ticks(self, view: View, rows: int) -> tuple[list[float], list[str]]:
        """Two at least that stand on different rows, where there are two."""
        find = axes.log_ticks if self.log_scale else axes.ticks
        found = find(view.low, view.high, max(2, min(3, rows // 2), rows // 3))
        if len({self._row_of(tick, view, rows) for tick in found}) < 2:
            found = [(finer := find(view.low, view.high, 8))[0], finer[-1]]
        if self.log_scale:
            digits = 3 if view.high - view.low > _NARROW_LOG else 6
            return found, [f"{10**tick:.{digits}g}" for tick in found]
        return found, axes.tick_labels(found)

    def _x_axis(self, view: View, width: int, margin: int, has_axis: bool, name: str) -> list[Strip]:
        """The line with ticks, where there is room for it, and the labels below; `name` is what x counts and
        stands where the first of them begins, so that the last place is for a number."""
        columns = self.columns
        timed = self.x_kind == "time"
        most = max(1, columns // 10)
        if timed:
            found = axes.time_ticks(view.left, view.right, most)
            labels = [axes.time_label(tick) for tick in found]
        else:
            found = axes.whole_ticks(view.left, view.right, most)
            labels = axes.tick_labels(found)
        under = [self._column_of(tick, view, columns) for tick in found]
        places = [None if column is None else margin + 1 + column for column in under]
        below, placed = axes.place_labels(places, labels, width, "" if has_axis else name)
        axis, label = self.inks.axis, self.inks.label
        strips = [Strip([Segment(below, label)])]
        if has_axis:
            rule = "".join("┬" if margin + 1 + column in placed else "─" for column in range(columns))
            strips.insert(0, Strip([Segment(name.rjust(margin), label), Segment("└" + rule, axis)]))
        return strips

    def _legend(
        self, view: View, width: int, most: int, colors: Sequence[str], is_shared: bool
    ) -> list[Strip]:
        """Title, what is hidden, scale, and every curve with its value under the cursor, on at most `most`
        lines; and what stands for cells that curves share, where there are some."""
        title, label, cursor = self.inks.title, self.inks.label, self.inks.cursor
        out = [f"{sign}{n}" for sign, n in ((_ABOVE, view.above), (_BELOW, view.below)) if n]
        told = [(f"{' '.join(out)} hidden{self.key and f' ({self.key})'}", self.inks.hidden)] * bool(out)
        told += [("log", label)] * self.log_scale
        told += [(f"smooth {self.smoothing:g}", label)] * (self.smoothing > 0)
        if self.cursor is not None:
            x = axes.time_label(self.cursor) if self.x_kind == "time" else f"{self.cursor:g}"
            told.append((f"@ {x}", cursor))
        entries = [[Segment(self.title, title)]] if self.title else []
        entries += [[Segment(text, style)] for text, style in told]
        signs = [f"{_sign(i)} " if self.inks.no_color else "━ " for i in range(len(self.curves))]
        entries += [
            [Segment(sign, Style(color=color)), Segment(f"{curve.name} ", label), Segment(value)]
            for curve, sign, color, value in zip(self.curves, signs, colors, self._values(), strict=True)
            if not curve.behind
        ]
        shared = [Segment("━ ", self.inks.shared), Segment("shared", label)] if is_shared else None
        return legend_lines(entries, width, most, label, self.inks.ground, shared)

    def _values(self) -> list[str]:
        """Each curve's value under the cursor, or its last; the smoothed one where they are smoothed."""
        shown = [
            curve if average is None else replace(curve, y=average.tolist())
            for curve, average in zip(self.curves, self.plot.averages, strict=True)
        ]
        return [reading(curve.last() if self.cursor is None else curve.at(self.cursor)) for curve in shown]


def _sign(position: int) -> str:
    return _SIGNS[position % len(_SIGNS)]
