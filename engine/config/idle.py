"""Keys that have no effect, as another key switches off what they are of, or as the run ends before they have
one."""

from __future__ import annotations

from collections.abc import Collection

from engine.config.described import config_keys, format_value, value_of
from engine.config.run_config import RunConfig
from engine.tasks import TASKS

_OFF = (0, "", "none")


class IdleKey(UserWarning):
    """A key was given that has no effect; the message is a line that says why."""


def idle_keys(config: RunConfig, keys: Collection[str]) -> list[str]:
    """A line for each of these keys that has no effect in a config."""
    told = []
    # Weights that are given take the place of those that a pre-training run would make.
    meant = dict.fromkeys([*keys, *(["pretrain.epochs"] if "init.weights" in keys else [])])
    for key in meant:
        if why := why_idle(config, key):
            told.append(f"{key}={format_value(value_of(config, key))} {why}")
    decides_length = any(key == "epochs" or key.startswith("schedule.") for key in keys)
    if decides_length and (idle := config.schedule.idle(config.epochs)):
        told.append(idle)
    return told


def why_idle(config: RunConfig, key: str) -> str:
    """That a key has no effect in a config, and by what; "" where it has one."""
    reasons = (_switched_off, _without_weights, _without_draw, _without_job_or_files)
    why = next(filter(None, (reason(config, key) for reason in reasons)), "")
    return f"has no effect where {why}" if why else ""


def _switched_off(config: RunConfig, key: str) -> str:
    """How the key that a key is of switches it off; "" where it does not."""
    about = config_keys().get(key)  # those of other tasks than training are not described
    if about is None or not about.part_of or (off := value_of(config, about.part_of)) not in _OFF:
        return ""
    return f"{about.part_of} is {format_value(off) or 'empty'}"


def _without_weights(config: RunConfig, key: str) -> str:
    """Why a key of weights from elsewhere or of pre-training has no effect; "" where it has one."""
    given, epochs = config.init.weights, config.pretrain.epochs
    if key in ("init.parts", "init.strict"):
        return "" if given or epochs else "init.weights is empty"
    if key == "pretrain.epochs" and epochs:
        return "init.weights is given" if given else ""
    if key == "pretrain.noise" and TASKS[config.task].learns_classes:  # of the run that is made first
        return "pretrain.epochs is 0" if not epochs else "init.weights is given" if given else ""
    return ""


def _without_draw(config: RunConfig, key: str) -> str:
    """Why a key by which training images are drawn has no effect; "" where it has one."""
    data = config.data
    if key == "data.val_fraction" and data.split != "random":
        return f"data.split is {data.split}"
    if key in ("data.split_seed", "data.split_rule") and not data.chooses_images:
        return f"data.split is {data.split} and data.label_fraction is 1"
    return ""


def _without_job_or_files(config: RunConfig, key: str) -> str:
    """Why a key of cluster jobs, or of reading files anew in every epoch, has no effect; "" where it has
    one."""
    if key.startswith("slurm.") and config.executor != "slurm":
        return f"executor is {config.executor}"
    return "data.cache is true" if key == "data.workers" and config.data.cache else ""
