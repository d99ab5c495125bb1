"""What each ingredient of a recipe bought: its runs against those that lack one ingredient and nothing else.

Which runs these are follows from their configs alone. So runs count whoever has made them, and no tag can say
what is not so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.config.ingredients import INGREDIENTS, Ingredient, network_instead
from engine.config.keys import ConfigError
from engine.config.run_config import RunConfig
from engine.config.stored import recorded
from engine.report.compare import config_but_for_the_seed, group_name, same_but_for_the_seed
from engine.report.measures import ComparedRun
from engine.report.paired import PairedDifference, by_seed, paired_difference
from engine.store import RunRow

Group = Sequence[ComparedRun]

_LEAST = 2
"""Of so many ingredients at least the runs are an ablation; of one they are two runs to compare."""

_OTHER_NETWORKS = ("unet",)
"""Architectures of the study's baseline, whose place in a recipe says what the recipe's own bought."""


@dataclass(frozen=True)
class Bought:
    """What an ingredient bought in validation Dice and mean IoU: the recipe minus the recipe without it."""

    ingredient: Ingredient
    without: Group
    dice: PairedDifference | None
    miou: PairedDifference | None


@dataclass(frozen=True)
class Ablation:
    """The runs of a recipe that are equal but for the seed, and what its ingredients bought, most first."""

    subject: Group
    bought: tuple[Bought, ...]

    @property
    def name(self) -> str:
        return system_name(self.subject)


def system_name(group: Group) -> str:
    """What runs that are equal but for the seed are called, without the seed of one that is alone."""
    return re.sub(r" seed=\d+$", "", group_name(group))


def ablations_of(runs: Sequence[ComparedRun]) -> list[Ablation]:
    """Every ablation among runs; those without a score take no part."""
    scored = [run for run in runs if run.row.best_dice is not None]
    known = recorded(run.row.stored_config for run in scored)
    groups = {config_but_for_the_seed(group[0].row, known): group for group in same_but_for_the_seed(scored)}
    configs = {key: _config(group[0].row) for key, group in groups.items()}
    ingredients = (*INGREDIENTS, *_networks(configs.values()))
    found = []
    for key, group in groups.items():
        config = configs[key]
        if config is None:
            continue
        differing = {other: _sections_apart(key, other) for other in groups if other != key}
        bought = []
        for ingredient in ingredients:
            # To change the config and look for it takes long, and few configs can be it.
            changed = {name.partition(".")[0] for name in ingredient.plain(config)}
            if any(sections <= changed for sections in differing.values()):
                without = _runs_without(ingredient, config, group[0].row, groups, known)
                bought += [_bought(group, ingredient, without)] if without is not None else []
        if len(bought) >= _LEAST:
            bought.sort(key=lambda each: -each.dice.mean if each.dice is not None else float("inf"))
            found.append(Ablation(group, tuple(bought)))
    return found


Key = tuple[tuple[str, str], ...]
"""What runs share that are equal but for the seed: their config by dotted key."""


def _sections_apart(one: Key, other: Key) -> set[str]:
    """The sections in which two configs differ."""
    return {key.partition(".")[0] for key, _ in set(one) ^ set(other)}


def _runs_without(
    ingredient: Ingredient,
    config: RunConfig,
    row: RunRow,
    groups: Mapping[Key, Group],
    known: Mapping[str, Any],
) -> Group | None:
    """The runs that lack an ingredient of a run and nothing else; None where there are none, or it lacks it
    itself."""
    try:
        without = ingredient.left_out(config)
    except ConfigError:
        return None  # no run can be without
    if without is None:
        return None
    alike = replace(row, stored_config=without.model_dump(mode="json"))
    return groups.get(config_but_for_the_seed(alike, known))


def _config(row: RunRow) -> RunConfig | None:
    """A run's config; None where this version cannot read it."""
    try:
        return RunConfig.of_stored(row.stored_config)
    except ValueError:
        return None


def _networks(configs: Iterable[RunConfig | None]) -> Iterator[Ingredient]:
    """The networks that may have taken the place of a recipe's own."""
    models = (config.model for config in configs if config is not None)
    return map(network_instead, dict.fromkeys(model for model in models if model.name in _OTHER_NETWORKS))


def _bought(group: Group, ingredient: Ingredient, without: Group) -> Bought:
    dice, miou = (paired(group, without, measure) for measure in ("best_dice", "best_miou"))
    return Bought(ingredient, without, dice, miou)


def paired(of: Group, to: Group, measure: str) -> PairedDifference | None:
    """The difference of a field of the rows, paired by seed."""
    one, other = (by_seed((run.row.seed, getattr(run.row, measure)) for run in group) for group in (of, to))
    return paired_difference(one, other)
