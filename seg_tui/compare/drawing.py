"""How a comparison is drawn: the names, colours and curves of its entries, and the styles of its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual.color import Color

from engine.data.faults import counted
from engine.report.compare import ComparedRun, Comparison, Entry
from engine.report.short_names import ShortNames
from engine.tasks import TASKS
from seg_tui.compare.choice import Choice
from seg_tui.palette import BETTER, CURVE_PALETTES, OF_TEXT, WORSE, curve_color, legible
from seg_tui.series import epoch_curve, mean_curve
from seg_tui.widgets.curves import Curve

LONGEST_NAME = 28


class Drawing:
    """One comparison of `runs`, as `choice` looks at it, in the colours of a palette for curves."""

    def __init__(
        self, comparison: Comparison, runs: Sequence[ComparedRun], choice: Choice, palette: str
    ) -> None:
        self.comparison, self.runs, self.choice, self.palette = comparison, runs, choice, palette
        self._names = ShortNames(name for entry in comparison.entries for name in (entry.title, entry.label))

    @property
    def heading(self) -> tuple[str, str]:
        """The left and the right of the title."""
        base = self.comparison.entries[self.comparison.baseline]
        return (
            f"compare {counted(len(self.runs), 'run')}",
            f"baseline {base.letter} {self._short(base.title)}",
        )

    @property
    def has_curves(self) -> bool:
        """Runs that score another's network have no epochs; their numbers are in the tables."""
        return any(TASKS[run.row.task].learns for run in self.runs)

    def curves(self) -> list[Curve]:
        entries = self.comparison.entries
        return [curve for place, entry in enumerate(entries) for curve in self._curves_of(place, entry)]

    def styles(self, background: str) -> dict[str, str]:
        """Rich styles of verdicts and letters, for tables on a background ("#rrggbb")."""
        styles = {
            "better": legible(BETTER, background, OF_TEXT),
            "worse": legible(WORSE, background, OF_TEXT),
            "": "dim",
        }
        for place, entry in enumerate(self.comparison.entries):
            styles[entry.letter] = f"bold {legible(self._color(place), background, OF_TEXT)}"
        return styles

    def _curves_of(self, place: int, entry: Entry) -> list[Curve]:
        """The curve of an entry; of several seeds their mean, with each of them faint behind it, or over the
        time each of them. Runs that score another's network have none, and take no room in the legend."""
        if not any(TASKS[row.task].learns for row in entry.rows):
            return []
        choice = self.choice
        name, color = f"{entry.letter} {self._short(entry.title)}", self._color(place)
        epochs = {run.row.id: run.epochs for run in self.runs}
        each = [
            epoch_curve(epochs[run_id], choice.shown_split, choice.score.field, choice.x_kind, name, color)
            for run_id in entry.ids
        ]
        if len(each) == 1:
            return each
        # The seconds of two runs never agree, so over the time there is no mean, only each run.
        if choice.x_kind == "time":
            seeds = [f"{entry.letter} {self._short(entry.label)} seed {row.seed}" for row in entry.rows]
            return [replace(curve, name=seed) for curve, seed in zip(each, seeds, strict=True)]
        faint = [replace(curve, behind=True) for curve in each]
        of_seed: dict[int, list[Curve]] = {}
        for row, curve in zip(entry.rows, each, strict=True):
            if any(y is not None for y in curve.y):
                of_seed.setdefault(row.seed, []).append(curve)
        if 0 < len(of_seed) < entry.seeds:
            name += f" (n={len(of_seed)})"
        once = [mean_curve(curves, name, color) for curves in of_seed.values()]
        return [mean_curve(once, name, color), *faint]

    def _short(self, title: str) -> str:
        """A title where there is little room: so that it can be told from those of the other entries."""
        return self._names.fit(title, LONGEST_NAME)

    def _color(self, place: int) -> str:
        """Beyond the palette's colours, muted ones."""
        color = curve_color(place, self.palette)
        if place < len(CURVE_PALETTES[self.palette]):
            return color
        return Color.parse(color).blend(Color.parse("#808080"), 0.6).hex6
