"""What a run tells: the events of its journal, `engine.run.journal` says how they are kept.

Each line of a journal is one of these. All carry `seq` (0, 1, 2, ... through all attempts of the run), `t`
(UTC seconds), `attempt` (1, 2, ...), `event` and their own fields. `engine.run.bounds` says what is possible.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.run.bounds import (
    MOST_CLASSES,
    Attempt,
    Classes,
    Colors,
    EpochNumber,
    Inside,
    Large,
    Name,
    Number,
    Phase,
    Rate,
    Score,
    Seconds,
    Time,
    Whole,
    Word,
)

Split = Literal["train", "val", "test"]
FailureCause = Literal["exception", "out_of_memory", "diverged", "timeout", "killed"]
ClassScores = Annotated[dict[Name, Score | None], Field(max_length=MOST_CLASSES)]
"""Class name -> score in [0, 1]; None where the class is in neither truth nor prediction."""


class MetricScore(BaseModel):
    """What a metric gave for a split, and what its numbers mean, as its code may be gone when they are read.
    `classes` are the numbers by class, where it gives one per class; `value` is then their mean.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    name: Name
    value: Number | None
    classes: Annotated[dict[Name, Number | None], Field(max_length=MOST_CLASSES)] = {}
    unit: Word = ""
    low: Number | None = None
    high: Number | None = None
    better: Literal["higher", "lower", "neither"] = "neither"


MetricScores = Annotated[list[MetricScore], Field(max_length=1000)]


class Event(BaseModel):
    """What every line has."""

    # Built when first used: listing runs reads no journal and should not wait for validators.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    added_later: ClassVar[frozenset[str]] = frozenset()
    """Fields that runs of earlier versions lack. At its default, such a field equals a missing one."""

    seq: Whole = -1
    t: Time = 0.0
    attempt: Attempt = 0

    def absent(self) -> set[str]:
        """The fields that a database leaves out, so that its rows are the same whatever version made them."""
        fields = type(self).model_fields
        return {name for name in self.added_later if getattr(self, name) == fields[name].default}


class _OfClasses(Event):
    """An event that names the classes of its run, with a colour each."""

    @model_validator(mode="after")
    def _each_class_has_a_color(self) -> Self:
        classes, colors = getattr(self, "classes", ()), getattr(self, "colors", ())
        if len(classes) != len(colors):
            raise ValueError(f"{len(classes)} classes have {len(colors)} colours")
        return self


class Started(Event):
    """A worker has come up, with one process or with several, its `ranks`; `pid` is that which is signalled,
    `threads` those of each. `job` is the job of a cluster that it is, such as 12 or 12_3."""

    event: Literal["started"] = "started"
    host: Name
    pid: Whole
    device: Word
    device_name: Name
    precision: Word
    threads: Whole
    versions: dict[str, str]
    import_seconds: Seconds
    resumed_from_epoch: EpochNumber = 0
    ranks: Whole = 1
    job: Name = ""


class Data(_OfClasses):
    """The data is at hand; `seconds` includes building the cache when that was needed."""

    event: Literal["data"] = "data"
    train_images: Whole
    val_images: Whole
    classes: Classes
    colors: Colors
    seconds: Seconds
    cache: list[str]
    skipped: list[str] = []


class Model(Event):
    """The network. FLOPs are of one forward pass of one sample, a multiply-add counting as two."""

    event: Literal["model"] = "model"
    name: Name
    parameters: Large
    flops_per_sample: Large


