"""`seg-engine compare`: runs side by side, against a pinned baseline."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import TYPE_CHECKING

from engine.cli.console import output
from engine.cli.reading import open_existing
from engine.config.described import format_value
from engine.config.keys import ConfigError
from engine.report.compare import Comparison, compare
from engine.report.compare_config import is_external, other_weights
from engine.report.compare_formats import comparison_text
from engine.report.compare_latex import comparison_latex
from engine.report.compare_ood import OodResults, what_was_out, where_it_was
from engine.report.compare_page import comparison_markdown
from engine.report.compare_records import comparison_csv, comparison_record
from engine.report.measures import ComparedRun, Evaluation
from engine.store import EvaluationRow, Store, StoreError
from engine.store.filters import unless_archived
from engine.store.query import parse_text
from engine.store.why_none import why_none
from engine.tasks.imported import Imported
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.looking import SideBySide

FORMATS: dict[str, Callable[[Comparison], str]] = {
    "csv": comparison_csv,
    "md": comparison_markdown,
    "latex": comparison_latex,
    "json": lambda comparison: json.dumps(comparison_record(comparison), indent=1) + "\n",
}
"""The formats that are text of no particular width; "table" is the other one."""


def compare_runs(workspace: Workspace, wanted: SideBySide) -> None:
    """Print the comparison. Raises StoreError, CompareError, and ConfigError for a format that is none."""
    form = wanted.form
    if form != "table" and form not in FORMATS:
        raise ConfigError(
            [f"--format: {form!r} is not allowed; it must be one of table, {', '.join(FORMATS)}"]
        )
    with open_existing(workspace) as store:
        runs = [compared_run(store, run_id) for run_id in chosen(store, wanted.runs, wanted.where)]
        pinned = store.resolve(wanted.baseline) if wanted.baseline else ""
    comparison = compare(runs, pinned, wanted.fold_seeds, wanted.published)
    if form == "table":
        output.say(comparison_text(comparison, output.table_width))
    else:
        print(FORMATS[form](comparison), end="")


def chosen(store: Store, prefixes: Sequence[str], where: str) -> list[str]:
    """The ids of runs that were named, then of those that match a filter, the best first and without archived
    ones unless it asks for them. Raises StoreError, also where there are none."""
    ids = [store.resolve(prefix) for prefix in prefixes]
    if not where:
        if not ids:
            raise StoreError("give the runs to compare, or --where FILTER")
        return ids
    query = parse_text(where)
    filters = unless_archived([] if query is None else [query])
    found = store.run_ids(filters, "-dice")
    if not found:
        raise StoreError(f"--where: {why_none(store, filters)}")
    return list(dict.fromkeys([*ids, *found]))


def compared_run(store: Store, prefix: str) -> ComparedRun:
    """A run with all that it is compared by. Raises StoreError."""
    row = store.run(store.resolve(prefix))
    scored_itself = row.source or row.task == Imported.name
    found = store.results.evaluations(row.id) if scored_itself else store.results.evaluations_of(row.id)
    return ComparedRun(
        row,
        store.results.epochs(row.id),
        [_evaluation(store, scores) for scores in found],
        ood_of(store, row.id),
        store.results.newest_corruptions(row.id),
        store.results.metrics(row.id),
        store.results.crf_results(row.id),
        store.results.latencies(row.id),
        store.results.newest_environments(row.id),
    )


def ood_of(store: Store, run_id: str) -> list[OodResults]:
    """What the run, or those that looked at its network, found out-of-distribution; in order of time."""
    rows = store.results.ood_results(run_id)
    by_run = [list(part) for _, part in groupby(rows, key=lambda row: row.run_id)]
    configs = [store.run(part[0].run_id).config for part in by_run]
    return [
        OodResults(what_was_out(config), part, where_it_was(config))
        for config, part in zip(configs, by_run, strict=True)
    ]


def _evaluation(store: Store, scores: EvaluationRow) -> Evaluation:
    """Scores with whether they are of images that the training had nothing to do with; when the training is
    deleted nobody knows, and they are taken for its own."""
    try:
        trained, scored = store.run(scores.source), store.run(scores.run_id)
    except StoreError:
        return Evaluation(scores, external=scores.split == "test")
    external = is_external(scores.split, trained, scored)
    own, others = trained.config["data"], scored.config["data"]
    learned_at, seen_at = format_value(own["size"]), format_value(others["size"])
    return Evaluation(
        scores,
        external,
        input_size="" if seen_at == learned_at else seen_at,
        data="" if others["root"] == own["root"] else f"{PurePath(others['root']).name} {scores.split}",
        weights=other_weights(trained, scored),
    )
