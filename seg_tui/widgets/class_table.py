"""The scores of each class: now, as bars, with what changed; or over the epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from engine.report.tables import Cell, Column, score, sparkline, text_table, thin_bar
from engine.store import EpochRow, EvaluationRow
from seg_tui.palette import BETTER, CURVES, OF_TEXT, WORSE, legible
from seg_tui.widgets.text_pane import TextPane

_EPOCH_WIDTH = 8
"""Cells that the value of one epoch takes, with the gap."""


Scored = EpochRow | EvaluationRow
"""What has scores by class."""


@dataclass(frozen=True)
class _Line:
    """One class over the epochs."""

    name: str
    color: str
    place: int
    dice: tuple[float | None, ...]
    iou: float | None
    best: float | None

    @property
    def now(self) -> float | None:
        return self.dice[-1]

    @property
    def first(self) -> float | None:
        return next((value for value in self.dice if value is not None), None)

    @property
    def gained(self) -> float | None:
        return _minus(self.now, self.first)


Order = Callable[[_Line], float]

_ORDERS: dict[str, Order] = {
    "class set": lambda line: line.place,
    "worst first": lambda line: 2.0 if line.now is None else line.now,
    "best first": lambda line: 2.0 if line.now is None else -line.now,
    "least improved first": lambda line: 2.0 if line.gained is None else line.gained,
}


class ClassTable(TextPane):
    """Colour, name, Dice, IoU, a bar, the change since the best and since the first epoch, and the curve of
    every class. Columns for which there is no room are left out from the right."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("S", "sort", "sort", tooltip="Order: class set, worst, best or least improved first"),
        Binding("e", "epochs", "over epochs", tooltip="Dice by epoch in columns, or the last one as bars"),
    ]

    order: reactive[str] = reactive("class set")
    over_epochs: reactive[bool] = reactive(False)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._epochs: tuple[Scored, ...] = ()
        self._best_epoch: int | None = None
        self._colors: tuple[str, ...] = ()

    def show_classes(self, epochs: Sequence[Scored], best_epoch: int | None, colors: Sequence[str]) -> None:
        """Epochs of one split or evaluations, oldest first; `colors` are "#rrggbb", in the classes' order."""
        self._epochs, self._best_epoch, self._colors = tuple(epochs), best_epoch, tuple(colors)
        self.show(self._text)

    def action_sort(self) -> None:
        names = list(_ORDERS)
        self.order = names[(names.index(self.order) + 1) % len(names)]

    def action_epochs(self) -> None:
        self.over_epochs = not self.over_epochs

    def watch_order(self) -> None:
        self.show(self._text)

    def watch_over_epochs(self) -> None:
        self.show(self._text)

    def _text(self, width: int) -> Text:
        if not self._epochs:
            return Text("no epoch has been scored yet", "dim")
        lines = sorted(self._lines(), key=_ORDERS[self.order])
        heading = Text.assemble(
            (f"epoch {self._epochs[-1].epoch}", "bold"),
            (f"  {self._epochs[-1].split}  {self.order}", "dim"),
        )
        columns = self._history(lines, width) if self.over_epochs else self._now(lines, width)
        return Text("\n", no_wrap=True, overflow="ellipsis").join([heading, text_table(columns, width)])

    def _lines(self) -> list[_Line]:
        last = self._epochs[-1]
        best = next((row for row in self._epochs if row.epoch == self._best_epoch), None)
        return [
            _Line(
                name=name,
                color=self._colors[place] if place < len(self._colors) else "",
                place=place,
                dice=tuple(row.class_dice.get(name) for row in self._epochs),
                iou=last.class_iou.get(name),
                best=best.class_dice.get(name) if best is not None else None,
            )
            for place, name in enumerate(last.class_dice)
        ]

    def _names(self, lines: Sequence[_Line]) -> list[Column]:
        return [
            Column("", [("  ", f"on {line.color}" if line.color else "") for line in lines]),
            Column("class", [line.name for line in lines], least=8),
        ]

    def _now(self, lines: Sequence[_Line], width: int) -> list[Column]:
        names = self._names(lines)
        taken = sum(column.width + 2 for column in names) + 8 + 8 + 10 + 10
        bar_width = max(5, min(24, (width - taken) // 2))
        curve_width = max(8, min(60, width - taken - bar_width - 2))
        ink = legible(CURVES[0], self._background)
        columns = [
            *names,
            Column("Dice", [(score(line.now), "bold") for line in lines], right=True),
            Column("IoU", [score(line.iou) for line in lines], right=True, rank=2),
            Column("", [(thin_bar(line.now, bar_width).ljust(bar_width), ink) for line in lines], rank=1),
        ]
        if len(self._epochs) == 1:
            return columns
        return [
            *columns,
            Column("vs best", [self._change(line.now, line.best) for line in lines], right=True, rank=4),
            Column("vs first", [self._change(line.now, line.first) for line in lines], right=True, rank=3),
            Column("curve", [(sparkline(line.dice, curve_width), ink) for line in lines], rank=5),
        ]

    def _history(self, lines: Sequence[_Line], width: int) -> list[Column]:
        """The Dice at as many epochs as there is room for, the first and the last among them."""
        names = self._names(lines)
        room = max(2, (width - sum(column.width + 2 for column in names) - 10) // _EPOCH_WIDTH)
        count = len(self._epochs)
        last = max(1, min(room, count) - 1)
        shown = sorted({round(i * (count - 1) / last) for i in range(last + 1)})
        columns = list(names)
        for place in shown:
            cells: list[Cell] = [score(line.dice[place]) for line in lines]
            columns.append(Column(f"@{self._epochs[place].epoch}", cells, right=True))
        changes = [self._change(line.now, line.first) for line in lines]
        return [*columns, Column("change", changes, right=True)]

    def _change(self, now: float | None, before: float | None) -> Cell:
        change = _minus(now, before)
        if change is None:
            return "-", "dim"
        if abs(change) < 5e-5:
            return "0.0000", "dim"
        return f"{change:+.4f}", legible(BETTER if change > 0 else WORSE, self._background, OF_TEXT)

    @property
    def _background(self) -> str:
        return self.background_colors[1].hex6


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