class WarmStart(Event):
    """The run begins with the weights of a file: `taken` tensors.

    `epoch` is how many epochs they have learned; None for weights that were made elsewhere, whose names were
    read as those of `names_of` if they are not this network's own. `new` are the tensors of this network that
    the file had no weights for, `unused` those of the file that this network has no place for, and
    `other_shapes` tells of those that fit by their names alone.
    """

    added_later: ClassVar[frozenset[str]] = frozenset({"names_of", "other_shapes"})

    event: Literal["warm_start"] = "warm_start"
    source: str
    epoch: EpochNumber | None = None
    names_of: Name = ""
    taken: Whole
    new: list[str]
    unused: list[str]
    other_shapes: list[str] = []

    @property
    def told(self) -> str:
        """The event as a line for people."""
        epoch = "" if self.epoch is None else f", epoch {self.epoch}"
        made_by = f" ({self.names_of})" if self.names_of else ""
        parts = [f"weights loaded from {self.source}{made_by}{epoch}: {self.taken} tensors"]
        lists = (("new here", self.new), ("not used", self.unused), ("of another shape", self.other_shapes))
        for what, names in lists:
            if names:
                more = f" and {len(names) - 4} more" if len(names) > 4 else ""
                parts.append(f"{what}: {', '.join(names[:4])}{more}")
        return "; ".join(parts)


class Compiled(Event):
    """Whether torch.compile is used from here on, and why; step times are medians in seconds."""

    event: Literal["compiled"] = "compiled"
    kept: bool
    reason: str
    compile_seconds: Seconds = 0.0
    plain_step_seconds: Seconds = 0.0
    compiled_step_seconds: Seconds = 0.0


class Speed(Event):
    """What the machine can do and what the run gets out of it, in FLOP/s.

    Recorded after an attempt's first epoch and at the run's end. `achieved_flops` is of training: three times
    the forward pass, as the gradient counts twice. `ceiling_flops` is of a large matrix product in the run's
    precision. `first_step_seconds` is from the start of the worker to the end of its first step.
    """

    event: Literal["speed"] = "speed"
    images_per_second: Rate
    achieved_flops: Rate
    ceiling_flops: Rate
    first_step_seconds: Seconds | None = None


class Progress(Event):
    """Where the run is now; at most two a second. `step` counts optimizer steps or batches from 1. `phase` is
    "cache", "val", "fit" or called like the task."""

    event: Literal["progress"] = "progress"
    phase: Phase
    epoch: EpochNumber
    step: Whole
    steps: Whole
    loss: float | None = None
    images_per_second: Rate | None = None
    eta_seconds: Seconds | None = None


class Epoch(Event):
    """The scores of one epoch on one split, at the input size.

    The training scores are of the predictions made while training, each before its own step.
    `data_wait` is the share of the time in which the step waited for data, 0 to 1.
    """

    event: Literal["epoch"] = "epoch"
    epoch: EpochNumber
    split: Split
    loss: float | None
    dice: Score | None
    dice_image: Score | None
    miou: Score | None
    pixel_accuracy: Score | None
    class_dice: ClassScores
    class_iou: ClassScores
    lr: Rate
    seconds: Seconds
    images_per_second: Rate
    data_wait: Rate
    peak_memory_bytes: Large
    metrics: MetricScores = []


class Checkpoint(Event):
    """A checkpoint is on disk; `dice` is the validation Dice of its epoch."""

    event: Literal["checkpoint"] = "checkpoint"
    kind: Literal["last", "best"]
    epoch: EpochNumber
    path: Inside
    dice: Score | None


class Gallery(Event):
    """Predictions of the gallery's images are on disk, in the folder `path` of the run directory."""

    event: Literal["gallery"] = "gallery"
    epoch: EpochNumber
    path: Inside
    samples: list[Inside]


class Evaluating(_OfClasses):
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


class Predicting(_OfClasses):
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


class Result(Event):
    """The scores of one checkpoint on one split. `confusion` is [C][C + 1]: rows are ground truth, the
    last column is predicted void.

    An evaluation also says how it got there and how fast the network is: seconds from one image at the input
    size in the device's memory to its class map, without test-time augmentation and CRF. `crf` tells the
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


class Detecting(_OfClasses):
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


class OodResult(Event):
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


class CorruptionResult(Event):
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


class CrfUse(BaseModel):
    """The parameters of a fully connected CRF; the fields are those of the config's section `crf`."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    iterations: Whole
    gaussian_weight: Rate
    gaussian_sigma: Rate
    bilateral_weight: Rate
    bilateral_sigma_xy: Rate
    bilateral_sigma_rgb: Rate


