"""What a task is: all that differs between two kinds of runs, told by one descriptor.

A descriptor imports no room, so that lists of runs start fast: what needs the config's models, data or torch
is called by its dotted name, "module:function", and imported when it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from engine.typed import typed

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig
    from engine.data.checks import Checked, Known, Log
    from engine.run.directory import RunDir
    from engine.training.objectives import Objective
    from engine.worker.job import Job


class Run(Protocol):
    """What a task reads of a run in a list."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def ended(self) -> bool: ...
    @property
    def epoch(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def budget_used(self) -> float | None: ...
    @property
    def step(self) -> int | None: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def best_epoch(self) -> int | None: ...
    @property
    def best_dice(self) -> float | None: ...
    @property
    def best_val_loss(self) -> float | None: ...
    @property
    def best_miou(self) -> float | None: ...
    @property
    def last_dice(self) -> float | None: ...
    @property
    def last_miou(self) -> float | None: ...
    @property
    def auroc(self) -> float | None: ...
    @property
    def auroc_score(self) -> str | None: ...
    @property
    def corrupted_dice(self) -> float | None: ...
    @property
    def unseen_dice(self) -> float | None: ...
    @property
    def crf_miou(self) -> float | None: ...
    @property
    def frames_per_second(self) -> float | None: ...


class WholeRun(Run, Protocol):
    """A run with its config, as plain JSON values, and the run whose network it looks at."""

    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def source(self) -> str: ...


@dataclass(frozen=True)
class Outcome:
    """The one number that a run is for: its `name`, its `value`, a share, a loss, a speed or a count, and
    `of`, what it is of ("@ epoch 12"). `brief` is how a column tells it, with {} for the value."""

    name: str
    value: float | int
    of: str = ""
    brief: str = "{}"
    is_speed: bool = False
    """Whether it is told with one digit behind the point, and not with four."""

    @property
    def is_count(self) -> bool:
        """Whether it tells how much was done and not how good it is."""
        return isinstance(self.value, int)


@dataclass(frozen=True)
class Arguments:
    """What the command of a task is given: `operands` after the run, and `options`."""

    operands: Sequence[str] = ()
    options: Sequence[str] = ()


class Task:
    """A kind of run. A task of a person's own derives from LearningTask or NetworkTask."""

    name: ClassVar[str]
    does: ClassVar[str]
    """What a run of it does, as help and `seg-engine components` tell it."""
    learns: ClassVar[bool]
    """Whether it has epochs and makes a network; others look at the network of another run."""
    needs_labels: ClassVar[bool] = True
    evaluates: ClassVar[bool] = False
    """Whether its result is the scores of a split, image by image."""
    section: ClassVar[str] = ""
    """Its own section of a config."""

    uses_crf: ClassVar[bool] = False
    """Whether the section `crf` of a config has an effect."""

    worker: ClassVar[str]
    """The function of a Job that does it. It puts its end on the record, or raises: StopRequested once all is
    saved, Diverged, or what goes wrong."""
    data_check: ClassVar[str]
    """The function that looks at its data before a run exists, called as `check_data` is."""
    data_finder: ClassVar[str] = ""
    """The function that looks for its data before a run goes on, called as `find_data` is; "" for none."""

    objective_maker: ClassVar[str] = "engine.training.objectives:segmentation"
    """The function of a RunConfig and the number of classes that gives the `Objective` of the network."""

    stops_after: ClassVar[str]
    """What is ended before a stop."""
    reads: ClassVar[str] = "images"
    """What is read while its data is looked at."""
    doing: ClassVar[str] = "scoring"
    """What a progress event whose phase is called like the task tells of."""

    tabs: ClassVar[tuple[str, ...]]
    """What its screen shows besides what each run has; the dashboard knows what a tab of each name is."""
    first_tab: ClassVar[str]

    @property
    def command(self) -> str:
        """The command of seg-engine that makes a run of it."""
        return self.name

    def usage_of(self, run: str) -> str:
        """What to type after `seg-engine` to make one that is of `run`."""
        return f"{self.command} {run}"

    @property
    def learns_classes(self) -> bool:
        """Whether it makes a network that tells classes apart, which others can look at."""
        return self.learns and self.needs_labels

    def work(self, job: Job) -> None:
        """Do the task, in the worker."""
        named(self.worker)(job)

    def objective(self, config: RunConfig, classes: int) -> Objective:
        """What the network learns, or has learned; `classes` are those of the labels."""
        made: Objective = named(self.objective_maker)(config, classes)
        return made

    def channels(self, classes: int) -> int:
        """Channels of the network's output."""
        return classes

    def check_data(self, config: RunConfig, known: Known, log: Log) -> Checked:
        """Look at the data before a run is made or goes on, and cache it. Raises DataError."""
        checked: Checked = named(self.data_check)(config, known, log)
        return checked

    def find_data(self, config: RunConfig, run: RunDir) -> None:
        """Raise DataError when a run that is to go on would fail at once, as its data is gone."""
        if self.data_finder:
            named(self.data_finder)(config, run)

    def check_config(self, config: RunConfig) -> None:
        """Raise ValueError, "KEY: what is wrong", for a config that the task cannot have."""

    def done(self, run: Run) -> str:
        """How far a run is."""
        raise NotImplementedError

    def stopped_at(self, run: Run) -> str:
        """What a run that was stopped has done, and what is kept of it."""
        raise NotImplementedError

    def outcome(self, run: Run) -> Outcome | None:
        """What a run has found; None while there is nothing."""
        raise NotImplementedError

    def miou(self, run: Run) -> float | None:
        """The mean IoU that belongs to the outcome."""
        return run.best_miou

    def next_commands(self, run: str, checkpoints: bool, pictures: bool) -> list[str]:
        """What to type to see what a run has made; `run` is its id."""
        return []

    def files(self, run: WholeRun, folder: Path) -> dict[str, Path]:
        """What a run that has finished leaves for people, in its `folder` or elsewhere: words -> path."""
        return {}

    def outside(self, config: RunConfig) -> Mapping[str, str]:
        """Relative paths that a run writes to and that must not leave its folder: config key -> path."""
        return {}

    def without_pictures(self, run: WholeRun) -> str:
        """Why a run has no predictions to be looked at, and how to come by them."""
        raise NotImplementedError


class LearningTask(Task):
    """Epochs over a training split, with checkpoints. What is learned is the task's objective."""

    learns = True
    data_check = "engine.data.checks:check_training"
    data_finder = "engine.data.still_there:find_training"
    stops_after = "step, with its checkpoint saved"
    doing = "training"
    tabs: ClassVar[tuple[str, ...]] = ("curves",)
    first_tab = "curves"
    worker = "engine.training.train:train"

    def done(self, run: Run) -> str:
        return epochs_done(run)

    def stopped_at(self, run: Run) -> str:
        return f"{run.epoch} complete epochs, its checkpoint saved"

    def outcome(self, run: Run) -> Outcome | None:
        """The best Dice or, where there are no classes, the lowest loss."""
        at, column = f"@ {run.best_epoch}", f"@ {run.best_epoch or 0:>3}"
        if run.best_dice is not None:
            return Outcome("best Dice", run.best_dice, at, f"{{}} {column}")
        if run.best_val_loss is not None:
            return Outcome("lowest validation loss", run.best_val_loss, at, f"loss {{}} {column}")
        return None

    def next_commands(self, run: str, checkpoints: bool, pictures: bool) -> list[str]:
        return [typed("evaluate", run)] if self.learns_classes and checkpoints else []

    def without_pictures(self, run: WholeRun) -> str:
        who = f"{run.id} ({run.name})"
        every = run.config.get("gallery", {}).get("every", 0)
        if not every:
            command = typed("rerun", run.id, "gallery.every=5")
            return f"{who} keeps no gallery, as gallery.every is 0. `{command}` makes a run that keeps one."
        if run.ended:
            return f"{who} saved no predictions: {run.status} after epoch {run.epoch}."
        return (
            f"{who} has no predictions yet: the first come after epoch {min(every, run.epochs or every)} "
            f"(gallery.every={every}); it is {run.status}, epoch {epochs_done(run)}."
        )


class NetworkTask(Task):
    """A pass over images with the network of another run, which the task's section names."""

    learns = False
    stops_after = "image"
    kept: ClassVar[str] = "those that are done are kept"
    """What a run that stopped between two images goes on with."""
    noun: ClassVar[str]
    """What a run is called: the "evaluation" of another."""
    usage: ClassVar[str] = ""
    """What its command needs besides the run."""
    measures: ClassVar[str] = ""
    """What it finds out about a network that was trained; "" where it finds out nothing."""
    change_option: ClassVar[str] = ""
    """The option that a change of a key stands behind in its command."""
    tabs: ClassVar[tuple[str, ...]] = ("results",)
    first_tab = "results"

    def usage_of(self, run: str) -> str:
        return f"{self.command} {run} {self.usage}".rstrip()

    def arguments(self, section: Mapping[str, Any], root: str) -> Arguments:
        """What its command is given for a run; `section` is that of the config, `root` that of the data."""
        raise NotImplementedError

    def done(self, run: Run) -> str:
        return f"{run.step or 0}/{run.steps} images" if run.steps else "-"

    def stopped_at(self, run: Run) -> str:
        return f"{run.step or 0} of {run.steps or '?'} images; {self.kept}"

    def without_pictures(self, run: WholeRun) -> str:
        return f"{run.id} ({run.name}) keeps no predictions: runs of the task {self.name} make none."


OF_LOOKING = (
    *("device", "precision", "data.size", "data.layout", "data.classes", "data.split", "data.skip_bad"),
    *("limits.hours", "checkpoint.seconds", "executor", "ema.use"),
)
"""Config keys that mean something where the network of another run is looked at, and those of `runtime`,
`slurm` and, where a CRF is used, `crf`; the rest is settled by the training."""


def may_depart(task: Task, key: str) -> bool:
    """Whether a run of a task that looks at a network may have a config key otherwise than its training."""
    return key in OF_LOOKING or key.startswith(groups_of_looking(task))


def groups_of_looking(task: Task) -> tuple[str, ...]:
    """The groups of config keys, such as "runtime.", that may be otherwise as a whole."""
    return ("runtime.", "slurm.", "crf.") if task.uses_crf else ("runtime.", "slurm.")


def epochs_done(run: Run) -> str:
    """The complete epochs of a run, of how many or with the share of its budget: "3/60", "3 (40 %)"."""
    if run.epochs:
        return f"{run.epoch}/{run.epochs}"
    return f"{run.epoch} ({100 * (run.budget_used or 0.0):.0f} %)"


def window_options(section: Mapping[str, Any]) -> list[str]:
    """What the commands of tasks are given for sliding windows; nothing for whole images."""
    usual = {"window": "none", "stride": "auto"}
    given = {key: section.get(key, value) for key, value in usual.items()}
    return [word for key, value in given.items() if value != usual[key] for word in (f"--{key}", value)]


def named(name: str) -> Any:
    """What a dotted name, "module:function", stands for. Raises ComponentError where nothing does."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (AttributeError, ImportError, ValueError) as error:
        from engine.components.origin import ComponentError
        from engine.components.outside import one_line

        raise ComponentError(f"{name}: cannot be imported: {one_line(error)}") from error
