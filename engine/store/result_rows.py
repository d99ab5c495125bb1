"""What the tasks that score have measured, as frozen snapshots; see `engine.store.rows`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    window_size: str = ""
    window_stride: str = ""


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
    window_size: str = ""
    window_stride: str = ""


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
    window_size: str = ""
    window_stride: str = ""


@dataclass(frozen=True, slots=True)
class EnvironmentRow:
    """The scores in one environment; the fields are those of the `environment_result` event. `run_id` is the
    run that measured them, `source` the run whose network it is of."""

    run_id: str
    source: str
    place: int
    environment: str
    kind: Literal["own", "corruption", "data"]
    root: str
    layout: str
    corruption: str
    strength: int
    split: str
    images: int
    dice: float | None
    dice_image: float | None
    miou: float | None
    pixel_accuracy: float | None
    class_dice: dict[str, float | None]
    class_iou: dict[str, float | None]
    dice_difference: float | None
    dice_low: float | None
    dice_high: float | None
    miou_difference: float | None
    miou_low: float | None
    miou_high: float | None
    never_labelled: list[str]
    merged: str
    window_size: str = ""
    window_stride: str = ""


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
class LatencyRow:
    """One measurement of how long an image takes through a network; the fields are those of the `latency`
    event. `run_id` is the run that measured, `source` the run whose network it is of."""

    run_id: str
    source: str
    number: int
    seq: int
    t: float
    protocol: str
    runtime: str
    precision: str
    compiled: bool
    height: int
    width: int
    passes: int
    median_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    mean_seconds: float | None
    frames_per_second: float | None
    device: str
    device_name: str
    threads: int
    file: str
    problem: str


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
