"""`seg-engine sweep`: queue every combination of some values of config keys."""

from __future__ import annotations

import itertools
import random
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from engine.cli.console import notices
from engine.cli.queue import tell_queued
from engine.cli.run import check_data, print_scripts
from engine.config import RunConfig
from engine.config_keys import ConfigError, parse_assignments
from engine.intentions import Place, check_hardware, default_name, enqueue, predecessor, resolve_config
from engine.rundir import RunCard, new_run_id
from engine.sources import pretraining_of
from engine.workspace import Workspace

MOST_VALUES = 100_000
"""Values one range may have; more is a slip of the keyboard."""


def sweep(
    workspace: Workspace,
    target: str,
    assignments: Sequence[str],
    data: Path | None,
    name: str,
    experiment: str,
    tags: Sequence[str],
    note: str,
    place: Place,
    sample: int | None,
    sure: bool,
    as_json: bool,
) -> None:
    """Check every config of the grid, ask, queue them all. Raises ConfigError, DataError."""
    points = grid(assignments)
    whole = len(points)
    if sample is not None and sample < whole:
        # The same grid and the same number draw the same points, in the order of the grid.
        points = [points[i] for i in sorted(random.Random(0).sample(range(whole), sample))]
    swept = swept_keys(assignments)
    configs = [resolve_config(target, point, data) for point in points]
    if configs[0].slurm.dry_run:
        print_scripts(workspace, configs)
        return
    for config in {(config.device, config.devices, config.executor): config for config in configs}.values():
        check_hardware(config)
    for config in {(config.data, pretraining_of(config) is None): config for config in configs}.values():
        check_data(config, workspace)
    count = f"{len(points)} of {whole} runs" if len(points) < whole else f"{whole} runs"
    if not sure:
        if not sys.stdin.isatty():
            raise ConfigError([f"this would queue {count}; add --yes to do so without being asked"])
        typer.confirm(f"queue {count}?", abort=True, err=True)
    cards: list[RunCard] = []
    pretrained: dict[RunConfig, str] = {}
    with workspace.open_store() as store:
        predecessor(store, place)
        for point, config in zip(points, configs, strict=True):
            card = RunCard(
                id=new_run_id(),
                name=point_name(name or default_name(config), point, swept),
                experiment=experiment,
                created=time.time(),
                tags=tuple(dict.fromkeys(tags)),
                note=note,
            )
            cards += enqueue(workspace, store, card, config, place, pretrained)
    tell_queued(workspace, cards, as_json)
    notices.say(f"{count} queued in experiment {experiment}")


def grid(assignments: Sequence[str]) -> list[list[str]]:
    """Every combination of the values of `KEY=V1,V2` and `KEY=FIRST..LAST`, the last key changing fastest.

    >>> grid(["optimizer.lr=0.1,0.01", "seed=0..1"])[1]
    ['optimizer.lr=0.1', 'seed=1']
    """
    choices = parse_assignments(assignments)
    axes = [[f"{key}={value}" for value in values_of(key, text)] for key, text in choices.items()]
    return [list(point) for point in itertools.product(*axes)]


def values_of(key: str, text: str) -> list[str]:
    """The values that one key takes. Raises ConfigError for an empty one and a range that goes nowhere."""
    values: list[str] = []
    for part in text.split(","):
        part = part.strip()
        bounds = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", part)
        if bounds is None:
            values.append(part)
            continue
        first, last = int(bounds[1]), int(bounds[2])
        if not first <= last < first + MOST_VALUES:
            raise ConfigError([f"{key}: {part!r} is no range; it must be FIRST..LAST such as 0..4"])
        values += map(str, range(first, last + 1))
    if "" in values:
        raise ConfigError([f"{key}: {text!r} has an empty value; write such as {key}=1,2,3"])
    return list(dict.fromkeys(values))


def swept_keys(assignments: Sequence[str]) -> list[str]:
    return [key for key, text in parse_assignments(assignments).items() if len(values_of(key, text)) > 1]


def point_name(base: str, point: Sequence[str], swept: Sequence[str]) -> str:
    """The name of one run of a sweep: the base and what the run has otherwise than the others."""
    own = dict(assignment.split("=", 1) for assignment in point)
    return " ".join([base, *(f"{key.rpartition('.')[2]}={own[key]}" for key in swept)])
