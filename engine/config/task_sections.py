"""The sections of tasks that look at the network of another run; the commands fill them in."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.config.class_set import ClassSetConfig
from engine.config.fields import Section, Size, option
from engine.config.windows import SlidingWindowKeys

Protocol = Literal["engine", "literature"]
"""How latency is measured; `engine.learning.latency` says what each is."""
Precision = Literal["fp32", "tf32", "bf16", "fp16"]


class OfNetworkConfig(Section):
    """What the tasks that look at the network of another run have in common."""

    source: str = option("", "Id of the run whose network is used", min_length=1)
    checkpoint: str = option(
        "", "Its checkpoint: a path relative to the folder of this run, or absolute", min_length=1
    )


class OfImagesConfig(SlidingWindowKeys, OfNetworkConfig):
    """What those tasks of them have in common that pass images of a data set through the network."""

    tta: Literal["none", "flip", "scales", "flip,scales"] = option(
        "none", "Test-time augmentation: horizontal flip, several scales, or both"
    )
    label_resize: Literal["bilinear-logits", "nearest"] = option(
        "bilinear-logits",
        "Upsampling to the full size: bilinear logits before the argmax, or nearest classes",
    )


class ScoredSplitConfig(OfImagesConfig):
    """What the tasks that score a split have in common."""

    split: Literal["train", "val", "test"] = option("val", "Split of the data set")


class EvaluateConfig(ScoredSplitConfig):
    """Scoring a checkpoint on a split; `seg-engine evaluate` fills it in."""

    at: Literal["input", "original"] = option(
        "original", "Size at which predictions are compared with labels"
    )
    boundary: bool = option(False, "Score boundaries, too: boundary IoU, boundary F and trimap IoU")
    critical: tuple[str, ...] = Field(
        (), description="Classes whose instances are scored: how many are found, by size and distance to road"
    )
    keep: int = option(
        8,
        "Save image, labels and prediction of this many images with the lowest Dice; -1: all",
        ge=-1,
        le=1_000_000_000,
    )


class CrfSearchConfig(OfImagesConfig):
    """A search for the parameters of a CRF, on training images; `seg-engine crf-search` fills it in."""

    at: Literal["input", "original"] = option("original", "Size at which the CRF is used and scored")
    images: int = option(20, "Training images to search on", unit="images", ge=1, le=1_000_000)
    trials: int = option(30, "Sets of parameters to try", ge=2, le=100_000)
    minutes: float = option(
        0.0, "Time after which no further trial starts, 0: no limit", unit="minutes", ge=0, le=1_000_000
    )
    seed: int = option(0, "Seed of the images and of the parameters", ge=0, lt=2**63)


class AverageConfig(Section):
    """Averaging the weights of checkpoints; `seg-engine average` fills it in."""

    checkpoints: tuple[str, ...] = Field(
        (), description="Their paths: relative to the folder of this run, or absolute", min_length=2
    )
    out: str = option("", "File for the averaged checkpoint besides best.pt, absolute; empty: none")


class ImportedConfig(Section):
    """Where the records of another program's run came from; `seg-engine db import --from` fills it in."""

    program: str = option("", "Whose format they were read from")
    source: str = option("", "The file or folder, and the run in it")
    unknown: tuple[str, ...] = Field((), description="What the records do not tell")


class PredictConfig(OfImagesConfig):
    """Class maps of images, labelled or not; `seg-engine predict` fills it in."""

    images: tuple[str, ...] = Field((), description="Absolute paths of the images", min_length=1)
    out: str = option(
        "", "Folder for the predictions: relative to the folder of this run, or absolute", min_length=1
    )
    naming: Literal["plain", "cityscapes"] = option(
        "plain", "File names: those of the images, or those that the Cityscapes server expects"
    )
    classes: tuple[str, ...] = Field((), description="The classes that the network must have")
    colors: tuple[str, ...] = Field((), description="Their colours, #rrggbb")
    values: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(
        (), description="What a class map stores for each class, 0 to 255"
    )
    video: bool = option(False, "The one image is a video, and so is the output")
    view: Literal["overlay", "classes", "side-by-side"] = option(
        "overlay", "What a video shows: colours over the frames, colours alone, or frames beside the overlay"
    )
    overwrite: bool = option(False, "Replace existing predictions")
    notes: tuple[str, ...] = Field((), description="What was left out when the images were found")


