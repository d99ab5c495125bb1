"""The configs that runs are made with: from a recipe or a file, with the data's folder and classes, and what
this machine can run of them."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

from engine.config.files import load_config
from engine.config.idle import IdleKey, idle_keys
from engine.config.keys import ConfigError, parse_assignments, with_values
from engine.config.own_losses import refuse_own_loss_without_classes
from engine.config.recipes import RECIPES, get_recipe
from engine.config.run_config import FROZEN_NORMS, RunConfig
from engine.config.run_defaults import NO_DEFAULTS, RunDefaults
from engine.config.step_parts import refuse_too_small_parts
from engine.data.faults import counted
from engine.data.frozen_classes import freeze_classes
from engine.host.cuda_driver import cuda_devices
from engine.optimizers import refuse_idle_factors
from engine.requests.initial_weights import pretraining_of
from engine.run import event_files
from engine.run.files import absolute
from engine.schedules import check_schedule
from engine.tasks import TASKS, USUAL


def resolve_config(
    target: str, assignments: Sequence[str], data: Path | None, defaults: RunDefaults = NO_DEFAULTS
) -> RunConfig:
    """A recipe's name or a TOML file, with `key=value` changes. Raises ConfigError and UnknownRecipe."""
    typed = parse_assignments(assignments)
    return changed_config(base_config(target, defaults, typed), assignments, data)


def changed_config(base: RunConfig, assignments: Sequence[str], data: Path | None) -> RunConfig:
    """A config with `key=value` changes, on the data in another folder if given. Warns of changes without an
    effect. Raises ConfigError."""
    values = parse_assignments(assignments)
    if data is not None:
        values["data.root"] = str(data)
    config = with_data_root(with_values(base, values))
    for note in idle_keys(config, values):
        warnings.warn(note, IdleKey, stacklevel=1)
    return config


def with_data_root(config: RunConfig) -> RunConfig:
    """The config of a new run with the folder of its data made absolute and its class set written out.

    Raises ConfigError when it names no folder, or a class set that cannot be read, and for keys of a loss
    that does not take part; runs that have them already go on with them.
    """
    _refuse_idle_loss_keys(config)
    if not config.data.root:
        raise ConfigError(
            ["data.root: is not set; --data FOLDER, or [run] of seg.toml, names the data set's folder"]
        )
    root = absolute(config.data.root)
    if str(root) != config.data.root:
        config = with_values(config, {"data.root": str(root)})
    return freeze_classes(config)


def base_config(target: str, defaults: RunDefaults = NO_DEFAULTS, typed: Collection[str] = ()) -> RunConfig:
    """A recipe by name, or the config in a TOML file, with the workspace's `defaults` where it leaves the
    data's folder or the device open. Keys that are `typed` besides get none: the rest of a file may not suit
    it. Raises ConfigError and UnknownRecipe."""
    path = Path(target)
    is_file = target not in RECIPES and (path.suffix == ".toml" or path.is_file())
    config = load_config(path) if is_file else get_recipe(target)
    values = {}
    if defaults.data and not config.data.root:
        values["data.root"] = defaults.data
    if defaults.device != "auto" and config.device == "auto" and "device" not in typed:
        values["device"] = defaults.device
    return with_values(config, values) if values else config


def check_runnable(config: RunConfig) -> None:
    """Refuse what this machine or the run's components cannot do, as far as it is known without torch; the
    worker finds the rest. Raises ConfigError and ComponentError."""
    check_hardware(config)
    pretraining = pretraining_of(config)
    for each in (pretraining, config) if pretraining is not None else (config,):
        check_components(each)


