"""What of a run goes into another program's format."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.report.gallery import PictureError
from engine.report.records import (
    EpochOfRun,
    EvaluationOfRun,
    class_record,
    class_scores,
    epoch_record,
    evaluation_record,
)
from engine.report.runs import run_values
from engine.store import EpochRow, EvaluationRow, RunRow

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Recorded:
    """A run with its curve and scores. `draw` makes the picture of its last gallery, or raises
    PictureError."""

    row: RunRow
    epochs: list[EpochRow]
    evaluations: list[EvaluationRow]
    draw: Callable[[], Image.Image]

    @property
    def began(self) -> float:
        """UTC seconds."""
        return self.row.started_at or self.row.created_at

    @property
    def config(self) -> Mapping[str, Any]:
        """The config by dotted key."""
        from engine.config.stored import flat_values

        return flat_values(self.row.stored_config)

    @property
    def curve(self) -> list[EpochOfRun]:
        return [EpochOfRun(self.row, epoch) for epoch in self.epochs]

    def picture(self) -> tuple[bytes, tuple[int, int]] | None:
        """The predictions of the last gallery as PNG, with (width, height) in pixels; None without one."""
        try:
            picture = self.draw()
        except PictureError:
            return None
        stream = io.BytesIO()
        picture.save(stream, format="PNG")
        return stream.getvalue(), picture.size


TABLES: Mapping[str, Callable[[Recorded], list[dict[str, Any]]]] = {
    "runs": lambda run: [run_values(run.row)],
    "epochs": lambda run: [epoch_record(row) for row in run.curve],
    "class_scores": lambda run: [class_record(score) for row in run.curve for score in class_scores(row)],
    "evaluations": lambda run: [
        evaluation_record(EvaluationOfRun(run.row, each)) for each in run.evaluations
    ],
}
"""The tables of a run by name, a record a line."""