class OodConfig(OfImagesConfig):
    """How well the scores tell what a network knows from what it does not; `seg-engine ood` fills it in."""

    in_root: str = option("", "Folder of in-distribution images, absolute", min_length=1)
    split: Literal["val", "test"] = option(
        "val", "Split: as the run divides its own data, or this folder of another data set"
    )
    out_root: str = option("", "Folder of out-of-distribution images, absolute; empty with `pseudo`")
    pseudo: Literal["none", "void", "held-out"] = option(
        "none", "Out-of-distribution pixels of the in-distribution images: void, or held-out classes"
    )
    accept: float = option(0.95, "Fraction of held-out in-distribution data to accept", gt=0, lt=1)
    least_predicted: int = option(
        500, "Smallest predicted component that counts", unit="pixels", ge=0, le=2**31
    )
    least_true: int = option(100, "Smallest true component that counts", unit="pixels", ge=0, le=2**31)
    exact_scores: int = option(
        4_194_304, "Scores kept exactly; beyond that a histogram is used", unit="scores", ge=0, le=2**31
    )
    pictures: int = option(6, "Images of each kind whose score maps are saved", unit="images", ge=0, le=64)

    @model_validator(mode="after")
    def _something_is_out(self) -> Self:
        if bool(self.out_root) == (self.pseudo != "none"):
            raise ValueError("ood: takes either a folder of out-of-distribution images or pseudo-outliers")
        return self


class RobustnessConfig(ScoredSplitConfig):
    """Scores on corrupted images; `seg-engine robustness` fills it in."""


class EnvironmentConfig(Section):
    """A data set of other scenes than those that a network has learned from."""

    name: str = option("", "What it is called in tables", min_length=1, max_length=100)
    root: str = option("", "Its folder, absolute", min_length=1)
    layout: str = option("auto", "How it lies in its folder; auto: the layout that recognises it")
    classes: str = option("auto", "Where its classes come from, as `data.classes`")
    split: Literal["train", "val", "test"] = option("val", "Folder of it that is scored")
    class_set: ClassSetConfig | None = None


class ClassGroupConfig(Section):
    """Classes that count as one."""

    name: str = option("", "What they are called together", min_length=1)
    members: tuple[str, ...] = Field((), description="The classes", min_length=1)


class GeneraliseConfig(ScoredSplitConfig):
    """Scores in environments that a network has not seen; `seg-engine generalise` fills it in. `split` is
    that of the run's own data, which the others are held against."""

    environments: tuple[EnvironmentConfig, ...] = ()
    corruptions: tuple[str, ...] = Field((), description="Corruptions of the run's own images")
    strengths: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(
        (3,), description="Their strengths, 1 to 5"
    )
    class_map: str = option("", "Where the groups of classes come from: a name, or an absolute path")
    groups: tuple[ClassGroupConfig, ...] = Field((), description="Classes that are merged before scoring")
    left_out: tuple[str, ...] = Field((), description="Classes whose pixels are void")

    @model_validator(mode="after")
    def _there_is_an_environment(self) -> Self:
        if not self.environments and not self.corruptions:
            raise ValueError("generalise: names no environment; it needs a data set or a corruption")
        names = ["validation", *(environment.name for environment in self.environments)]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"generalise: two environments are called {twice!r}; names must differ")
        return self


class TimingConfig(Section):
    """What is measured of a network's latency: every combination of what is listed."""

    sizes: tuple[Size, ...] = Field((), description="Sizes of the image; none: the input size of the network")
    protocols: tuple[Protocol, ...] = Field(
        ("engine", "literature"),
        description="engine: from pixels to class ids; literature: the network alone, batch norms folded",
        min_length=1,
    )
    precisions: tuple[Precision, ...] = Field((), description="Precisions; none: all that the device has")
    compile: bool = option(False, "Measure the compiled network, too")
    seconds: float = option(6.0, "Time spent on each measurement", unit="seconds", gt=0, le=100_000)


class LatencyConfig(OfNetworkConfig, TimingConfig):
    """Latency of a checkpoint's network; `seg-engine bench RUN --latency` fills it in."""

    exported: tuple[str, ...] = Field((), description="Absolute paths of ONNX files measured beside it")
