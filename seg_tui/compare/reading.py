"""Reading the runs that are compared, and what came of it, as messages to the screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from textual.message import Message

from engine.report.compare import ComparedRun, CompareError, Comparison, compare
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
    """The runs with their epochs; those of `before` whose journal has not grown keep theirs, but for what
    other runs measure of their networks."""
    known = {run.row.id: run for run in before}
    runs = []
    for run_id in run_ids:
        row = store.run(run_id)
        old = known.get(run_id)
        if old is None or old.row.journal_seq != row.journal_seq:
            epochs, metrics = store.results.epochs(run_id), store.results.metrics(run_id)
            old = ComparedRun(row, tuple(epochs), metrics=metrics)
        latencies, environments = store.results.latencies(run_id), store.results.newest_environments(run_id)
        runs.append(replace(old, row=row, latencies=latencies, environments=environments))
    return runs


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
