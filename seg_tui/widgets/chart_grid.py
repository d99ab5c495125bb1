"""Charts that move together: one cursor, one part in sight, one smoothing for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid

from engine.run.telemetry import Sample
from engine.store import EpochRow
from seg_tui.palette import curve_color
from seg_tui.series import MEASURES, SCORES, Score, XKind, epoch_curve, sample_curves
from seg_tui.widgets.chart import Chart

_PLACES = {"val": 0, "train": 1}
"""Which colour of the palette a split has on every chart."""


class ChartsTogether(Grid):
    """Some charts, one of which can be seen alone."""

    DEFAULT_CSS = """
    ChartsTogether { grid-size: 2; grid-gutter: 0 2; padding: 0 1; height: 1fr; }
    ChartsTogether.narrow { grid-size: 1; }
    ChartsTogether.narrow > .other, ChartsTogether > .vacant { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "one", "one/all", tooltip="The focused chart only, or all charts"),
    ]
    TOGETHER: ClassVar[tuple[str, ...]] = ("cursor", "sight", "smoothing")

    def on_mount(self) -> None:
        for chart in self.query(Chart):
            for name in self.TOGETHER:
                self.watch(chart, name, self._follower(name), init=False)

    def action_one(self) -> None:
        for chart in self.query(Chart):
            chart.set_class(chart is not self.screen.focused, "other")
        self.toggle_class("narrow")

    def _follower(self, name: str) -> Callable[[object], None]:
        """Sets a property of all charts."""

        def follow(value: object) -> None:
            for chart in self.query(Chart):
                setattr(chart, name, value)

        return follow


class LoadGrid(ChartsTogether):
    """What a run uses of its machine, over the time that it has been at work."""

    def compose(self) -> ComposeResult:
        for measure in MEASURES:
            yield Chart(
                measure.title,
                empty="no samples yet",
                id=f"load-{measure.name}",
                classes="pane vacant" if measure.of_gpu else "pane",
            )

    def show(self, samples: Sequence[Sample], palette: str) -> None:
        for measure in MEASURES:
            chart = self.query_one(f"#load-{measure.name}", Chart)
            curves = sample_curves(samples, measure, palette)
            chart.set_class(measure.of_gpu and not curves, "vacant")
            chart.show(curves, "time")


class ChartGrid(ChartsTogether):
    """Scores of one run over its epochs, a chart each."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("T", "x_axis", "epoch/time", tooltip="X axis: epochs or training time"),
    ]

    def __init__(self, scores: Sequence[Score] = SCORES, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.scores = tuple(scores)
        self.x_kind: XKind = "epoch"
        self._epochs: tuple[EpochRow, ...] = ()
        self._palette = "okabe-ito"

    def compose(self) -> ComposeResult:
        for score in self.scores:
            yield Chart(score.title, empty="reading the run...", id=f"chart-{score.field}", classes="pane")

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
            chart = self.query_one(f"#chart-{score.field}", Chart)
            # Who learns no classes has no Dice, however many epochs have ended.
            chart.set_class(bool(epochs) and all(curve.last() is None for curve in curves), "vacant")
            chart.empty = "no epoch has finished yet"
            chart.show(curves, self.x_kind)

    def action_x_axis(self) -> None:
        self.x_kind = "time" if self.x_kind == "epoch" else "epoch"
        self.show(self._epochs, self._palette)
