"""Where the fields of the snapshots come from: their columns, and the select of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import sqlalchemy as sa

from engine.classes import CRITICAL_RECALL
from engine.store.result_tables import (
    corruptions,
    crf_trials,
    environments,
    latencies,
    metrics,
    ood_results,
)
from engine.store.rows import RunRow
from engine.store.schema import epochs, experiments, runs, tags
from engine.tasks.robustness import HARDEST

TAG_SEPARATOR = ","


def _of_task(task: str, chosen: sa.Select[Any]) -> sa.ColumnElement[Any]:
    """What is looked up for runs of one task alone, so that a list of others costs nothing more."""
    return sa.case((runs.c.task == task, chosen.scalar_subquery()))


def _of_best_detector(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    o = ood_results.c
    pixels_first = sa.case((o.level == "pixel", 0), else_=1)
    chosen = sa.select(column).where(o.run_id == runs.c.id, o.auroc.is_not(None))
    return _of_task("ood", chosen.order_by(pixels_first, o.auroc.desc(), o.seq).limit(1))


def _kwh(joules: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return joules / 3.6e6


OF_RUN: dict[str, sa.ColumnElement[Any]] = {
    "stored_config": runs.c.config,
    "device_hours": runs.c.device_seconds / 3600.0,
    "energy_kwh": _kwh(
        sa.case(
            (
                sa.or_(runs.c.gpu_joules.is_not(None), runs.c.cpu_joules.is_not(None)),
                sa.func.coalesce(runs.c.gpu_joules, 0.0) + sa.func.coalesce(runs.c.cpu_joules, 0.0),
            )
        )
    ),
    "gpu_kwh": _kwh(runs.c.gpu_joules),
    "cpu_kwh": _kwh(runs.c.cpu_joules),
    "experiment": experiments.c.name,
    "tags": sa.select(sa.func.aggregate_strings(tags.c.tag, TAG_SEPARATOR))
    .where(tags.c.run_id == runs.c.id)
    .scalar_subquery(),
    "best_val_loss": sa.select(epochs.c.loss)
    .where(epochs.c.run_id == runs.c.id, epochs.c.split == "val", epochs.c.epoch == runs.c.best_epoch)
    .scalar_subquery(),
    "auroc": _of_best_detector(ood_results.c.auroc),
    "auroc_score": _of_best_detector(ood_results.c.score),
    "corrupted_dice": _of_task(
        "robustness",
        sa.select(sa.func.avg(corruptions.c.dice)).where(
            corruptions.c.run_id == runs.c.id, corruptions.c.strength == HARDEST
        ),
    ),
    "unseen_dice": _of_task(
        "generalise",
        sa.select(
            sa.func.coalesce(
                sa.func.avg(sa.case((environments.c.kind == "data", environments.c.dice))),
                sa.func.avg(sa.case((environments.c.kind == "corruption", environments.c.dice))),
            )
        ).where(environments.c.run_id == runs.c.id),
    ),
    "critical_recall": sa.select(metrics.c.value)
    .where(
        metrics.c.run_id == runs.c.id,
        metrics.c.metric == CRITICAL_RECALL,
        metrics.c.class_name == "",
        sa.or_(
            sa.and_(runs.c.source != "", metrics.c.measured == "result"),
            sa.and_(
                runs.c.source == "",
                metrics.c.measured == "epoch",
                metrics.c.split == "val",
                metrics.c.epoch == runs.c.best_epoch,
            ),
        ),
    )
    .order_by(metrics.c.seq.desc())
    .limit(1)
    .scalar_subquery(),
    "crf_miou": _of_task(
        "crf-search",
        sa.select(sa.func.max(crf_trials.c.miou)).where(crf_trials.c.run_id == runs.c.id),
    ),
    "frames_per_second": _of_task(
        "latency",
        sa.select(latencies.c.frames_per_second)
        .where(latencies.c.run_id == runs.c.id, latencies.c.frames_per_second.is_not(None))
        .order_by(latencies.c.number)
        .limit(1),
    ),
}
"""Fields of a run that are no columns of `runs`, within a select that joins `experiments`."""

RUN_FIELDS: dict[str, sa.ColumnElement[Any]] = {
    field.name: OF_RUN[field.name] if field.name in OF_RUN else runs.c[field.name] for field in fields(RunRow)
}
"""Field of a RunRow -> where it comes from in `select_runs()`."""

_TAGS, _CLASSES, _COLORS = (list(RUN_FIELDS).index(name) for name in ("tags", "classes", "colors"))


def select_runs() -> sa.Select[Any]:
    """Runs with their experiment, as `run_row` takes them."""
    return sa.select(*RUN_FIELDS.values()).join_from(runs, experiments)


@cache
def select_run() -> sa.Select[Any]:
    """The run `wanted`, a parameter. Made once: to build the statement anew takes longer than to execute it,
    and an agent asks for each run in its care several times a second."""
    return select_runs().where(runs.c.id == sa.bindparam("wanted"))


def run_row(row: Sequence[Any]) -> RunRow:
    values = list(row)
    values[_TAGS] = tuple(sorted(values[_TAGS].split(TAG_SEPARATOR))) if values[_TAGS] else ()
    values[_CLASSES] = tuple(values[_CLASSES])
    values[_COLORS] = tuple(values[_COLORS])
    return RunRow(*values)
