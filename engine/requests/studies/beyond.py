"""`study beyond`: a recipe against the study's networks at equal time and at equal images, and the recipe
without each of its ingredients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.ingredients import found_in, network_instead
from engine.config.keys import ConfigError, parse_assignments, validate, with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.models import ModelSection
from engine.requests.configs import base_config, default_name, with_data_root
from engine.requests.studies.plan import PlannedRun, problems_of, sized

BASELINES = ("paper-unet", "paper-modern-unet")

RATES = (0.0003, 0.001, 0.003)
"""Learning rates of the tuned U-Net."""

TUNED = "tuned-unet"

_SURROUNDINGS = (
    *("data", "validation", "gallery", "checkpoint", "limits"),
    *("device", "devices", "precision", "executor", "slurm", "runtime"),
)
"""Sections and keys that are no part of a system: all have those of the recipe."""


@dataclass(frozen=True)
class Contest:
    """What is held against what. `recipe` is the name of one or a TOML file. `hours` and `images` are the
    budgets of each run, 0: not at equal time, not at equal images. `ablate` is at which budgets ingredients
    are left out: "time", "images", "both" or "none". `rates` are the learning rates of a tuned U-Net, none:
    there is no such opponent. `breadth` and `size` are as in `sized`, the breadth of the baselines."""

    recipe: str
    hours: float = 1.0
    images: int = 0
    seeds: int = 3
    ablate: str = "time"
    rates: tuple[float, ...] = ()
    breadth: int = 0
    size: str = ""


def beyond_plan(root: Path, contest: Contest, assignments: Sequence[str]) -> list[PlannedRun]:
    """Each system at each budget, then the recipe without each of its ingredients; `assignments`, KEY=VALUE,
    change all of them, `seed` being the first of the seeds. Raises ConfigError and UnknownRecipe."""
    recipe, values = subject(root, contest, assignments), parse_assignments(assignments)
    name = default_name(recipe)
    opponents = {
        baseline: _opponent(baseline, get_recipe(baseline), contest.breadth, recipe, values)
        for baseline in BASELINES
    }
    for rate in contest.rates:
        tuned = f"{TUNED} lr={rate:g}"
        with problems_of(f"--lr {rate:g}"):
            opponents[tuned] = _opponent(tuned, _tuned_unet(rate), contest.breadth, recipe, values)
    budgets = _budgets(contest)
    systems = [
        (*each, budget) for budget in budgets.values() for each in [*opponents.items(), (name, recipe)]
    ]
    if contest.ablate != "none":
        unet = network_instead(_with_heads_of(recipe, opponents[BASELINES[0]].model))
        with problems_of(name):
            parts = found_in(recipe, [unet])
        if not parts:
            raise ConfigError([f"--ablate: {name} has no ingredient that could be left out; it must be none"])
        asked = budgets.values() if contest.ablate == "both" else [budgets[contest.ablate]]
        systems += [
            (f"{name} without {part.name}", without, budget) for budget in asked for part, without in parts
        ]
    first = recipe.seed if "seed" in values else 0
    seeds = tuple(range(first, first + contest.seeds))
    return [
        PlannedRun(f"{system} ({_told(budget)})", with_values(config, budget), seeds)
        for system, config, budget in systems
    ]


def subject(root: Path, contest: Contest, assignments: Sequence[str]) -> RunConfig:
    """The recipe with the study's changes. Raises ConfigError and UnknownRecipe."""
    values = parse_assignments(assignments)
    for key in values:
        if key.startswith("budget."):
            raise ConfigError([f"{key}: is set by --budget and --images"])
        if key == "optimizer.lr" and contest.rates:
            told = "is set by --lr for the tuned U-Net; a TOML file (--recipe FILE) gives the recipe another"
            raise ConfigError([f"{key}: {told}"])
    recipe = base_config(contest.recipe)
    with problems_of(default_name(recipe)):
        config = with_data_root(
            with_values(recipe, sized(recipe, 0, contest.size) | values | {"data.root": str(root)})
        )
    if default_name(config) in BASELINES:
        raise ConfigError([f"--recipe {contest.recipe}: is one of those that it is held against"])
    if config.pretrain.epochs:
        raise ConfigError(
            [f"--recipe {contest.recipe}: a budget has no pre-training; pretrain.epochs must be 0"]
        )
    return config


def _budgets(contest: Contest) -> dict[str, dict[str, Any]]:
    """The budgets that all systems get, "time" and "images", as values of a config. Raises ConfigError."""
    both = {
        "time": {"budget.hours": contest.hours, "budget.images": 0},
        "images": {"budget.hours": 0.0, "budget.images": contest.images},
    }
    budgets = {word: budget for word, budget in both.items() if any(budget.values())}
    if not budgets:
        raise ConfigError(["--budget and --images: are both 0; one of them must be above"])
    if contest.ablate == "both" and len(budgets) < len(both):
        raise ConfigError(["--ablate both: needs --budget and --images above 0"])
    if contest.ablate not in (*budgets, "both", "none"):
        option = "--budget" if contest.ablate == "time" else "--images"
        raise ConfigError([f"--ablate {contest.ablate}: needs {option} above 0"])
    return budgets


def _told(budget: dict[str, Any]) -> str:
    hours, images = budget["budget.hours"], budget["budget.images"]
    return f"{hours:g} h" if hours else f"{images} images"


def _opponent(
    name: str, config: RunConfig, breadth: int, recipe: RunConfig, values: dict[str, Any]
) -> RunConfig:
    """A system that sees the images of the recipe at its size, on the same machine and validated as often."""
    around = {key: value for key, value in recipe.model_dump().items() if key in _SURROUNDINGS}
    around["data"] |= {"class_uniform": 0.0}
    with problems_of(name):
        narrowed = with_values(config, sized(config, breadth, ""))
        return with_values(validate(narrowed.model_dump() | around), values)


def _with_heads_of(recipe: RunConfig, network: ModelSection) -> ModelSection:
    """A network with as many auxiliary heads as that of the recipe: they are an ingredient of their own."""
    heads = getattr(recipe.model, "deep_supervision", 0)
    return network.model_copy(update={"deep_supervision": heads}) if heads else network


def _tuned_unet(rate: float) -> RunConfig:
    """The baseline's network as one would train it today, so that the recipe has a fair opponent."""
    return with_values(
        get_recipe(BASELINES[0]),
        {
            "recipe": "",  # it is no system of the study any more
            "batch_size": 8,
            "optimizer.name": "adamw",
            "optimizer.lr": rate,
            "optimizer.weight_decay": 0.01,
            "schedule.name": "cosine",
        },
    )
