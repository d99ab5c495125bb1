"""The sections of a RunConfig that every run has and that no registry of components brings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, model_validator

from engine.classes import ClassSet
from engine.config.class_set import ClassSetConfig
from engine.config.fields import Section, Size, option
from engine.config.windows import SlidingWindowKeys
from engine.data.layouts.builtin import LAYOUTS

STUDY_SEED = 2147483647
"""The seed of the study's 80/20 split."""


def _names(value: Any) -> Any:
    """Accept a list of names beside names joined by commas, and keep them joined, each once."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return value
    return ",".join(dict.fromkeys(name.strip() for name in names if name.strip()))


Names = Annotated[str, BeforeValidator(_names)]


class DataConfig(Section):
    """Which images a run sees, and at what size."""

    root: str = option("", "Data set folder; --data sets it")
    layout: Annotated[str, LAYOUTS] = option(
        "auto",
        "How the data set lies in its folder; auto: the one that recognises it",
    )
    classes: str = option(
        "auto",
        "Class set. auto: the data set's own; cityscapes: the 19 of Cityscapes, to which other data sets are "
        "mapped; or the path of a classes.toml",
        min_length=1,
    )
    class_set: ClassSetConfig | None = option(None, "The class set as read when the run was created")
    size: Size = option((128, 128), "Input size of the network, height x width", unit="pixels")
    split: Literal["random", "official", "folders"] = option(
        "random",
        "random: split the training folder; official: use the train and val folders; folders: hold out whole "
        "folders of the training folder, data.val_folders",
    )
    val_fraction: float = option(
        0.2, "Fraction of the training folder that the random split holds out", gt=0, lt=1
    )
    val_folders: Names = option(
        "",
        "Folders within the training folder, such as cities or sequences, that data.split=folders holds out",
        form="folder names separated by commas, such as bremen,ulm",
        commas=True,
    )
    split_seed: int = option(STUDY_SEED, "Seed of the random split", ge=0, lt=2**63)
    split_rule: Literal["threshold", "rank"] = option(
        "rank",
        "How data.split_seed selects images. threshold: each image independently, so adding images moves no "
        "other; rank: exact counts, as in the study's recipes and in runs of earlier versions",
        new="threshold",
    )
    label_fraction: float = option(
        1.0, "Fraction of the training images whose labels are used, selected by data.split_seed", gt=0, le=1
    )
    class_uniform: float = option(
        0.0,
        "Share of each epoch's training images that is chosen class by class, every class equally often, "
        "with crops on that class; 0: each image once an epoch",
        ge=0,
        le=1,
    )
    hold_out: Names = option(
        "",
        "Classes excluded from training: void in training, out-of-distribution in `seg-engine ood`",
        form="class names separated by commas, such as rider,train",
        commas=True,
    )
    cache: bool = option(
        True, "Decode once and cache the pixels on disk; false: decode the files in every epoch"
    )
    workers: int = option(
        0, "Decoding processes when there is no cache; 0: one per core", unit="processes", ge=0, le=1024
    )
    skip_bad: bool = option(False, "Skip images that are damaged, unlabelled or mislabelled")

    @property
    def known_classes(self) -> str | ClassSet:
        """The class set of the run, or the word or path by which it is found where it is not written out."""
        return self.classes if self.class_set is None else self.class_set.class_set()

    @property
    def divides_training(self) -> bool:
        """Whether the validation images are a part of the training folder."""
        return self.split != "official"

    @property
    def validating_folders(self) -> tuple[str, ...]:
        """The names in `val_folders`."""
        return tuple(self.val_folders.split(",")) if self.val_folders else ()

    @model_validator(mode="after")
    def _folders_are_named_where_they_count(self) -> Self:
        if self.split == "folders" and not self.val_folders:
            raise ValueError(
                "data.val_folders: is empty; with data.split=folders it must name the folders to hold out"
            )
        if self.val_folders and self.split != "folders":
            raise ValueError(
                f"data.val_folders: {self.val_folders} has no effect with data.split={self.split}; set "
                "data.split=folders"
            )
        return self

    @property
    def chooses_images(self) -> bool:
        """Whether `split_seed` and `split_rule` decide anything."""
        return self.split == "random" or self.label_fraction < 1

    @property
    def held_out(self) -> tuple[str, ...]:
        """The names in `hold_out`."""
        return tuple(self.hold_out.split(",")) if self.hold_out else ()


class EmaConfig(Section):
    """Exponential moving average of the weights, validated and saved with them (Polyak, Juditsky 1992)."""

    decay: float = option(
        0.0,
        "Share of the old average in the new one after each step, such as 0.999; 0: no average",
        ge=0,
        lt=1,
    )
    warmup: bool = option(
        True, "Let the decay rise to ema.decay: in step n it is at most (1 + n) / (10 + n)", of="decay"
    )
    use: Literal["average", "raw"] = option(
        "average",
        "Whose scores choose the best epoch, and which weights evaluations and predictions use: those of the "
        "average or of the raw weights; both are in the checkpoint",
        of="decay",
    )


class ValidationConfig(SlidingWindowKeys):
    """Validation during training."""

    every: int = option(1, "Epochs between validations", unit="epochs", ge=1, le=1_000_000)
    batch_size: int = option(
        0,
        "Images per validation batch; 0: as in training, fewer if that is on crops",
        unit="images",
        ge=0,
        le=65536,
    )


class EarlyStopConfig(Section):
    """End a run whose validation scores no longer improve. The schedule still covers all `epochs`."""

    patience: int = option(
        0,
        "Epochs without an improvement after which the run ends; 0: never",
        unit="epochs",
        ge=0,
        le=1_000_000,
    )
    metric: Literal["dice", "miou", "loss"] = option(
        "dice",
        "Validation score that must improve; in pre-training, which has no classes, the loss",
        of="patience",
    )
    min_improvement: float = option(
        0.0, "An improvement must be larger than this", of="patience", ge=0, le=1000
    )


class GalleryConfig(Section):
    """Predictions of a few fixed validation images, saved during training."""

    every: int = option(
        10,
        "Epochs between saved predictions, which are also saved at the end; 0: never",
        unit="epochs",
        ge=0,
        le=1_000_000,
    )
    images: int = option(6, "Number of validation images", of="every", unit="images", ge=1, le=64)


class ReportConfig(Section):
    """Records for other programs, written while a run goes on."""

    tensorboard: bool = option(
        False,
        "Write event files for TensorBoard into the run's folder, an entry an epoch (extra tensorboard)",
    )


class CheckpointConfig(Section):
    """How much work a crash can cost."""

    seconds: float = option(
        30.0,
        "Least time between checkpoints, which are written at the end of an epoch; 0: every epoch",
        unit="seconds",
        ge=0,
        le=1_000_000_000,
    )
    keep_every: int = option(
        0,
        "Epochs between weights that are kept permanently; 0: none",
        unit="epochs",
        ge=0,
        le=1_000_000,
    )


class BudgetConfig(Section):
    """Length of a run in hours or images instead of epochs, over all its attempts."""

    hours: float = option(
        0.0,
        "Hours of training and validation, over all attempts, after which the run finishes, and its schedule "
        "with it; 0: the run has `epochs` epochs",
        unit="hours",
        ge=0,
        le=1_000_000,
    )
    images: int = option(
        0,
        "Training images, counted each time that one is seen, after which the run finishes, and its schedule "
        "with it; 0: the run has `epochs` epochs",
        unit="images",
        ge=0,
        le=10**15,
    )

    @property
    def is_given(self) -> bool:
        """Whether a budget decides how long the run is, and not `epochs`."""
        return self.hours > 0 or self.images > 0


class LimitsConfig(Section):
    """Limits of a run."""

    hours: float = option(
        0.0,
        "Wall-time limit of one attempt; at the limit the run writes a checkpoint and fails with the cause "
        "timeout; 0: no limit",
        unit="hours",
        ge=0,
        le=1_000_000,
    )


class PretrainConfig(Section):
    """Pre-training without labels, by denoising (Brempong et al. 2022)."""

    noise: float = option(
        0.22, "Standard deviation of the noise; images are normalised to about 1", gt=0, le=10
    )
    epochs: int = option(
        0,
        "For a training run: queue a pre-training run of this many epochs first and start from its weights; "
        "0: none",
        unit="epochs",
        ge=0,
        le=1_000_000,
    )


class InitConfig(Section):
    """Where the weights come from; by default they are drawn at random from the seed."""

    weights: str = option(
        "", "Start from these weights: a run (its best checkpoint) or a file (.pt, .pth, .safetensors)"
    )
    parts: Literal["all", "encoder", "decoder"] = option(
        "all",
        "Which of the weights are loaded: all, those of the encoder, or those of what comes after it. The "
        "other part begins with model.weights or, without, at random",
    )
    strict: bool = option(
        True, "Refuse weights of another network; false: load the weights that fit and log which"
    )


class DistillConfig(Section):
    """Learning from the outputs of a trained network as well as from labels (Hinton et al. 2015)."""

    teacher: str = option(
        "",
        "Learn this network's outputs as well as the labels: a run (its best checkpoint) or a checkpoint "
        "file (.pt), of the same classes; empty: none",
        alias="from",
    )
    weight: float = option(1.0, "Weight of distillation beside loss.*", of="from", gt=0, le=1000)
    temperature: float = option(
        1.0,
        "Both networks' logits are divided by it before the softmax; above 1, unlikely classes count more",
        of="from",
        gt=0,
        le=100,
    )


class RuntimeConfig(Section):
    """How the machine is used. Beyond rounding, only `micro_batch` changes results.

    Batch norm and losses that are not means over pixels see one micro-batch at a time.
    """

    threads: int = option(
        0,
        "CPU threads of the worker, or of each of its ranks; 0: its share of the cores",
        ge=0,
        le=1024,
    )
    keep_memory: bool = option(
        True, "Keep large freed memory blocks instead of returning them to the kernel (glibc, CPU)"
    )
    channels_last: bool = option(True, "Use the channels-last memory format")
    micro_batch: int = option(
        0,
        "Images per forward pass; gradients accumulate to batch_size, batch norm and losses such as Dice see "
        "one pass alone; 0: the whole batch",
        unit="images",
        ge=0,
        le=65536,
    )
    recompute: bool = option(
        False,
        "Activation checkpointing: recompute activations for the gradient instead of keeping them; less "
        "memory, about a third more time",
    )
    compile: Literal["off", "auto", "on"] = option(
        "auto",
        "torch.compile; auto: on CUDA, if steps measured at the start show that it pays off within the run; "
        "also for validation and for images that are evaluated or predicted",
    )
    graph: Literal["off", "auto", "on"] = option(
        "auto",
        "Replay each full training step as one CUDA graph; auto: if steps measured at the start show that it "
        "is faster",
    )
    deterministic: bool = option(False, "Use only deterministic algorithms, on CUDA too; some are slower")


class PluginFile(Section):
    """A file of components that a run was made with."""

    path: str = option("", "Absolute path of the file", min_length=1)
    sha256: str = option("", "SHA-256 of its bytes", pattern="^[0-9a-f]{64}$")
