"""RunConfig: everything that decides what a run does, checked before anything is created.

Each field carries its bounds, its unit and one line of help; the command line's help, the
documentation and the form of the dashboard are generated from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from engine.augment.builtin import AUGMENTATIONS, AugmentSection
from engine.components.parts import PartRegistry
from engine.components.sections import Registry
from engine.components.stored import reading_stored
from engine.config.crf import CrfConfig
from engine.config.fields import DEVICE_FORM, DEVICE_PATTERN, Count, Section, option
from engine.config.old_keys import with_new_keys
from engine.config.sections import (
    BudgetConfig,
    CheckpointConfig,
    DataConfig,
    DistillConfig,
    EarlyStopConfig,
    EmaConfig,
    GalleryConfig,
    InitConfig,
    LimitsConfig,
    PluginFile,
    PretrainConfig,
    ReportConfig,
    RuntimeConfig,
    ValidationConfig,
)
from engine.config.slurm import SlurmConfig
from engine.config.task_sections import (
    AverageConfig,
    CrfSearchConfig,
    EvaluateConfig,
    GeneraliseConfig,
    ImportedConfig,
    LatencyConfig,
    OfNetworkConfig,
    OodConfig,
    PredictConfig,
    RobustnessConfig,
    ScoredSplitConfig,
)
from engine.config.windows import SlidingWindowKeys
from engine.data.layouts.builtin import LAYOUTS
from engine.losses.builtin import LOSSES, LossSection
from engine.models import ModelSection
from engine.models.builtin import MODELS, UNetConfig
from engine.optimizers.builtin import OPTIMIZERS, OptimizerSection, SGDConfig
from engine.schedules.builtin import SCHEDULES, ConstantConfig, ScheduleSection
from engine.tasks import TASKS, USUAL
from engine.typed import typed

FROZEN_NORMS = ("frozen_statistics", "frozen")
"""Values of `batch_norm` that leave its statistics as they are."""


class RunConfig(Section):
    """All of a run. Frozen: a run keeps the config it was queued with."""

    task: Annotated[str, TASKS] = option(
        USUAL, "; ".join(f"{task.name}: {task.does}" for task in TASKS if TASKS.is_built_in(task.name))
    )
    recipe: str = option("", "Recipe that the config started from")
    seed: int = option(0, "Random seed of weights, order and augmentation", ge=0, lt=2**63)
    epochs: int = option(
        60,
        "Passes over the training images; with a budget, what the times of the schedule are counted in",
        unit="epochs",
        ge=1,
        le=1_000_000,
    )
    batch_size: int = option(64, "Images per step", unit="images", ge=1, le=65536)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto",
        "auto: bf16 where it is faster (CUDA from Ampere; CPUs with AMX, or AVX512-BF16 of AMD), else fp32",
    )
    device: str = option("auto", "Compute device", form=DEVICE_FORM, pattern=DEVICE_PATTERN)
    devices: Count = option(
        "1",
        "GPUs, or CPU processes, that share each batch; auto: all GPUs",
        form="auto or a whole number >= 1",
        pattern=r"^(auto|[1-9]\d{0,3})$",
    )
    batch_norm: Literal["local", "sync", "frozen_statistics", "frozen"] = option(
        "local",
        "Statistics of batch norm in training. local: of each device's part of a batch; sync: of all "
        "devices; frozen_statistics: those that the weights came with, while scale and shift learn; frozen: "
        "nothing of batch norm learns",
    )
    executor: Literal["local", "slurm"] = option(
        "local", "local: a process on the agent's machine; slurm: a cluster job"
    )
    data: DataConfig = DataConfig()
    model: Annotated[ModelSection, MODELS] = option(
        UNetConfig(), "The network; each architecture has its own keys"
    )
    optimizer: Annotated[OptimizerSection, OPTIMIZERS] = option(
        SGDConfig(), "How gradients change the weights; each optimizer has its own keys"
    )
    schedule: Annotated[ScheduleSection, SCHEDULES] = option(ConstantConfig(), "The learning rate over time")
    loss: Annotated[LossSection, LOSSES] = Field(default_factory=LOSSES.new)
    ema: EmaConfig = EmaConfig()
    pretrain: PretrainConfig = PretrainConfig()
    init: InitConfig = InitConfig()
    distill: DistillConfig = DistillConfig()
    augment: Annotated[AugmentSection, AUGMENTATIONS] = Field(default_factory=AUGMENTATIONS.new)
    validation: ValidationConfig = ValidationConfig()
    early_stop: EarlyStopConfig = EarlyStopConfig()
    gallery: GalleryConfig = GalleryConfig()
    report: ReportConfig = ReportConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    budget: BudgetConfig = BudgetConfig()
    limits: LimitsConfig = LimitsConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    slurm: SlurmConfig = SlurmConfig()
    crf: CrfConfig = CrfConfig()
    plugins: tuple[PluginFile, ...] | None = None
    component_defaults: dict[str, dict[str, JsonValue]] | None = option(
        None,
        "Defaults of the keys of components from outside when the run was made, by section: by them a key at "
        "its default is known where the component is not there",
    )
    evaluate: EvaluateConfig | None = None
    predict: PredictConfig | None = None
    ood: OodConfig | None = None
    robustness: RobustnessConfig | None = None
    generalise: GeneraliseConfig | None = None
    crf_search: CrfSearchConfig | None = None
    latency: LatencyConfig | None = None
    average: AverageConfig | None = None
    imported: ImportedConfig | None = None

    @classmethod
    def of_stored(cls, table: Mapping[str, Any]) -> Self:
        """The config of a run that exists; components that are not here any more are kept as they are
        written. Raises ValueError, of which ValidationError is one."""
        with reading_stored():
            return cls.model_validate(with_new_keys(table))

    def missing(self) -> list[str]:
        """The components that are not here, a line each."""
        lines = [] if self.task in TASKS else [f"task={self.task}: no such task here"]
        plain = self.model.missing()
        for field, registry in registries().items():
            section = getattr(self, field)
            if isinstance(registry, PartRegistry):
                lines += [
                    f"{field}.{key}: no installed component has this key" for key in section.model_extra or ()
                ]
            elif isinstance(section, registry.unknown):
                lines.append(f"{field}.name={section.name}: no such {registry.kind} here")
        if self.data.layout not in LAYOUTS.choices():
            lines.append(f"data.layout={self.data.layout}: no such layout here")
        plugins = ", ".join(file.path for file in self.plugins or ())
        why = (
            f"; the run was made with {plugins}"
            if plugins
            else "; it may come from a package that is not installed"
        )
        return [*plain, *(line + why for line in lines)]

    @property
    def of_network(self) -> OfNetworkConfig | None:
        """The section of a task that looks at the network of another run; None for a run with its own."""
        section = getattr(self, TASKS[self.task].section, None)
        return section if isinstance(section, OfNetworkConfig) else None

    @property
    def scored(self) -> ScoredSplitConfig | None:
        """The section of a task that scores a split; None for any other."""
        section = self.of_network
        return section if isinstance(section, ScoredSplitConfig) else None

    @property
    def source(self) -> str:
        """Id of the run whose network this one looks at; empty for a run that trains its own."""
        return self.of_network.source if self.of_network is not None else ""

    def ranks_meet_in(self) -> str:
        """What makes devices exchange numbers in the middle of the network; "" where nothing does."""
        if self.batch_norm == "sync":
            return "batch_norm=sync"
        return "augment.mixstyle" if self.augment.mixstyle and not self.runtime.micro_batch else ""

    @model_validator(mode="after")
    def _task_has_its_section(self) -> Self:
        if not TASKS[self.task].learns and self.of_network is None:
            raise ValueError(
                f"task: {self.task} needs the network of a finished run; "
                f"use `{typed()} {TASKS[self.task].usage_of('RUN')}`"
            )
        return self

    @model_validator(mode="after")
    def _several_devices_have_something_to_share(self) -> Self:
        nodes = self.slurm.nodes
        if nodes > 1 and self.executor != "slurm":
            raise ValueError(f"slurm.nodes: {nodes} needs executor=slurm; it must be 1")
        if self.devices == "1" and nodes == 1:
            return self
        if not TASKS[self.task].learns:
            key = "devices" if nodes == 1 else "slurm.nodes"
            raise ValueError(f"{key}: the task {self.task} runs on one device; it must be 1")
        if self.device.startswith("cuda:"):
            raise ValueError(
                f"devices: {self.devices} cannot all be {self.device}; device=cuda uses the first ones"
            )
        if self.devices != "auto" and int(self.devices) * nodes > self.batch_size:
            on_nodes = f" on each of {nodes} nodes" if nodes > 1 else ""
            raise ValueError(
                f"devices: {self.devices}{on_nodes} cannot share a batch of {self.batch_size} images; "
                f"{'it' if nodes == 1 else 'their number'} must be at most batch_size"
            )
        if self.runtime.compile == "on" and (key := self.ranks_meet_in()):
            raise ValueError(f"runtime.compile: on works with {key} on one device; it must be off or auto")
        if self.batch_norm == "sync" and self.runtime.micro_batch:
            raise ValueError(
                f"runtime.micro_batch: {self.runtime.micro_batch} does not work with batch_norm=sync on "
                "several devices, whose parts of a batch may divide differently; it must be 0"
            )
        return self

    @model_validator(mode="after")
    def _a_job_has_what_it_uses(self) -> Self:
        if problem := self.slurm.problem(self.executor == "slurm", self.device, self.devices):
            raise ValueError(problem)
        return self

    @property
    def told_length(self) -> str:
        """How long the run is, for people: "60 epochs", "1.5 h", "10,000 images"."""
        if self.budget.hours:
            return f"{self.budget.hours:g} h"
        return f"{self.budget.images:,} images" if self.budget.images else f"{self.epochs} epochs"

    @property
    def needs_labels(self) -> bool:
        return TASKS[self.task].needs_labels

    @property
    def train_size(self) -> tuple[int, int]:
        """(height, width) of what the network is trained on: crops, or whole images of `data.size`."""
        return self.augment.crop_size or self.data.size

    @property
    def train_size_key(self) -> str:
        """The key that says `train_size`."""
        return "augment.crop" if self.augment.crop_size else "data.size"

    @property
    def windowed(self) -> SlidingWindowKeys:
        """The section that says whether the network sees images whole or in windows where they are scored."""
        section = self.of_network or self.validation
        return section if isinstance(section, SlidingWindowKeys) else SlidingWindowKeys()

    @property
    def scored_size(self) -> tuple[int, int]:
        """(height, width) of what the network sees at once where images are scored: windows, or whole images
        of `data.size`."""
        return self.windowed.window_size or self.data.size

    @property
    def scored_size_key(self) -> str:
        """The key that says `scored_size`."""
        return "data.size" if self.windowed.window_size is None else f"{self._windowed_section}.window"

    @property
    def _windowed_section(self) -> str:
        return "validation" if self.of_network is None else TASKS[self.task].section

    @property
    def validation_batch(self) -> int:
        """Images of a validation batch: where none are named, as many as have the pixels of a training batch,
        as crops may be much smaller than the images."""
        (height, width), (rows, columns) = self.data.size, self.train_size
        alike = max(1, self.batch_size * rows * columns // (height * width))
        return self.validation.batch_size or alike

    @property
    def _parts_of_images(self) -> dict[str, tuple[int, int]]:
        """What the network sees at once, by the key that says so: crops matter to those that learn alone."""
        seen = {self.scored_size_key: self.scored_size}
        return seen | ({self.train_size_key: self.train_size} if TASKS[self.task].learns else {})

    @model_validator(mode="after")
    def _crops_lie_within_images(self) -> Self:
        height, width = self.data.size
        for key, (rows, columns) in self._parts_of_images.items():
            if rows > height or columns > width:
                raise ValueError(
                    f"{key}: {rows}x{columns} is larger than the images, {height}x{width}; it must be at "
                    "most data.size"
                )
        moves = self.augment.crop_size is not None or getattr(self.augment, "scale_max", 1.0) > 1
        if getattr(self.augment, "cat_max_ratio", 1.0) < 1 and not moves:
            raise ValueError(
                "augment.cat_max_ratio: there are no random crops to draw again; set augment.crop or an "
                "augment.scale_max above 1"
            )
        return self

    @model_validator(mode="after")
    def _windows_leave_no_gap(self) -> Self:
        if problem := self.windowed.stride_problem:
            raise ValueError(f"{self._windowed_section}.stride: {problem}")
        return self

    @model_validator(mode="after")
    def _sides_divide_by_stride(self) -> Self:
        for key, size in self._parts_of_images.items():
            if problem := self.model.size_problem(*size):
                raise ValueError(f"{key}: {problem}")
        return self

    @model_validator(mode="after")
    def _images_alone_teach_no_classes(self) -> Self:
        layout = LAYOUTS.all().get(self.data.layout)
        if layout is not None and not layout.labelled and self.needs_labels:
            usable = [name for name, other in LAYOUTS.all().items() if other.labelled]
            raise ValueError(
                f"data.layout: the layout {self.data.layout} has no labels, which task={self.task} needs; "
                f"it must be auto, {' or '.join(usable)}, or the task pretrain"
            )
        return self

    @model_validator(mode="after")
    def _a_teacher_knows_classes(self) -> Self:
        if self.distill.teacher and not TASKS[self.task].learns_classes:
            raise ValueError(
                f"distill.from: task={self.task} learns no classes; it must be empty, or the task {USUAL}"
            )
        return self

    @model_validator(mode="after")
    def _task_can_use_a_crf(self) -> Self:
        if self.crf.mode != "off" and not TASKS[self.task].uses_crf:
            using = ", ".join(task.name for task in TASKS if task.uses_crf)
            raise ValueError(f"crf.mode: task={self.task} uses no CRF; it must be off, or the task {using}")
        return self

    @model_validator(mode="after")
    def _task_can_have_this_config(self) -> Self:
        TASKS[self.task].check_config(self)
        return self

    @model_validator(mode="after")
    def _one_budget_is_enough(self) -> Self:
        if self.budget.hours and self.budget.images:
            raise ValueError("budget.images: budget.hours is given too; one of them must be 0")
        return self

    @model_validator(mode="after")
    def _schedule_suits_the_run(self) -> Self:
        if problem := self.schedule.problem(self.epochs):
            raise ValueError(problem)
        least = getattr(self.schedule, "min_lr", 0.0)
        if isinstance(least, float) and least > self.optimizer.lr:
            raise ValueError(
                f"schedule.min_lr: {least:g} is above optimizer.lr={self.optimizer.lr:g}; it must be at most "
                "that"
            )
        return self


@cache
def registries() -> dict[str, Registry[Any] | PartRegistry[Any]]:
    """The registry of each section of a config whose keys components bring, by the section's key."""
    return {
        name: entry
        for name, info in RunConfig.model_fields.items()
        for entry in info.metadata
        if isinstance(entry, Registry | PartRegistry)
    }


def variant_sections() -> dict[str, Registry[Any]]:
    """The registry of each section of a config whose `name` decides which other keys it has."""
    return {name: entry for name, entry in registries().items() if isinstance(entry, Registry)}


for _registry in (*registries().values(), TASKS):
    _registry.on_change(lambda: RunConfig.model_rebuild(force=True))
TASKS.load_installed()
