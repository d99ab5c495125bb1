"""The Chart: curves that can be read off, zoomed and panned. How they are drawn is in `chart_drawing`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from seg_tui.widgets import curves as axes
from seg_tui.widgets.chart_drawing import ChartDrawing, Inks
from seg_tui.widgets.curves import Curve, Window

if TYPE_CHECKING:
    from seg_tui.widgets.plot import Plot

__all__ = ["Chart", "Curve"]

SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)
"""The weights of the past that a key goes through; 0 smooths nothing."""

_ZOOM, _PAN = 0.7, 0.25


class Chart(Widget, can_focus=True):
    """Curves over epochs or over time. `show` gives it what to draw; it draws only when something changed.

    Dots are drawn two across and four down in each cell, by the lowest and highest value of each column of
    dots; a cell that several curves go through has the dots of all and a colour of its own. The y axis fits
    what is in sight but for outliers. Values that are None, not finite, or not positive on a log scale, are
    gaps. The title is in the border where the chart has one, else at the beginning of the legend.
    """

    DEFAULT_CSS = """
    Chart { height: 1fr; min-height: 4; }
    Chart > .chart--axis { color: $foreground 35%; }
    Chart > .chart--label { color: $foreground 70%; }
    Chart > .chart--title { color: $foreground; text-style: bold; }
    Chart > .chart--cursor { color: $text-accent; }
    Chart > .chart--shared { color: $foreground; text-style: bold; }
    Chart > .chart--hidden { color: $text-warning; }
    Chart:focus > .chart--title { color: $text-primary; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"chart--{part}" for part in ("axis", "label", "title", "cursor", "shared", "hidden")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "left", "read(-1)", "read off", key_display="← →", tooltip="Read all curves at the point before"
        ),
        Binding("right", "read(1)", "read on", show=False, tooltip="Read all curves at the next point"),
        Binding("plus", "zoom(1)", "zoom", key_display="+ -", tooltip="Zoom in around the point read off"),
        Binding("equals_sign", "zoom(1)", "zoom in", show=False),
        Binding("minus", "zoom(-1)", "zoom out", show=False, tooltip="Zoom out"),
        Binding("shift+left", "pan(-1)", "pan left", show=False),
        Binding("shift+right", "pan(1)", "pan right", show=False),
        Binding("0", "whole", "whole curves", show=False, tooltip="All of the curves in sight again"),
        Binding("w", "smooth", "smooth", tooltip="Weight of the moving average: 0, 0.6, 0.9, 0.97"),
        Binding("L", "log_scale", "log scale", tooltip="Logarithmic y axis"),
        Binding("O", "outliers", "outliers", tooltip="Show or hide the outliers that squash the curves"),
    ]

    empty: reactive[str] = reactive("")
    """What it says while there is no value to draw."""
    smoothing: reactive[float] = reactive(0.0)
    """Weight of the past in the moving average, in [0, 1); above 0 the raw curves stand dimmed behind."""
    log_scale: reactive[bool] = reactive(False)
    clipped: reactive[bool] = reactive(True)
    """Whether the y axis leaves out outliers, which are then counted beside the title."""
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
        super().__init__(id=id, classes=classes)
        self.title = title
        self.border_title = Text(title)
        self.set_reactive(Chart.empty, empty)
        self.curves: tuple[Curve, ...] = ()
        self.draws = 0
        """How often it was drawn anew."""
        self._x_kind: Literal["epoch", "time"] = "epoch"
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
        if title != self.title:
            self.title, self.border_title = title, Text(title)
        self.curves, self._x_kind = tuple(curves), x_kind
        self._plot = None
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

    def action_outliers(self) -> None:
        self.clipped = not self.clipped

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
        share = (offset.x - self.gutter.left - self._plot_left + 0.5) / self._plot_width
        return left + max(0.0, min(1.0, share)) * (right - left)

    def _zoom(self, around: float, factor: float) -> None:
        window = self.sight or axes.extent(self.curves)
        if factor > 1 or sum(window[0] <= x <= window[1] for x in axes.points(self.curves)) > 2:
            self._look_at(axes.zoomed(window, around, factor))

    def _look_at(self, window: Window) -> None:
        self.sight = axes.moved_into(window, axes.extent(self.curves))

    # ------------------------------------------------------------------ when to draw

    def watch_smoothing(self) -> None:
        self._plot = None
        self._redraw()

    def watch_log_scale(self) -> None:
        self._plot = None
        self._redraw()

    def watch_empty(self) -> None:
        self._redraw()

    def watch_clipped(self) -> None:
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

    def _draw(self) -> list[Strip]:
        self.draws += 1
        from seg_tui.widgets.plot import Plot  # brings NumPy: not before there is something to draw

        if self._plot is None:
            self._plot = Plot(self.curves, self.smoothing, self.log_scale)
        style = self.get_component_rich_style
        inks = Inks(
            axis=style("chart--axis"),
            label=style("chart--label"),
            title=style("chart--title"),
            cursor=style("chart--cursor"),
            shared=style("chart--shared"),
            hidden=style("chart--hidden"),
            ground=self.rich_style,
            background=self.background_colors[1],
            no_color=self.app.no_color,
        )
        drawing = ChartDrawing(
            "" if self.styles.border_top[0] else self.title,
            self.empty,
            self.curves,
            self._plot,
            self._x_kind,
            self.log_scale,
            self.clipped,
            self.smoothing,
            self.cursor,
            "O" if self.can_focus else "",
            inks,
        )
        strips = drawing.strips(self.size.width, self.size.height, self.sight or axes.extent(self.curves))
        if drawing.columns:
            self._plot_left, self._plot_width = drawing.left, drawing.columns
        return strips
