"""What the runs of a database have measured: curves, scores of checkpoints and of images, what the tasks
`ood`, `robustness`, `generalise` and `latency` found out, and the events that tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from engine.store.database import Database
from engine.store.errors import StoreError
from engine.store.lookup import require
from engine.store.result_columns import (
    CORRUPTION_COLUMNS,
    CRF_COLUMNS,
    CRF_TRIAL_COLUMNS,
    ENVIRONMENT_COLUMNS,
    EPOCH_COLUMNS,
    EVALUATION_COLUMNS,
    EVENT_COLUMNS,
    IMAGE_COLUMNS,
    LATENCY_COLUMNS,
    METRIC_COLUMNS,
    OOD_COLUMNS,
    OOD_IMAGE_COLUMNS,
)
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


class Results:
    """The results of single runs. Every verb raises NoSuchRun where there is no run of that id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def epochs(self, run_id: str, split: str | None = None) -> list[EpochRow]:
        """A run's curve, in the order of the epochs (then by split)."""
        curve = sa.select(*EPOCH_COLUMNS).where(epochs.c.run_id == run_id)
        if split is not None:
            curve = curve.where(epochs.c.split == split)
        rows = self._rows(run_id, curve.order_by(epochs.c.epoch, epochs.c.split))
        return [EpochRow(*row) for row in rows]

    def dice_curves(self, run_ids: Sequence[str]) -> dict[str, list[float | None]]:
        """The validation Dice of each epoch of some runs, by id; a run without epochs is left out."""
        if not run_ids:
            return {}
        e = epochs.c
        chosen = sa.select(e.run_id, e.dice).where(e.run_id.in_(run_ids), e.split == "val")
        curves: dict[str, list[float | None]] = {}
        with self._database.read() as connection:
            for run_id, dice in connection.execute(chosen.order_by(e.run_id, e.epoch)):
                curves.setdefault(run_id, []).append(dice)
        return curves

    def events(self, run_id: str) -> list[EventRow]:
        """What the worker reported through all attempts, but its progress; in order."""
        log = sa.select(*EVENT_COLUMNS).where(events.c.run_id == run_id).order_by(events.c.seq)
        return [EventRow(*row) for row in self._rows(run_id, log)]

    def evaluations(self, run_id: str) -> list[EvaluationRow]:
        """The scores of the run's checkpoints, in the order in which they were made."""
        scores = _EVALUATIONS.where(results.c.run_id == run_id).order_by(results.c.seq)
        return [EvaluationRow(*row) for row in self._rows(run_id, scores)]

    def evaluations_of(self, run_id: str) -> list[EvaluationRow]:
        """The scores that other runs, of the task `evaluate`, gave the checkpoints of this one; in order of
        time."""
        scores = _EVALUATIONS.where(runs.c.source == run_id).order_by(results.c.t)
        return [EvaluationRow(*row) for row in self._rows(run_id, scores)]

    def image_scores(self, run_id: str, sort: str = "dice", limit: int | None = None) -> list[ImageRow]:
        """The scores of each image of an evaluation: the worst first, or by `sort`.

        `sort` is image, dice, miou, pixel_accuracy, valid_pixels or class:NAME, the Dice of a class; with a
        "-" before it largest first; images without that score last. Raises StoreError for another word.
        """
        column = _image_order(sort.removeprefix("-"))
        order = column.desc() if sort.startswith("-") else column.asc()
        chosen = sa.select(*IMAGE_COLUMNS).where(images.c.run_id == run_id)
        chosen = chosen.order_by(order.nulls_last(), images.c.image).limit(limit)
        return [ImageRow(*row) for row in self._rows(run_id, chosen)]

    def ood_results(self, run_id: str) -> list[OodRow]:
        """What the run itself, of the task `ood`, or the runs that looked at its network measured; the newest
        run that finished last, of one run first pixels, then images."""
        chosen = sa.select(*OOD_COLUMNS).join_from(ood_results, runs).where(_of(run_id))
        order = (*_BY_RUN, ood_results.c.run_id, ood_results.c.seq)
        return [OodRow(*row) for row in self._rows(run_id, chosen.order_by(*order))]

    def ood_images(self, run_id: str) -> list[OodImageRow]:
        """What the scores say of each image, in the order in which a run of the task `ood` looked at them."""
        chosen = sa.select(*OOD_IMAGE_COLUMNS).where(ood_images.c.run_id == run_id)
        return [OodImageRow(*row) for row in self._rows(run_id, chosen.order_by(ood_images.c.seq))]

    def corruptions(self, run_id: str) -> list[CorruptionRow]:
        """What the run itself, of the task `robustness`, or those of its network measured; the newest
        run that finished last."""
        chosen = sa.select(*CORRUPTION_COLUMNS).join_from(corruptions, runs).where(_of(run_id))
        order = (*_BY_RUN, corruptions.c.run_id, corruptions.c.seq)
        return [CorruptionRow(*row) for row in self._rows(run_id, chosen.order_by(*order))]

    def newest_corruptions(self, run_id: str) -> list[CorruptionRow]:
        """Those of `corruptions` that count: of the newest run that finished; if none did, of the newest."""
        rows = self.corruptions(run_id)
        return [row for row in rows if row.run_id == rows[-1].run_id]

    def environments(self, run_id: str) -> list[EnvironmentRow]:
        """What the run itself, of the task `generalise`, or those of its network measured; the newest
        run that finished last."""
        chosen = sa.select(*ENVIRONMENT_COLUMNS).join_from(environments, runs).where(_of(run_id))
        order = (*_BY_RUN, environments.c.run_id, environments.c.place)
        return [EnvironmentRow(*row) for row in self._rows(run_id, chosen.order_by(*order))]

    def newest_environments(self, run_id: str) -> list[EnvironmentRow]:
        """Those of `environments` that count, likewise."""
        rows = self.environments(run_id)
        return [row for row in rows if row.run_id == rows[-1].run_id]

    def crf_results(self, run_id: str) -> list[CrfRow]:
        """What CRFs made of the predictions of the run itself, or of those that looked at its network; the
        newest run that finished last."""
        chosen = sa.select(*CRF_COLUMNS).join_from(crf_results, runs).where(_of(run_id))
        order = (*_BY_RUN, crf_results.c.run_id, crf_results.c.seq)
        return [CrfRow(*row) for row in self._rows(run_id, chosen.order_by(*order))]

    def crf_trials(self, run_id: str) -> list[CrfTrialRow]:
        """The trials of the run itself, of the task `crf-search`, or of those for its network; the newest run
        that finished last."""
        chosen = sa.select(*CRF_TRIAL_COLUMNS).join_from(crf_trials, runs).where(_of(run_id))
        order = (*_BY_RUN, crf_trials.c.run_id, crf_trials.c.trial)
        return [CrfTrialRow(*row) for row in self._rows(run_id, chosen.order_by(*order))]

    def latencies(self, run_id: str) -> list[LatencyRow]:
        """What the run itself, or those that looked at its network, measured of its latency; in order of
        time."""
        chosen = _LATENCIES.where(_of(run_id))
        return [LatencyRow(*row) for row in self._rows(run_id, chosen)]

    def all_latencies(self) -> list[LatencyRow]:
        """What was measured of the latency of any network, in order of time."""
        with self._database.read() as connection:
            return [LatencyRow(*row) for row in connection.execute(_LATENCIES)]

    def metrics(self, run_id: str) -> list[MetricRow]:
        """What metrics of one's own gave for the run itself and, of the task `evaluate`, for its network; in
        order of time."""
        chosen = sa.select(*METRIC_COLUMNS).join_from(metrics, runs).where(_of(run_id))
        order = (runs.c.created_at, metrics.c.run_id, metrics.c.seq, metrics.c.metric, metrics.c.class_name)
        return [MetricRow(*row) for row in self._rows(run_id, chosen.order_by(*order))]

    def _rows(self, run_id: str, select: sa.Select[Any]) -> list[tuple[Any, ...]]:
        with self._database.read() as connection:
            require(connection, run_id)
            return [tuple(row) for row in connection.execute(select)]


def _of(run_id: str) -> sa.ColumnElement[bool]:
    return (runs.c.id == run_id) | (runs.c.source == run_id)


_BY_RUN = (sa.case((runs.c.status == "finished", 1), else_=0), runs.c.created_at)
"""Runs in order of time, but those that did not finish first: where the last counts, no run that was stopped
takes the place of one that measured everything."""
_LATENCIES = (
    sa.select(*LATENCY_COLUMNS)
    .join_from(latencies, runs)
    .order_by(latencies.c.t, latencies.c.run_id, latencies.c.number)
)
_EVALUATIONS = sa.select(*EVALUATION_COLUMNS).join_from(results, runs)
_IMAGE_ORDERS = ("image", "dice", "miou", "pixel_accuracy", "valid_pixels")


def _image_order(name: str) -> sa.ColumnElement[Any]:
    kind, _, class_name = name.partition(":")
    if kind == "class" and class_name:
        dice: sa.ColumnElement[Any] = images.c.class_dice[class_name].as_float()
        return dice
    if name not in _IMAGE_ORDERS:
        raise StoreError(f"{name}: images have {', '.join(_IMAGE_ORDERS)} and class:NAME to sort by")
    return images.c[name]
