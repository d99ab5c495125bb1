"""`seg-engine explain`: what made some runs better than others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.cli.console import output, print_json
from engine.cli.reading import open_existing
from engine.cli.runs import check_experiment
from engine.report.explain import explain
from engine.report.explain_text import explain_text, explanation_record
from engine.report.speed import speed_among
from engine.store import RunRow, Store, StoreError
from engine.store.filters import unless_archived
from engine.store.query import OPERATORS
from engine.typed import typed
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.looking import Explaining

_SIGNS = "=<>~!:()"
"""What a filter has and the name of a run rarely."""


def explain_runs(workspace: Workspace, wanted: Explaining) -> None:
    """Print what made the runs better. Raises StoreError and ExplainError."""
    with open_existing(workspace) as store:
        rows = chosen_runs(store, wanted.chosen, wanted.experiment)
        explanation = explain(rows, wanted.measure, wanted.unfinished)
        counted = {run_id for setting in explanation.settings for run_id in setting.ids}
        speed = speed_among([row for row in rows if row.id in counted], store.results.all_latencies())
    if wanted.as_json:
        print_json(explanation_record(explanation, speed))
    else:
        output.say(explain_text(explanation, speed, output.table_width))


def chosen_runs(store: Store, words: Sequence[str], experiment: str | None) -> list[RunRow]:
    """The runs that `words` name, or else those that match them as filters, without archived ones unless a
    filter asks for them; without words all, of one experiment where that is given. Raises StoreError."""
    if experiment is not None:
        check_experiment(store, experiment)
    ids, filters = [], []
    for word in words:
        try:
            ids.append(store.resolve(word))
        except StoreError:
            if word not in OPERATORS and not any(sign in word for sign in _SIGNS):
                raise
            filters.append(word)
    if ids and filters:
        raise StoreError(f"{filters[0]}: is a filter beside names of runs; give either filters or runs")
    if ids:
        if experiment is not None:
            raise StoreError("--experiment: chooses runs, and so do their names; give one of them")
        return [store.run(run_id) for run_id in dict.fromkeys(ids)]
    found = store.runs(unless_archived(filters), "created_at", None, experiment)
    if not found:
        raise StoreError(f"no run matches; `{typed('runs')}` lists all")
    return found