def check_components(config: RunConfig) -> None:
    """Refuse keys that the components of a run cannot work with, and components that lack what they need.
    Raises ConfigError and ComponentError."""
    if missing := config.model.missing():
        raise ConfigError(missing)
    if not TASKS[config.task].learns:
        return
    check_schedule(config)
    if config.report.tensorboard and not event_files.is_installed():
        raise ConfigError([f"report.tensorboard: {event_files.MISSING}"])
    refuse_own_loss_without_classes(config)
    model = config.model
    if model.has_encoder is False:
        refuse_idle_factors(config.optimizer, model.name, has_encoder=False)
    if model.has_encoder is False and config.augment.mixstyle > 0:
        raise ConfigError([f"augment.mixstyle: {model.name} has no encoder to mix styles in; it must be 0"])
    if model.has_encoder is False and config.init.parts != "all":
        raise ConfigError([f"init.parts: {model.name} has no encoder to tell apart; it must be all"])
    if model.has_blocks is False and config.runtime.recompute:
        raise ConfigError([f"runtime.recompute: {model.name} has no blocks() for it; it must be false"])
    if model.has_batch_norm is False and config.batch_norm != "local":
        raise ConfigError(
            [f"batch_norm: {config.batch_norm} has no effect, as {model.name} has none; it must be local"]
        )
    has_weights = (
        config.init.weights or config.pretrain.epochs or model.weights_source() or config.average is not None
    )
    if config.batch_norm in FROZEN_NORMS and not has_weights:
        raise ConfigError(
            [
                f"batch_norm: {config.batch_norm} keeps the statistics that weights came with, and there are "
                "none without init.weights or model.weights; it must be local or sync"
            ]
        )


def _refuse_idle_loss_keys(config: RunConfig) -> None:
    """Raises ConfigError for class weights and label smoothing without the loss that they are of, as other
    losses know neither, and for a Tversky loss that is always 0: all would silently do nothing."""
    loss = config.loss.model_dump()
    idle = [key for key, none in (("class_weights", "none"), ("label_smoothing", 0)) if loss[key] != none]
    if idle and not loss["cross_entropy"] and TASKS[config.task].learns_classes:
        why = "has no effect, as it is of loss.cross_entropy, which is 0; give that a weight above 0"
        raise ConfigError([f"loss.{key}: {loss[key]} {why}" for key in idle])
    if loss["tversky"] and not loss["tversky_a"] and not loss["tversky_b"]:
        raise ConfigError(["loss.tversky_a: with loss.tversky_b=0 no error counts; one must be above 0"])


def check_hardware(config: RunConfig) -> None:
    """Refuse a device that this machine lacks, asked of the driver itself; what a cluster has is its own
    matter. Raises ConfigError."""
    if config.executor == "slurm":
        if shutil.which("sbatch") is None:
            raise ConfigError(["executor: slurm needs a machine with Slurm's commands; sbatch is not here"])
        return
    if config.precision == "fp16" and config.device in ("cpu", "auto"):
        if config.device == "cpu":
            raise ConfigError(["precision: fp16 needs CUDA; on the CPU it must be auto, bf16 or fp32"])
        if not cuda_devices():
            told = "fp16 needs CUDA, and this machine has no CUDA device; it must be auto, bf16 or fp32"
            raise ConfigError([f"precision: {told}"])
    several = config.devices not in ("1", "auto")
    if config.device == "cpu" or (config.device == "auto" and not several):
        return
    count, index = cuda_devices(), int(config.device.partition(":")[2] or 0)
    here = f"this machine has {counted(count, 'CUDA device')}"
    if several and int(config.devices) > count > 0:
        raise ConfigError([f"devices: {config.devices} are asked for; {here}"])
    if config.device != "auto" and index >= count:
        raise ConfigError([f"device: {config.device} is not here; {here}; device=cpu or auto works"])


def check_steps(config: RunConfig, images: int | None = None) -> None:
    """Refuse a run with a step that its network cannot train on, or with a schedule that does not suit the
    number of its steps; `images` train, None: not known yet. Raises ConfigError."""
    if not TASKS[config.task].learns:
        return
    if config.devices != "auto":
        ranks = int(config.devices) * config.slurm.nodes
    elif config.executor == "slurm":
        ranks = max(1, config.slurm.gpus) * config.slurm.nodes
    else:
        ranks = 1 if config.device == "cpu" else max(1, cuda_devices())
    refuse_too_small_parts(config, images, ranks)
    steps = None if images is None else math.ceil(images / config.batch_size)
    if problem := config.schedule.problem(config.epochs, steps):
        raise ConfigError([problem])


def idle_schedule(config: RunConfig, images: int | None) -> str:
    """What of a schedule that counts iterations has no effect in a run with `images` training images, in a
    line; of one that does not, it was told with the keys."""
    if images is None or not TASKS[config.task].learns or not config.schedule.counts_iterations:
        return ""
    return config.schedule.idle(config.epochs, math.ceil(images / config.batch_size))


def default_name(config: RunConfig) -> str:
    """What a run is called when nobody says it: its recipe, or its network and size."""
    name = config.recipe or f"{config.model.name}-{config.data.size[0]}x{config.data.size[1]}"
    return name if config.task == USUAL else f"{name} {config.task}"
