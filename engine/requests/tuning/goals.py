"""What a search makes better, and how Optuna is set up for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.config.keys import ConfigError
from engine.config.old_keys import new_name
from engine.requests.tuning.space import Axis
from engine.store import EpochRow, RunRow

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from engine.config.run_config import RunConfig


@dataclass(frozen=True)
class Goal:
    """One objective: what a finished run scored, what an epoch did on the validation split where that is
    told, and whether less is better."""

    of_run: Callable[[RunRow], float | None]
    of_epoch: Callable[[EpochRow], float | None] | None = None
    is_cost: bool = False
    needs_speed: bool = False
    """Whether it is measured by an evaluation after the training, and not by the training itself."""


GOALS: Mapping[str, Goal] = {
    "dice": Goal(lambda run: run.best_dice, lambda epoch: epoch.dice),
    "miou": Goal(lambda run: run.best_miou, lambda epoch: epoch.miou),
    "val_loss": Goal(lambda run: run.best_val_loss, lambda epoch: epoch.loss, is_cost=True),
    "latency": Goal(lambda run: None, is_cost=True, needs_speed=True),
    "parameters": Goal(lambda run: run.parameters, is_cost=True),
    "flops": Goal(lambda run: run.flops_per_sample, is_cost=True),
    "images_per_second": Goal(lambda run: run.images_per_second),
}
"""latency: seconds an image, of an evaluation on the device that ran it; flops: of a forward pass of one
image; images_per_second: of training."""

SAMPLERS = ("tpe", "random", "grid", "cmaes", "gp", "nsga2")
PRUNERS = ("none", "median", "hyperband", "asha")

_NEEDS = {"cmaes": "cmaes", "gp": "scipy"}
"""Packages that a sampler needs beside Optuna."""


def refuse_unfit(metrics: Sequence[str], sampler: str, pruner: str, axes: Sequence[Axis]) -> None:
    """Raises ConfigError for a sampler or pruner that is missing, or cannot do what is asked of it."""
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError(["tune: needs the package optuna: pip install 'seg-engine[tune]'"])
    needed = _NEEDS.get(sampler)
    if needed is not None and importlib.util.find_spec(needed) is None:
        raise ConfigError([f"--sampler {sampler}: needs the package {needed}: pip install {needed}"])
    if len(set(metrics)) < len(metrics):
        raise ConfigError(["--metric: is given twice; each objective counts once"])
    if len(metrics) > 1 and pruner != "none":
        raise ConfigError([f"--pruner {pruner}: works with one --metric; with several it must be none"])
    if pruner != "none" and GOALS[metrics[0]].of_epoch is None:
        told = ", ".join(name for name, goal in GOALS.items() if goal.of_epoch is not None)
        raise ConfigError(
            [f"--pruner {pruner}: {metrics[0]} is not told after each epoch; {told} are, or --pruner none"]
        )
    if len(metrics) > 1 and sampler == "cmaes":
        raise ConfigError([f"--sampler {sampler}: works with one --metric; tpe, gp and nsga2 with several"])
    if sampler == "cmaes" and all(axis.choices for axis in axes):
        raise ConfigError(["--sampler cmaes: needs ranges such as 1e-5..1e-1; for values alone use tpe"])
    if sampler == "grid":
        for axis in axes:
            axis.grid()


def make_sampler(name: str, seed: int) -> BaseSampler:
    """The sampler of Optuna; one that goes on with a study gets another `seed`."""
    from optuna import samplers

    makers: dict[str, Callable[[], BaseSampler]] = {
        # Trials that still go on count as bad ones, so that parallel trials do not crowd (constant liar).
        "tpe": lambda: samplers.TPESampler(seed=seed, constant_liar=True),
        "random": lambda: samplers.RandomSampler(seed=seed),
        "grid": lambda: samplers.RandomSampler(seed=seed),  # each point is given before its trial
        "cmaes": lambda: samplers.CmaEsSampler(seed=seed),
        "gp": lambda: samplers.GPSampler(seed=seed),
        "nsga2": lambda: samplers.NSGAIISampler(seed=seed),
    }
    return makers[name]()


def most_epochs(axes: Sequence[Axis], config_of: Callable[[dict[str, Any]], RunConfig]) -> int:
    """The most epochs that a trial has, whose config follows from its values by key; 0: not known, as a
    budget ends some."""
    first = {axis.key: axis.extremes[0] for axis in axes}
    lengths = [axis for axis in axes if new_name(axis.key) == "epochs" or axis.key.startswith("budget.")]
    found = [config_of(first | {axis.key: value}) for axis in lengths for value in axis.extremes]
    found = found or [config_of(first)]
    return 0 if any(config.budget.is_given for config in found) else max(config.epochs for config in found)


def make_pruner(name: str, epochs: int) -> BasePruner:
    """The pruner of Optuna; `epochs` is the most that a trial has, 0: not known, as its budget ends it."""
    from optuna import pruners

    most: Any = epochs or "auto"
    makers: dict[str, Callable[[], BasePruner]] = {
        "none": pruners.NopPruner,
        "median": lambda: pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
        "hyperband": lambda: pruners.HyperbandPruner(max_resource=most),
        "asha": lambda: pruners.SuccessiveHalvingPruner(min_resource=1),
    }
    return makers[name]()
