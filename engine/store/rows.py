"""What the store hands out: frozen snapshots. Nothing in them changes when the database does.

All times are UTC seconds; a score is in [0, 1], None where there is none. `docs/database.md` describes
each field under the column of the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import sqlalchemy as sa

from engine.store.errors import StoreError
from engine.store.schema import (
    corruptions,
    crf_results,
    crf_trials,
    epochs,
    events,
    experiments,
    images,
    metrics,
    ood_images,
    ood_results,
    results,
    runs,
    tags,
)
from engine.tasks.robustness import HARDEST

STATUSES = ("queued", "starting", "running", "stopping", "finished", "failed", "stopped", "lost")
END_STATUSES = ("finished", "failed", "stopped", "lost")
CAUSES = (
    "completed",
    "early_stop",
    "exception",
    "out_of_memory",
    "diverged",
    "killed",
    "preempted",
    "timeout",
    "lost_host",
    "stopped",
    "dependency",
)


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as it is now. `stored_config` is the frozen RunConfig as plain JSON values, of the version that
    made the run; `best_val_loss` is the validation loss at `best_epoch`.

    `auroc` is the highest of the scores of a run of the task `ood`, of pixels where there are masks, and
    `auroc_score` names that score; `corrupted_dice` is the mean Dice over the corruptions at `HARDEST` of a
    run of the task `robustness`; `crf_miou` is the highest mean IoU of the trials of a run of the task
    `crf-search`."""

    id: str
    name: str
    experiment: str
    task: str
    recipe: str
    status: str
    cause: str
    message: str
    traceback: str
    tags: tuple[str, ...]
    note: str
    seed: int
    created_at: float
    queued_at: float | None
    started_at: float | None
    ended_at: float | None
    attempt: int
    host: str
    pid: int | None
    device: str
    device_name: str
    precision: str
    epochs: int
    epoch: int
    phase: str
    step: int | None
    steps: int | None
    images_per_second: float | None
    eta_seconds: float | None
    progress_at: float | None
    best_epoch: int | None
    best_dice: float | None
    best_val_loss: float | None
    best_train_dice: float | None
    best_miou: float | None
    last_dice: float | None
    last_train_dice: float | None
    last_miou: float | None
    last_loss: float | None
    last_val_loss: float | None
    parameters: int | None
    flops_per_sample: int | None
    peak_memory_bytes: int | None
    train_images: int | None
    val_images: int | None
    classes: tuple[str, ...]
    colors: tuple[str, ...]
    stored_config: dict[str, Any]
    journal_offset: int
    journal_seq: int
    first_step_seconds: float | None
    achieved_flops: float | None
    ceiling_flops: float | None
    priority: int
    paused: bool
    after: str
    claimed_by: dict[str, Any] | None
    source: str
    workspace: str
    auroc: float | None
    auroc_score: str | None
    corrupted_dice: float | None
    crf_miou: float | None

    @property
    def config(self) -> dict[str, Any]:
        """The frozen RunConfig as plain JSON values, with every key of this version."""
        from engine.config.stored import whole  # takes longer than listing all runs

        return whole(self.stored_config)

    @property
    def ended(self) -> bool:
        return self.status in END_STATUSES

    @property
    def utilisation(self) -> float | None:
        """Achieved over possible FLOP/s, often called MFU; None where either is unknown."""
        if self.achieved_flops is None or not self.ceiling_flops:
            return None
        return self.achieved_flops / self.ceiling_flops


