"""Reading the runs that are explained, and what came of it, as messages to the screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.message import Message

from engine.report.explain import ExplainError, Explanation, explain
from engine.report.speed import SpeedPlot, speed_among
from engine.store import Store, StoreError


class Explained(Message):
    """The runs were read and explained."""

    def __init__(self, explanation: Explanation, speed: SpeedPlot | None) -> None:
        super().__init__()
        self.explanation, self.speed = explanation, speed


class NotExplained(Message):
    """They could not be; `problem` says why."""

    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem


def explain_these(
    store: Callable[[], Store], run_ids: Sequence[str], measure: str, unfinished: bool
) -> Explained | NotExplained:
    """Read the runs and explain them; `store` opens the database."""
    try:
        rows = [store().run(run_id) for run_id in run_ids]
        explanation = explain(rows, measure, unfinished)
        counted = {run_id for setting in explanation.settings for run_id in setting.ids}
        latencies = store().results.all_latencies()
    except (StoreError, ExplainError, OSError) as error:
        return NotExplained(str(error))
    return Explained(explanation, speed_among([row for row in rows if row.id in counted], latencies))
