"""The Chart: curves in braille, with axes, a legend that is also the read-off, zoom and pan."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.geometry import Offset
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from seg_tui.palette import legible
from seg_tui.widgets import curves as axes
from seg_tui.widgets.curves import Curve, Window, reading, smoothed
from seg_tui.widgets.legend import legend_lines

if TYPE_CHECKING:
    from seg_tui.widgets.plot import Plot, View
    from seg_tui.widgets.raster import Raster

__all__ = ["Chart", "Curve"]

SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)
"""The weights of the past that a key goes through; 0 smooths nothing."""

_ZOOM, _PAN = 0.7, 0.25
_NARROW_LOG = 0.05
"""Powers of ten in sight up to which ticks on a log scale need more than three digits."""
_SIGNS, _SIGN_EVERY = "●▲■◆○△□◇", 8
"""What tells curves apart where there are no colours, and at which distance it stands, in cells."""
_LEAST_HEIGHT_FOR_AXIS, _LEAST_WIDTH_FOR_NAME = 10, 40


class Chart(Widget, can_focus=True):
    """Curves over epochs or over time. `show` gives it what to draw; it draws only when something changed.

    Dots are drawn two across and four down in each cell, by the lowest and highest value of each column of
    dots. The y axis fits what is in sight. Values that are None, not finite, or not positive on a log scale,
    are gaps.
    """

    DEFAULT_CSS = """
    Chart { height: 1fr; min-height: 4; }
    Chart > .chart--axis { color: $foreground 35%; }
    Chart > .chart--label { color: $foreground 60%; }
    Chart > .chart--title { color: $foreground; text-style: bold; }
    Chart > .chart--cursor { color: $text-accent; }
    Chart:focus > .chart--title { color: $text-accent; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"chart--axis", "chart--label", "chart--title", "chart--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "read(-1)", "read off", key_display="← →", tooltip="Read every curve off at a point"),
        Binding("right", "read(1)", "read off", show=False),
        Binding("plus", "zoom(1)", "zoom", key_display="+ -", tooltip="Closer or farther; 0: all"),
        Binding("equals_sign", "zoom(1)", "zoom in", show=False),
        Binding("minus", "zoom(-1)", "zoom out", show=False),
        Binding("shift+left", "pan(-1)", "pan left", show=False),
        Binding("shift+right", "pan(1)", "pan right", show=False),
        Binding("0", "whole", "all", show=False),
        Binding("w", "smooth", "smooth", tooltip="Weight of the moving average: 0, 0.6, 0.9, 0.97"),
        Binding("L", "log_scale", "log scale", tooltip="Logarithmic y axis"),
    ]

    smoothing: reactive[float] = reactive(0.0)
    """Weight of the past in the moving average, in [0, 1); above 0 the raw curves stand dimmed behind."""
    log_scale: reactive[bool] = reactive(False)
    sight: reactive[Window | None] = reactive(None)
    """The x from left to right that are in sight; None: all."""
    cursor: reactive[float | None] = reactive(None)
    """The x at which the legend reads every curve off; None: it shows the last values."""

    def __init__(
        self,
        title: str = "",
        *,
        empty: str = "nothing to draw yet",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`empty` is what it says while there is no value to draw."""
        super().__init__(id=id, classes=classes)
        self.title, self.empty = title, empty
        self.curves: tuple[Curve, ...] = ()
        self.draws = 0
        """How often it was drawn anew."""
        self._x_kind: Literal["epoch", "time"] = "epoch"
        self._smooth: list[list[float | None] | None] | None = None
        self._plot: Plot | None = None
        self._plot_left, self._plot_width = 0, 1
        self._grabbed: int | None = None
        self._strips: list[Strip] | None = None

    def show(
        self,
        curves: Sequence[Curve],
        x_kind: Literal["epoch", "time"] = "epoch",
        title: str | None = None,
    ) -> None:
        """Draw these curves from now on; x counts epochs, or seconds (`time`). Nothing happens when they are
        equal to those that are drawn; zoom, cursor and scale stay."""
        title = self.title if title is None else title
        if tuple(curves) == self.curves and (x_kind, title) == (self._x_kind, self.title):
            return
        if x_kind != self._x_kind:
            self.sight, self.cursor = None, None
        self.curves, self._x_kind, self.title = tuple(curves), x_kind, title
        self._smooth = self._plot = None
        self._redraw()

    # ------------------------------------------------------------------ keys and mouse

    def action_read(self, by: int = 0) -> None:
        """Move the cursor to the next point of any curve; what is in sight follows it."""
        found = axes.points(self.curves)
        if not found:
            return
        left, right = self.sight or axes.extent(self.curves)
        if self.cursor is None:
            self.cursor = next((x for x in reversed(found) if left <= x <= right), found[-1])
            return
        place = bisect_left(found, self.cursor) + by
        self.cursor = found[max(0, min(len(found) - 1, place))]
        outside = min(0.0, self.cursor - left) + max(0.0, self.cursor - right)
        self._look_at((left + outside, right + outside))

    def action_zoom(self, by: int) -> None:
        """Closer (1) or farther (-1), around the cursor or the middle."""
        left, right = self.sight or axes.extent(self.curves)
        at_cursor = self.cursor is not None and left <= self.cursor <= right
        around = self.cursor if at_cursor and self.cursor is not None else (left + right) / 2
        self._zoom(around, _ZOOM if by > 0 else 1 / _ZOOM)

    def action_pan(self, by: int) -> None:
        if self.sight is not None:
            left, right = self.sight
            shift = by * _PAN * (right - left)
            self._look_at((left + shift, right + shift))

    def action_whole(self) -> None:
        """Everything in sight again, and no cursor."""
        self.sight, self.cursor = None, None

    def action_smooth(self) -> None:
        place = next((i for i, weight in enumerate(SMOOTHINGS) if weight > self.smoothing), 0)
        self.smoothing = SMOOTHINGS[place]

    def action_log_scale(self) -> None:
        self.log_scale = not self.log_scale

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._zoom(self._x_under(event.offset), _ZOOM)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._zoom(self._x_under(event.offset), 1 / _ZOOM)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._grabbed = event.x
        self.capture_mouse()

    def on_mouse_up(self) -> None:
        self._grabbed = None
        self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._grabbed is not None and self.sight is not None:
            left, right = self.sight
            shift = (self._grabbed - event.x) * (right - left) / self._plot_width
            self._grabbed = event.x
            self._look_at((left + shift, right + shift))
            return
        found = axes.points(self.curves)
        if found:
            x = self._x_under(event.offset)
            place = bisect_left(found, x)
            self.cursor = min(found[max(0, place - 1) : place + 1], key=lambda point: abs(point - x))

    def _x_under(self, offset: Offset) -> float:
        left, right = self.sight or axes.extent(self.curves)
        share = (offset.x - self._plot_left + 0.5) / self._plot_width
        return left + max(0.0, min(1.0, share)) * (right - left)

    def _zoom(self, around: float, factor: float) -> None:
        window = self.sight or axes.extent(self.curves)
        if factor > 1 or sum(window[0] <= x <= window[1] for x in axes.points(self.curves)) > 2:
            self._look_at(axes.zoomed(window, around, factor))

    def _look_at(self, window: Window) -> None:
        self.sight = axes.moved_into(window, axes.extent(self.curves))

    # ------------------------------------------------------------------ when to draw

    def watch_smoothing(self) -> None:
        self._smooth = self._plot = None
        self._redraw()

    def watch_log_scale(self) -> None:
        self._plot = None
        self._redraw()

    def watch_sight(self) -> None:
        self._redraw()

    def watch_cursor(self) -> None:
        self._redraw()

    def notify_style_update(self) -> None:
        self._strips = None
        super().notify_style_update()

    def on_resize(self) -> None:
        self._redraw()

    def _redraw(self) -> None:
        self._strips = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        if self._strips is None or len(self._strips) != self.size.height:
            self._strips = self._draw()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    # ------------------------------------------------------------------ drawing

    def _draw(self) -> list[Strip]:
        self.draws += 1
        width, height = self.size
        from seg_tui.widgets.plot import Plot  # brings NumPy: not before there is something to draw

        if self._plot is None:
            self._plot = Plot(self.curves, self._averages(), self.log_scale)
        plot, view = self._plot, self._plot.view(self.sight or axes.extent(self.curves))
        if view is None:
            return self._say_empty(width, height)
        background = self.background_colors[1]
        colors = [
            curve.color if background.ansi is not None else legible(curve.color, background.hex6)
            for curve in self.curves
        ]
        head = self._legend(width, max(1, height // 4), colors)
        has_axis = height >= _LEAST_HEIGHT_FOR_AXIS
        rows = max(1, height - len(head) - 1 - has_axis)
        y_ticks, y_labels = self._y_ticks(view, max(2, min(3, rows // 2), rows // 3))
        name = self._x_kind if width >= _LEAST_WIDTH_FOR_NAME else ""
        margin = max(map(len, (*y_labels, name)))
        self._plot_left, self._plot_width = margin + 1, max(1, width - margin - 1)
        strips = [
            *head,
            *self._drawn(plot, view, rows, margin, y_ticks, y_labels, colors),
            *self._x_axis(view, width, margin, has_axis, name),
        ]
        return self._on_ground(strips, width)

    def _on_ground(self, strips: Sequence[Strip], width: int) -> list[Strip]:
        """Lines of `width` cells on the theme's background; a segment without one has the terminal's."""
        ground = self.rich_style
        return [strip.apply_style(ground).adjust_cell_length(width, ground) for strip in strips]

    def _averages(self) -> list[list[float | None] | None]:
        """The moving average of each curve that has one."""
        if self._smooth is None:
            self._smooth = [
                smoothed(curve.y, self.smoothing) if self.smoothing and not curve.behind else None
                for curve in self.curves
            ]
        return self._smooth

    def _say_empty(self, width: int, height: int) -> list[Strip]:
        told = self.empty
        if self.log_scale and any(curve.last() is not None for curve in self.curves):
            told = "no value above 0 to draw on a log scale (L)"
        title, label = self._style("chart--title"), self._style("chart--label")
        lines = [Strip.blank(width)] * height
        if height:
            lines[0] = Strip([Segment(_cut(self.title, width), title)])
            lines[height // 2] = Strip([Segment(_cut(told, width).center(width), label)])
        return self._on_ground(lines, width)

    def _drawn(
        self,
        plot: Plot,
        view: View,
        rows: int,
        margin: int,
        y_ticks: Sequence[float],
        y_labels: Sequence[str],
        colors: Sequence[str],
    ) -> list[Strip]:
        """The curves with the y axis at their left."""
        axis, label, cursor = map(self._style, ("chart--axis", "chart--label", "chart--cursor"))
        columns = self._plot_width
        front, behind = plot.rasters(view, columns, rows)
        inks = [Style(color=color) for color in colors]
        background = self.background_colors[1]
        faint = [
            # A terminal's own background is not known: nothing can be mixed with it.
            Style(color=color, dim=True)
            if background.ansi is not None
            else Style(color=background.blend(Color.parse(color), 0.4).rich_color)
            for color in colors
        ]
        at_row = {
            round((view.high - tick) / (view.high - view.low) * (rows - 1)): text
            for tick, text in zip(y_ticks, y_labels, strict=True)
        }
        read = self._column_of(self.cursor, view, columns)
        strips = []
        upper, lower = front.characters(), behind.characters()
        if self.app.no_color:
            self._put_signs(front, upper)
        for row in range(rows):
            segments = [
                Segment(at_row.get(row, "").rjust(margin), label),
                Segment("┤" if row in at_row else "│", axis),
            ]
            for column in range(columns):
                if upper[row][column] != " ":
                    segments.append(Segment(upper[row][column], inks[front.marks[row, column]]))
                elif lower[row][column] != " ":
                    segments.append(Segment(lower[row][column], faint[behind.marks[row, column]]))
                elif column == read:
                    segments.append(Segment("│", cursor))
                elif row in at_row:
                    segments.append(Segment("┈", axis))
                else:
                    segments.append(Segment(" "))
            strips.append(Strip(segments, margin + 1 + columns).simplify())
        return strips

    def _put_signs(self, raster: Raster, characters: list[list[str]]) -> None:
        """Its own sign on each curve, here and there, as without colours nothing else tells them apart."""
        for position in raster.cells:
            for row, column in raster.spots(position, _SIGN_EVERY, 3 * position):
                characters[row][column] = _sign(position)

    def _column_of(self, x: float | None, view: View, columns: int) -> int | None:
        if x is None or not view.left <= x <= view.right:
            return None
        return min(columns - 1, int((x - view.left) / (view.right - view.left) * columns))

    def _y_ticks(self, view: View, most: int) -> tuple[list[float], list[str]]:
        if self.log_scale:
            found = axes.log_ticks(view.low, view.high, most)
            digits = 3 if view.high - view.low > _NARROW_LOG else 6
            return found, [f"{10**tick:.{digits}g}" for tick in found]
        found = axes.ticks(view.low, view.high, most)
        return found, axes.tick_labels(found)

    def _x_axis(self, view: View, width: int, margin: int, has_axis: bool, name: str) -> list[Strip]:
        """The line with ticks, where there is room for it, and the labels below; `name` is what x counts and
        stands where the first of them begins, so that the last place is for a number."""
        columns = self._plot_width
        timed = self._x_kind == "time"
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
        axis, label = self._style("chart--axis"), self._style("chart--label")
        strips = [Strip([Segment(below, label)])]
        if has_axis:
            rule = "".join("┬" if margin + 1 + column in placed else "─" for column in range(columns))
            strips.insert(0, Strip([Segment(name.rjust(margin), label), Segment("└" + rule, axis)]))
        return strips

    # ------------------------------------------------------------------ the legend

    def _legend(self, width: int, most: int, colors: Sequence[str]) -> list[Strip]:
        """Title, scale, and every curve with its value under the cursor, on at most `most` lines."""
        title, label, cursor = map(self._style, ("chart--title", "chart--label", "chart--cursor"))
        told = [("log", label)] * self.log_scale
        told += [(f"smooth {self.smoothing:g}", label)] * (self.smoothing > 0)
        if self.cursor is not None:
            x = axes.time_label(self.cursor) if self._x_kind == "time" else f"{self.cursor:g}"
            told.append((f"@ {x}", cursor))
        entries = [[Segment(self.title, title)]] if self.title else []
        entries += [[Segment(text, style)] for text, style in told]
        signs = [f"{_sign(i)} " if self.app.no_color else "━ " for i in range(len(self.curves))]
        entries += [
            [Segment(sign, Style(color=color)), Segment(f"{curve.name} ", label), Segment(value)]
            for curve, sign, color, value in zip(self.curves, signs, colors, self._values(), strict=True)
            if not curve.behind
        ]
        return legend_lines(entries, width, most, label, self.rich_style)

    def _values(self) -> list[str]:
        """Each curve's value under the cursor, or its last; the smoothed one where they are smoothed."""
        shown = [
            curve if average is None else replace(curve, y=average)
            for curve, average in zip(self.curves, self._averages(), strict=True)
        ]
        return [reading(curve.last() if self.cursor is None else curve.at(self.cursor)) for curve in shown]

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(name)


def _sign(position: int) -> str:
    return _SIGNS[position % len(_SIGNS)]


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else text[: max(0, width - 1)] + "…"
