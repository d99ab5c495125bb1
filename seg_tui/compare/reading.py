"""Reading the runs that are compared, and what came of it, as messages to the screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.message import Message

from engine.report.compare import ComparedRun, CompareError, Comparison, compare
from engine.report.compared_runs import compared_run
from engine.store import Store, StoreError
from seg_tui.compare.choice import Choice


class Compared(Message):
    """The runs were read and compared."""

    def __init__(self, runs: Sequence[ComparedRun], comparison: Comparison) -> None:
        super().__init__()
        self.runs, self.comparison = tuple(runs), comparison

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, Compared)


class NotCompared(Message):
    """They could not be; `problem` says why."""

    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem


def read_runs(store: Store, run_ids: Sequence[str], before: Sequence[ComparedRun]) -> list[ComparedRun]:
    """The runs with all that was measured of their networks; those of `before` whose journal has not grown
    keep their epochs."""
    known = {run.row.id: run for run in before}
    return [compared_run(store, run_id, known.get(run_id)) for run_id in run_ids]


def compare_runs(
    store: Callable[[], Store], run_ids: Sequence[str], before: Sequence[ComparedRun], choice: Choice
) -> Compared | NotCompared:
    """Read the runs and compare them as chosen; `store` opens the database, and `before` is as for
    `read_runs`."""
    try:
        runs = read_runs(store(), run_ids, before)
        baseline = choice.baseline if choice.baseline in run_ids else ""
        return Compared(runs, compare(runs, baseline, choice.fold_seeds, choice.published))
    except (StoreError, CompareError, OSError) as error:
        return NotCompared(str(error))
