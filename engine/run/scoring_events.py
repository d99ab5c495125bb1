"""The events of the tasks that score or use a trained network: `evaluate`, `predict`, `ood`, `robustness`,
`generalise`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.run.bounds import (
    MOST_CLASSES,
    Classes,
    Colors,
    EpochNumber,
    Large,
    Name,
    Number,
    Rate,
    Score,
    Seconds,
    Whole,
    Word,
)
from engine.run.event import ClassScores, Event, MetricScores, OfClasses, Split, Windowed


class Evaluating(OfClasses, Windowed):
    """What an evaluation scores, and how: a checkpoint of the run `source` on the images of one split.

    `epoch` is the checkpoint's, `sha256` that of its file, `done` the images that an earlier attempt has
    scored with the same file and that are not scored again.
    """

    event: Literal["evaluating"] = "evaluating"
    source: str
    checkpoint: str
    sha256: Word
    epoch: EpochNumber
    split: Split
    at: Literal["input", "original"]
    label_resize: Literal["bilinear-logits", "nearest"]
    tta: Word
    images: Whole
    done: Whole
    root: str
    classes: Classes
    colors: Colors


class Predicting(OfClasses, Windowed):
    """Which images get class maps, and of which checkpoint of the run `source`; `done` of them an earlier
    attempt has made."""

    event: Literal["predicting"] = "predicting"
    source: str
    checkpoint: str
    sha256: Word
    epoch: EpochNumber
    images: Whole
    done: Whole
    out: str
    label_resize: Literal["bilinear-logits", "nearest"]
    tta: Word
    classes: Classes
    colors: Colors


class ImageScores(Event):
    """The scores of one image; those of a later attempt replace them. An image whose labels are all void has
    none."""

    event: Literal["image"] = "image"
    image: Name
    split: Split
    at: Literal["input", "original"]
    dice: Score | None
    miou: Score | None
    pixel_accuracy: Score | None
    valid_pixels: Large
    class_dice: ClassScores


class Result(Windowed):
    """The scores of one checkpoint on one split. `confusion` is [C][C + 1]: rows are ground truth, the
    last column is predicted void.

    An evaluation also says how it got there and how fast the network is: seconds from one image at the input
    size in the device's memory to its class map, as a whole or in all its windows, without test-time
    augmentation and CRF. `crf` tells the
    parameters of the CRF that refined the predictions, "" without one; `crf_result` has the scores before it.
    """

    event: Literal["result"] = "result"
    split: Split
    at: Literal["input", "original"]
    epoch: EpochNumber
    images: Whole
    dice: Score | None
    dice_image: Score | None
    miou: Score | None
    pixel_accuracy: Score | None
    class_dice: ClassScores
    class_iou: ClassScores
    confusion: Annotated[list[list[Large]], Field(max_length=MOST_CLASSES)]
    source: Name = ""
    checkpoint: str = ""
    label_resize: Word = ""
    tta: Word = ""
    parameters: Large | None = None
    flops_per_sample: Large | None = None
    latency_seconds: Seconds | None = None
    latency_p95_seconds: Seconds | None = None
    frames_per_second: Rate | None = None
    metrics: MetricScores = []
    crf: Word = ""

    @model_validator(mode="after")
    def _confusion_has_its_shape(self) -> Self:
        if any(len(row) != len(self.confusion) + 1 for row in self.confusion):
            raise ValueError(f"confusion: each of its {len(self.confusion)} rows must have one cell more")
        return self


class Detecting(OfClasses, Windowed):
    """What an out-of-distribution evaluation looks at: a checkpoint of the run `source`, whose scores are
    fitted on `training` images and whose thresholds come from `calibrating` images. `cases` are judged,
    `masked` of them have masks. Every attempt judges all of them anew."""

    event: Literal["detecting"] = "detecting"
    source: str
    checkpoint: str
    sha256: Word
    epoch: EpochNumber
    in_root: str
    out_root: str
    pseudo: Word
    accept: Score
    training: Whole
    calibrating: Whole
    cases: Whole
    masked: Whole
    classes: Classes
    colors: Colors


class OodImage(Event):
    """What the scores say of one image, and whether it is accepted. `origin` is the data set it came from,
    `out` whether something in it, or all of it, is out-of-distribution. `dice` is there where labels are."""

    event: Literal["ood_image"] = "ood_image"
    image: Name
    origin: Literal["in", "out"]
    out: bool
    scores: dict[Name, float]
    include: dict[Name, bool]
    dice: Score | None


class OodResult(Windowed):
    """How well one score tells out-of-distribution from in-distribution, pixels or whole images.

    Measures are None where a class is missing, or where they are not of this level. `error` bounds how wrong
    AUROC, AP and FPR95 can be. What lies above `threshold` is rejected: `rejected_in` and `rejected_out` are
    the shares. `component_f1` is at that threshold, `best_component_f1` at `best_threshold`, the one of the
    best pixel F1 on these very images. `risk_coverage` is pairs of coverage and mean Dice.
    """

    event: Literal["ood_result"] = "ood_result"
    score: Name
    level: Literal["pixel", "image"]
    positives: Large
    negatives: Large
    auroc: Score | None
    average_precision: Score | None
    fpr95: Score | None
    error: float
    threshold: float
    rejected_in: Score | None
    rejected_out: Score | None
    component_f1: Score | None = None
    best_component_f1: Score | None = None
    best_threshold: float | None = None
    aurc: Score | None = None
    risk_coverage: list[tuple[Score, Score]] = []


class CorruptionResult(Windowed):
    """The scores of a split whose images were corrupted; `strength` 0 is the images as they are."""

    event: Literal["corruption_result"] = "corruption_result"
    corruption: Name
    strength: Whole
    split: Split
    images: Whole
    dice: Score | None
    dice_image: Score | None
    miou: Score | None
    pixel_accuracy: Score | None


class Generalising(OfClasses, Windowed):
    """Which environments a checkpoint of the run `source` is scored in; `done` of all images an earlier
    attempt has scored. `classes` are those that are scored, after merging."""

    event: Literal["generalising"] = "generalising"
    source: str
    checkpoint: str
    sha256: Word
    epoch: EpochNumber
    environments: Annotated[list[Name], Field(max_length=1000)]
    images: Whole
    done: Whole
    label_resize: Literal["bilinear-logits", "nearest"]
    tta: Word
    classes: Classes
    colors: Colors


class EnvironmentResult(Windowed):
    """The scores in one environment. `kind` says what it is: the run's `own` images, those under a
    `corruption`, or another `data` set. `dice_difference` and `miou_difference` are to the own images, with
    an interval of 95 % from `_low` to `_high` by bootstrap over images: paired where the images are the
    same ones, which are a `corruption`'s. `never_labelled` are scored classes that no label has, `merged`
    says what was merged and left out."""

    event: Literal["environment_result"] = "environment_result"
    environment: Name
    place: Whole
    kind: Literal["own", "corruption", "data"]
    root: str
    layout: Word
    corruption: Name
    strength: Whole
    split: Split
    images: Whole
    dice: Score | None
    dice_image: Score | None
    miou: Score | None
    pixel_accuracy: Score | None
    class_dice: ClassScores
    class_iou: ClassScores
    dice_difference: Number | None = None
    dice_low: Number | None = None
    dice_high: Number | None = None
    miou_difference: Number | None = None
    miou_low: Number | None = None
    miou_high: Number | None = None
    never_labelled: Classes = []
    merged: str = ""
