"""`study paper`: the study's three systems, at full size or smaller where time asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.keys import ConfigError, parse_assignments, with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.requests.configs import default_name, with_data_root
from engine.requests.studies.plan import PlannedRun, evaluations_after, problems_of, sized

SYSTEMS = ("paper-unet", "paper-modern-unet", "paper-modern-unet-pt")
"""The recipes of the study's systems, in the order of its tables."""


@dataclass(frozen=True)
class Scale:
    """How much smaller than the study. `fraction` is the share of the training images whose labels are used,
    `epochs` the share of each schedule, `breadth` the channels of each network's first level (0: the
    recipe's), `size` a HEIGHTxWIDTH for all systems ("": each its own)."""

    fraction: float = 1.0
    epochs: float = 1.0
    breadth: int = 0
    size: str = ""


def paper_plan(root: Path, scale: Scale, assignments: Sequence[str]) -> list[PlannedRun]:
    """A training of each of SYSTEMS with its evaluations; `assignments`, KEY=VALUE, change all of them.

    Raises ConfigError, DataError.
    """
    return [
        PlannedRun(default_name(config), config, evaluations=evaluations_after(config))
        for config in paper_configs(root, scale, assignments)
    ]


def paper_configs(root: Path, scale: Scale, assignments: Sequence[str]) -> list[RunConfig]:
    """A config for each of SYSTEMS; `assignments`, KEY=VALUE, change all of them. Raises ConfigError."""
    problems = [
        f"{option}: {value:g} is not allowed; it must be above 0 and at most {limit}"
        for option, value, limit in (("--fraction", scale.fraction, 1), ("--epochs-scale", scale.epochs, 10))
        if not 0 < value <= limit
    ]
    if problems:
        raise ConfigError(problems)
    values = parse_assignments(assignments) | {"data.root": str(root)}
    configs = []
    for recipe in SYSTEMS:
        with problems_of(recipe):
            configs.append(with_data_root(with_values(_scaled(get_recipe(recipe), scale), values)))
    return configs


def _scaled(config: RunConfig, scale: Scale) -> RunConfig:
    """Pre-training sees all images, labelled or not; its epochs shrink with the labels, too, so that it stays
    as large beside the training as in the study."""
    epochs = max(1, round(config.epochs * scale.epochs))
    pretraining = config.pretrain.epochs
    if pretraining:
        pretraining = max(1, round(pretraining * scale.epochs * scale.fraction))
    warmup = min(config.schedule.warmup_epochs * scale.epochs, 0.5 * min(epochs, pretraining or epochs))
    values: dict[str, Any] = {
        "epochs": epochs,
        "data.label_fraction": scale.fraction,
        "schedule.warmup_epochs": warmup,
        "pretrain.epochs": pretraining,
    }
    return with_values(config, values | sized(config, scale.breadth, scale.size))
