"""What a run tells: the events of its journal, `engine.run.journal` says how they are kept.

Each line of a journal is one of these. All carry `seq` (0, 1, 2, ... through all attempts of the run), `t`
(UTC seconds), `attempt` (1, 2, ...), `event` and their own fields. `engine.run.bounds` says what is possible.
Here are the events of training and those that end a run; `AnyEvent` knows those of the other tasks too.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

from engine.run.bounds import (
    Classes,
    Colors,
    EpochNumber,
    Inside,
    Large,
    Name,
    Phase,
    Rate,
    Score,
    Seconds,
    Whole,
    Word,
)
from engine.run.crf_events import CrfFound, CrfResult, CrfSearching, CrfTrial
from engine.run.event import ClassScores, Event, MetricScores, OfClasses, Split
from engine.run.latency_events import LatencyResult, Timed
from engine.run.scoring_events import (
    CorruptionResult,
    Detecting,
    EnvironmentResult,
    Evaluating,
    Generalising,
    ImageScores,
    OodImage,
    OodResult,
    Predicting,
    Result,
)

FailureCause = Literal["exception", "out_of_memory", "diverged", "timeout", "killed"]


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


class Data(OfClasses):
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


class Taught(Event):
    """The network of a checkpoint teaches the run: that of `epoch` in the file `source`, whose SHA-256 is
    `sha256`."""

    event: Literal["taught"] = "taught"
    source: str
    epoch: EpochNumber
    sha256: Name

    @property
    def told(self) -> str:
        """The event as a line for people."""
        return f"{self.source}, epoch {self.epoch}, SHA-256 {self.sha256[:12]}"


class AveragedFrom(BaseModel):
    """A checkpoint whose weights are part of a mean: that of `epoch` in the file `source`."""

    source: str
    epoch: EpochNumber
    sha256: Name

    @property
    def told(self) -> str:
        return f"{self.source}, epoch {self.epoch}, SHA-256 {self.sha256[:12]}"


class Averaged(Event):
    """The network's weights are the mean of those of several checkpoints."""

    event: Literal["averaged"] = "averaged"
    sources: list[AveragedFrom]


class Compiled(Event):
    """Whether torch.compile is used from here on, and why; step times are medians in seconds. `of` is what a
    step is one of: training steps, batches of a validation, or images."""

    event: Literal["compiled"] = "compiled"
    of: Literal["training", "validation", "images"] = "training"
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
    "cache", "val", "fit" or called like the task. `budget_used` is the share of the run's budget."""

    event: Literal["progress"] = "progress"
    phase: Phase
    epoch: EpochNumber
    step: Whole
    steps: Whole
    loss: float | None = None
    images_per_second: Rate | None = None
    eta_seconds: Seconds | None = None
    budget_used: Score | None = None


class Epoch(Event):
    """The scores of one epoch on one split, at the input size.

    The training scores are of the predictions made while training, each before its own step.
    `data_wait` is the share of the time in which the step waited for data, 0 to 1. `budget_used` is the share
    of the run's budget that is used after it, 1 at its end. `joules` is the energy since the event of this
    kind before, or since the network was made; None where none is measured. Only the records of another
    program, which were imported, lack other numbers.
    """

    added_later: ClassVar[frozenset[str]] = frozenset({"budget_used", "joules"})

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
    lr: Rate | None
    seconds: Seconds | None
    images_per_second: Rate | None
    data_wait: Rate | None
    peak_memory_bytes: Large | None
    budget_used: Score | None = None
    joules: Rate | None = None
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


class ImportedFrom(OfClasses):
    """The records of another program's run begin: `program` says whose format they were in, `source` where
    they were, `unknown` what they do not tell."""

    event: Literal["imported"] = "imported"
    program: Word
    source: Name
    unknown: list[str]
    classes: Classes
    colors: Colors


class Used(Event):
    """What the attempt has used, told right before it ends: `seconds` of each of its `devices` (GPUs, or 1
    for the processors of a machine, on all of its nodes), the energy of the GPUs and the processors of the
    first node, and the bytes that the run's folder has now. Energy is of whole GPUs and processors, whoever
    used them; None where it is not measured."""

    event: Literal["used"] = "used"
    devices: Whole
    seconds: Seconds
    gpu_joules: Rate | None
    cpu_joules: Rate | None
    disk_bytes: Large


class Warned(Event):
    """Something a person should know that did not end the run."""

    event: Literal["warning"] = "warning"
    message: str


class Finished(Event):
    """The run has done all that it was to do; with the cause budget as that is used, and with early_stop in
    less than it might."""

    added_later: ClassVar[frozenset[str]] = frozenset({"cause"})

    event: Literal["finished"] = "finished"
    cause: Literal["completed", "early_stop", "budget"] = "completed"
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
    | Taught
    | Averaged
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
    | Generalising
    | EnvironmentResult
    | CrfResult
    | CrfSearching
    | CrfTrial
    | CrfFound
    | Timed
    | LatencyResult
    | ImportedFrom
    | Used
    | Warned
    | Finished
    | Failed
    | Stopped,
    Field(discriminator="event"),
]
