"""The events of fully connected CRFs: what one made of predictions, and the search for its parameters."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from engine.run.bounds import Classes, Colors, EpochNumber, Name, Rate, Score, Seconds, Whole, Word
from engine.run.event import ClassScores, Event, OfClasses, Windowed


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


class CrfSearching(OfClasses, Windowed):
    """A search for the parameters of a CRF begins or goes on: for a checkpoint of the run `source`, on
    `images`, which are training images at the size `at`; `contents` is a digest of what is in their files.
    `learned`: the network was trained on them. `done` trials of an earlier attempt count."""

    event: Literal["crf_searching"] = "crf_searching"
    source: str
    checkpoint: str
    sha256: Word
    epoch: EpochNumber
    at: Literal["input", "original"]
    images: list[Name]
    contents: Word = ""
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
