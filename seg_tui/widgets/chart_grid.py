"""Charts that move together: one cursor, one part in sight, one smoothing for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid

from engine.store import EpochRow
from seg_tui.palette import curve_color
from seg_tui.series import SCORES, Score, XKind, epoch_curve
from seg_tui.widgets.chart import Chart

_PLACES = {"val": 0, "train": 1}
"""Which colour of the palette a split has on every chart."""


class ChartGrid(Grid):
    """Scores of one run over its epochs, a chart each."""

    DEFAULT_CSS = """
    ChartGrid { grid-size: 2; grid-gutter: 0 2; padding: 0 1; height: 1fr; }
    ChartGrid.narrow { grid-size: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("T", "x_axis", "epoch/time", tooltip="Epochs or time spent on the x axis"),
        Binding("enter", "one", "one/all", tooltip="The chart in focus alone, or all of them"),
    ]
    TOGETHER: ClassVar[tuple[str, ...]] = ("cursor", "sight", "smoothing")

    def __init__(self, scores: Sequence[Score] = SCORES, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.scores = tuple(scores)
        self.x_kind: XKind = "epoch"
        self._epochs: tuple[EpochRow, ...] = ()
        self._palette = "okabe-ito"

    def compose(self) -> ComposeResult:
        for score in self.scores:
            yield Chart(score.title, empty="no epoch has ended yet", id=f"chart-{score.field}")

    def on_mount(self) -> None:
        for chart in self.query(Chart):
            for name in self.TOGETHER:
                self.watch(chart, name, self._follower(name), init=False)

    def show(self, epochs: Sequence[EpochRow], palette: str) -> None:
        self._epochs, self._palette = tuple(epochs), palette
        for score in self.scores:
            curves = [
                epoch_curve(
                    self._epochs,
                    split,
                    score.field,
                    self.x_kind,
                    split,
                    curve_color(_PLACES[split], palette),
                    score.scale,
                )
                for split in score.splits
            ]
            self.query_one(f"#chart-{score.field}", Chart).show(curves, self.x_kind)

    def action_x_axis(self) -> None:
        self.x_kind = "time" if self.x_kind == "epoch" else "epoch"
        self.show(self._epochs, self._palette)

    def action_one(self) -> None:
        focused = self.screen.focused
        alone = any(not chart.display for chart in self.query(Chart))
        for chart in self.query(Chart):
            chart.display = alone or chart is focused
        self.set_class(not alone, "narrow")

    def _follower(self, name: str) -> Callable[[object], None]:
        """Sets a property of all charts."""

        def follow(value: object) -> None:
            for chart in self.query(Chart):
                setattr(chart, name, value)

        return follow
