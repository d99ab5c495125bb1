"""Reading runs that are compared, with all that was measured of their networks."""

from __future__ import annotations

from itertools import groupby
from pathlib import PurePath

from engine.config.described import format_value
from engine.report.compare_config import is_external, other_weights
from engine.report.compare_ood import OodResults, what_was_out, where_it_was
from engine.report.measures import ComparedRun, Evaluation
from engine.store import EvaluationRow, Store, StoreError
from engine.tasks.imported import Imported


def compared_run(store: Store, prefix: str, before: ComparedRun | None = None) -> ComparedRun:
    """A run with all that it is compared by. What was read of it `before` is kept where that is long and
    nothing has been added since. Raises StoreError."""
    row = store.run(store.resolve(prefix))
    scored_itself = row.source or row.task == Imported.name
    found = store.results.evaluations(row.id) if scored_itself else store.results.evaluations_of(row.id)
    evaluations = [_evaluation(store, scores) for scores in found]
    known = before if before is not None and before.row.journal_seq == row.journal_seq else None
    metrics = known.metrics if known is not None and known.evaluations == evaluations else None
    return ComparedRun(
        row,
        known.epochs if known is not None else store.results.epochs(row.id),
        evaluations,
        ood_of(store, row.id),
        store.results.newest_corruptions(row.id),
        metrics if metrics is not None else store.results.metrics(row.id),
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