@dataclass(frozen=True, slots=True)
class EpochRow:
    """The scores of one epoch on one split; the fields are those of the `epoch` event."""

    epoch: int
    split: str
    attempt: int
    t: float
    loss: float | None
    dice: float | None
    dice_image: float | None
    miou: float | None
    pixel_accuracy: float | None
    lr: float
    seconds: float
    images_per_second: float
    data_wait: float
    peak_memory_bytes: int
    class_dice: dict[str, float | None]
    class_iou: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of the journal. The scores of `epoch` and `result` events are not in `payload` again."""

    seq: int
    t: float
    attempt: int
    event: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """The scores of one checkpoint on one split; the fields are those of the `result` event. `run_id` is the
    run that scored, `source` the run whose checkpoint it scored: "" for its own."""

    run_id: str
    source: str
    seq: int
    t: float
    split: str
    at: str
    epoch: int
    images: int
    dice: float | None
    dice_image: float | None
    miou: float | None
    pixel_accuracy: float | None
    class_dice: dict[str, float | None]
    class_iou: dict[str, float | None]
    confusion: list[list[int]]
    checkpoint: str
    label_resize: str
    tta: str
    parameters: int | None
    flops_per_sample: int | None
    latency_seconds: float | None
    latency_p95_seconds: float | None
    frames_per_second: float | None
    crf: str


@dataclass(frozen=True, slots=True)
class ImageRow:
    """The scores of one image in one evaluation; the fields are those of the `image` event."""

    image: str
    split: str
    at: str
    dice: float | None
    miou: float | None
    pixel_accuracy: float | None
    valid_pixels: int
    class_dice: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class OodRow:
    """How one score tells out-of-distribution from in-distribution; the fields are those of the `ood_result`
    event. `run_id` is the run that measured it, `source` the run whose network it is of."""

    run_id: str
    source: str
    seq: int
    t: float
    level: str
    score: str
    positives: int
    negatives: int
    auroc: float | None
    average_precision: float | None
    fpr95: float | None
    error: float
    threshold: float
    rejected_in: float | None
    rejected_out: float | None
    component_f1: float | None
    best_component_f1: float | None
    best_threshold: float | None
    aurc: float | None
    risk_coverage: list[list[float]]


@dataclass(frozen=True, slots=True)
class OodImageRow:
    """What the scores say of one image; the fields are those of the `ood_image` event."""

    image: str
    origin: str
    out: bool
    dice: float | None
    scores: dict[str, float]
    include: dict[str, bool]


@dataclass(frozen=True, slots=True)
class CorruptionRow:
    """The scores on images corrupted in one way and strength; the fields are those of the `corruption_result`
    event. `run_id` is the run that measured them, `source` the run whose network it is of."""

    run_id: str
    source: str
    split: str
    corruption: str
    strength: int
    images: int
    dice: float | None
    dice_image: float | None
    miou: float | None
    pixel_accuracy: float | None


@dataclass(frozen=True, slots=True)
class CrfParameterRow:
    """The parameters of a CRF, None for predictions without one."""

    iterations: int | None
    gaussian_weight: float | None
    gaussian_sigma: float | None
    bilateral_weight: float | None
    bilateral_sigma_xy: float | None
    bilateral_sigma_rgb: float | None


@dataclass(frozen=True, slots=True)
class CrfRow(CrfParameterRow):
    """What a CRF made of predictions; the fields are those of the `crf_result` event. `run_id` is the run
    that used it, `source` the run whose network it is of."""

    run_id: str
    source: str
    seq: int
    split: str
    at: str
    corruption: str
    strength: int
    images: int
    searched: bool
    timed: int
    seconds: float | None
    p95_seconds: float | None
    dice_before: float | None
    dice_after: float | None
    dice_image_before: float | None
    dice_image_after: float | None
    miou_before: float | None
    miou_after: float | None
    pixel_accuracy_before: float | None
    pixel_accuracy_after: float | None
    class_dice_before: dict[str, float | None] | None
    class_dice_after: dict[str, float | None] | None
    class_iou_before: dict[str, float | None] | None
    class_iou_after: dict[str, float | None] | None


@dataclass(frozen=True, slots=True)
class CrfTrialRow(CrfParameterRow):
    """One trial of a search for the parameters of a CRF; the fields are those of the `crf_trial` event."""

    run_id: str
    source: str
    trial: int
    seq: int
    t: float
    kind: str
    miou: float | None
    dice: float | None
    pixel_accuracy: float | None
    class_iou: dict[str, float | None]
    seconds: float


@dataclass(frozen=True, slots=True)
class MetricRow:
    """What a metric of one's own gave: of a whole split where `class_name` is empty, else of that class.

    It was `measured` at an "epoch" of training or is part of a "result"; `run_id` and `source` are as those
    of an EvaluationRow. `low` and `high` bound the metric, `better` is higher, lower or neither.
    """

    run_id: str
    source: str
    seq: int
    measured: str
    split: str
    at: str
    epoch: int
    metric: str
    class_name: str
    value: float | None
    unit: str
    low: float | None
    high: float | None
    better: Literal["higher", "lower", "neither"]


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """One experiment; `active` counts its runs that have not ended."""

    name: str
    created_at: float
    runs: int
    active: int
    best_dice: float | None


def check_status(status: str) -> None:
    """Raises StoreError for a word that is no status."""
    if status not in STATUSES:
        raise StoreError(f"{status}: is not a status; it must be one of {', '.join(STATUSES)}")


TAG_SEPARATOR = ","


def _of_task(task: str, chosen: sa.Select[Any]) -> sa.ColumnElement[Any]:
    """What is looked up for runs of one task alone, so that a list of others costs nothing more."""
    return sa.case((runs.c.task == task, chosen.scalar_subquery()))


def _of_best_detector(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    o = ood_results.c
    pixels_first = sa.case((o.level == "pixel", 0), else_=1)
    chosen = sa.select(column).where(o.run_id == runs.c.id, o.auroc.is_not(None))
    return _of_task("ood", chosen.order_by(pixels_first, o.auroc.desc(), o.seq).limit(1))


OF_RUN: dict[str, sa.ColumnElement[Any]] = {
    "stored_config": runs.c.config,
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
    "crf_miou": _of_task(
        "crf-search",
        sa.select(sa.func.max(crf_trials.c.miou)).where(crf_trials.c.run_id == runs.c.id),
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


def run_row(row: Sequence[Any]) -> RunRow:
    values = list(row)
    values[_TAGS] = tuple(sorted(values[_TAGS].split(TAG_SEPARATOR))) if values[_TAGS] else ()
    values[_CLASSES] = tuple(values[_CLASSES])
    values[_COLORS] = tuple(values[_COLORS])
    return RunRow(*values)


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
CRF_COLUMNS = _with_source(crf_results, CrfRow)
CRF_TRIAL_COLUMNS = _with_source(crf_trials, CrfTrialRow)
METRIC_COLUMNS = _with_source(metrics, MetricRow)
