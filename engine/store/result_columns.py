"""Where the fields of what was measured come from: their columns, in the order of the snapshots' fields."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from engine.store.result_rows import (
    CorruptionRow,
    CrfRow,
    CrfTrialRow,
    EnvironmentRow,
    EvaluationRow,
    ImageRow,
    LatencyRow,
    MetricRow,
    OodImageRow,
    OodRow,
)
from engine.store.result_tables import (
    corruptions,
    crf_results,
    crf_trials,
    environments,
    images,
    latencies,
    metrics,
    ood_images,
    ood_results,
    results,
)
from engine.store.rows import EpochRow, EventRow
from engine.store.schema import epochs, events, runs

EPOCH_COLUMNS = [epochs.c[field.name] for field in fields(EpochRow)]
EVENT_COLUMNS = [events.c[field.name] for field in fields(EventRow)]
IMAGE_COLUMNS = [images.c[field.name] for field in fields(ImageRow)]
OOD_IMAGE_COLUMNS = [ood_images.c[field.name] for field in fields(OodImageRow)]


def _with_source(table: sa.Table, row: type[Any]) -> list[sa.ColumnElement[Any]]:
    """The columns of a row whose table is joined with its runs."""
    return [runs.c.source if field.name == "source" else table.c[field.name] for field in fields(row)]


EVALUATION_COLUMNS = _with_source(results, EvaluationRow)
OOD_COLUMNS = _with_source(ood_results, OodRow)
CORRUPTION_COLUMNS = _with_source(corruptions, CorruptionRow)
ENVIRONMENT_COLUMNS = _with_source(environments, EnvironmentRow)
CRF_COLUMNS = _with_source(crf_results, CrfRow)
CRF_TRIAL_COLUMNS = _with_source(crf_trials, CrfTrialRow)
LATENCY_COLUMNS = _with_source(latencies, LatencyRow)
METRIC_COLUMNS = _with_source(metrics, MetricRow)
