"""What is told of runs that are trials of a search (`seg-engine tune`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.report.runs import outcome, worded
from engine.store import BEST, RunRow, RunSummary


def best_trials(row: RunRow, runs: Iterable[RunRow | RunSummary]) -> tuple[RunRow | RunSummary, ...]:
    """Of some runs the best trials of the search that `row` is a trial of: several, where a search has
    several objectives."""
    if row.trial is None:
        return ()
    return tuple(
        run for run in runs if run.experiment == row.experiment and run.trial is not None and BEST in run.tags
    )


def search_words(row: RunRow, best: Sequence[RunRow | RunSummary]) -> str:
    """Which trial a run is and which are the best so far, in a line; "" for a run that is none."""
    if row.trial is None:
        return ""
    words = f"trial {row.trial} of {row.experiment}"
    if any(run.id == row.id for run in best):
        return (
            f"{words}, the best so far" if len(best) == 1 else f"{words}, one of the {len(best)} best so far"
        )
    if not best:
        return f"{words}; none has finished yet"
    numbers = ", ".join(str(run.trial) for run in best)
    found = outcome(best[0]) if len(best) == 1 else None
    return f"{words}; best so far: {numbers}" + (f" ({worded(found)})" if found is not None else "")