class CrfScores(BaseModel):
    """The scores of predictions before or after a CRF."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    dice: Score | None
    dice_image: Score | None
    miou: Score | None
    pixel_accuracy: Score | None
    class_dice: ClassScores
    class_iou: ClassScores


class CrfResult(Event):
    """What a CRF made of the predictions of a task, image by image at the size `at`, and what it took.

    Both scores are of one pass; a prediction without labels has none. `corruption` is "" but for the task
    robustness. `searched`: the parameters are those that `crf-search` found for the checkpoint. `seconds` is
    the median over the `timed` images of the last attempt, `p95_seconds` their 95th percentile.
    """

    event: Literal["crf_result"] = "crf_result"
    split: Literal["train", "val", "test", ""]
    at: Literal["input", "original"]
    corruption: Name = ""
    strength: Whole = 0
    images: Whole
    use: CrfUse
    searched: bool
    timed: Whole
    seconds: Seconds | None
    p95_seconds: Seconds | None
    before: CrfScores | None = None
    after: CrfScores | None = None


class CrfSearching(_OfClasses):
    """A search for the parameters of a CRF begins or goes on: for a checkpoint of the run `source`, on
    `images`, which are training images at the size `at`. `learned`: the network was trained on them. `done`
    trials of an earlier attempt count."""

    event: Literal["crf_searching"] = "crf_searching"
    source: str
    checkpoint: str
    sha256: Word
    epoch: EpochNumber
    at: Literal["input", "original"]
    images: list[Name]
    learned: bool
    trials: Whole
    done: Whole
    root: str
    classes: Classes
    colors: Colors


class CrfTrial(Event):
    """The scores of one set of parameters on the images of a search. `kind` is "none" for the predictions
    without a CRF, "default", "random" or "nearby", which changes one parameter of the best so far. `seconds`
    is the time of the CRF for one image, the median."""

    event: Literal["crf_trial"] = "crf_trial"
    trial: Whole
    kind: Literal["none", "default", "random", "nearby"]
    use: CrfUse | None
    miou: Score | None
    dice: Score | None
    pixel_accuracy: Score | None
    class_iou: ClassScores
    seconds: Seconds


class CrfFound(Event):
    """The end of a search: the trial with the highest mean IoU, and the file that holds its parameters."""

    event: Literal["crf_found"] = "crf_found"
    trial: Whole
    miou: Score | None
    without: Score | None
    path: str


class Warned(Event):
    """Something a person should know that did not end the run."""

    event: Literal["warning"] = "warning"
    message: str


class Finished(Event):
    """The run has done all that it was to do; with the cause early_stop in fewer epochs than it might."""

    added_later: ClassVar[frozenset[str]] = frozenset({"cause"})

    event: Literal["finished"] = "finished"
    cause: Literal["completed", "early_stop"] = "completed"
    epoch: EpochNumber
    seconds: Seconds


class Failed(Event):
    event: Literal["failed"] = "failed"
    cause: FailureCause
    message: str
    traceback: str = ""


class Stopped(Event):
    """The run ended before its time on request; `epoch` epochs are complete and kept."""

    event: Literal["stopped"] = "stopped"
    cause: Literal["stopped", "preempted"]
    epoch: EpochNumber


AnyEvent = Annotated[
    Started
    | Data
    | Model
    | WarmStart
    | Compiled
    | Speed
    | Progress
    | Epoch
    | Checkpoint
    | Gallery
    | Evaluating
    | Predicting
    | ImageScores
    | Result
    | Detecting
    | OodImage
    | OodResult
    | CorruptionResult
    | CrfResult
    | CrfSearching
    | CrfTrial
    | CrfFound
    | Warned
    | Finished
    | Failed
    | Stopped,
    Field(discriminator="event"),
]
