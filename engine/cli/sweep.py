"""`seg-engine sweep`: queue every combination of some values of config keys."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from engine.cli.console import notices
from engine.cli.notify import wish
from engine.cli.queue import tell_queued
from engine.cli.reading import has_database, open_existing, open_for_new
from engine.cli.run import check_data, print_scripts
from engine.config.grids import choices_of, grid, point_name, swept_keys
from engine.config.keys import ConfigError
from engine.config.recipes import UnknownRecipe
from engine.config.run_config import RunConfig
from engine.config.run_defaults import load_run_defaults
from engine.data.faults import counted
from engine.plugins import usable_config
from engine.requests.checking import what_the_check_depends_on
from engine.requests.configs import base_config, changed_config, check_runnable, default_name
from engine.requests.initial_weights import names_a_run
from engine.requests.queueing import Place, all_or_none, enqueue, predecessor
from engine.requests.refusals import Refused
from engine.run.directory import RunCard, new_run_id
from engine.store import StoreError
from engine.tasks import TASKS
from engine.visible import one_line
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.running import Sweep


def sweep(workspace: Workspace, wanted: Sweep) -> None:
    """Check every config of the grid, ask, queue them all. Raises ConfigError, DataError."""
    place = Place(wanted.priority, wanted.after)
    points = grid(wanted.changes)
    whole = len(points)
    if wanted.sample is not None and wanted.sample < whole:
        # The same grid and the same number draw the same points, in the order of the grid.
        points = [points[i] for i in sorted(random.Random(0).sample(range(whole), wanted.sample))]
    swept = swept_keys(wanted.changes)
    base = base_of(workspace, wanted.recipe, choices_of(wanted.changes))
    configs = [changed_config(base.config, point, wanted.data) for point in points]
    if configs[0].slurm.dry_run:
        print_scripts(workspace, configs)
        return
    for config in configs:
        check_runnable(config)
    for config in {what_the_check_depends_on(config): config for config in configs}.values():
        check_data(config, workspace)
    count = f"{len(points)} of {whole} runs" if len(points) < whole else counted(whole, "run")
    if not wanted.yes:
        if not sys.stdin.isatty():
            raise ConfigError([f"this would queue {count}; add --yes to confirm"])
        typer.confirm(f"queue {count}?", abort=True, err=True)
    pretrained: dict[RunConfig, str] = {}
    with open_for_new(workspace, wanted.after != "" or any(map(names_a_run, configs))) as store:
        predecessor(store, place)
        with all_or_none(workspace, store) as cards:
            for point, config in zip(points, configs, strict=True):
                card = RunCard(
                    id=new_run_id(),
                    name=point_name(wanted.name or base.name or default_name(config), point, swept),
                    experiment=wanted.experiment,
                    created=time.time(),
                    tags=tuple(dict.fromkeys(wanted.tag)),
                    note=wanted.note,
                )
                cards += enqueue(workspace, store, card, config, place, pretrained)
        wish(store, "experiment", wanted.experiment, wanted.on_end)
    tell_queued(workspace, cards, wanted.as_json)
    notices.say(f"{count} queued in experiment {wanted.experiment}")


@dataclass(frozen=True)
class Base:
    """What a sweep varies, and the name of the run that it comes from; "" where it is a recipe or a file."""

    config: RunConfig
    name: str = ""


def base_of(workspace: Workspace, target: str, typed: Collection[str]) -> Base:
    """A recipe, a TOML file, or the config of a run, for keys that are `typed` besides. Raises ConfigError,
    Refused, RunDirError."""
    try:
        return Base(base_config(target, load_run_defaults(workspace.root), typed))
    except UnknownRecipe as unknown:
        if not has_database(workspace):
            raise
        with open_existing(workspace) as store:
            try:
                row = store.run(store.resolve(target))
            except StoreError as error:
                raise ConfigError([f"{unknown}; {error}"]) from None
    if not TASKS[row.task].learns:
        raise Refused([f"{row.id}: is of the task {row.task}; a sweep needs a run that trains"])
    config, _ = usable_config(workspace.run_dir(row.id))
    return Base(config.model_copy(update={"plugins": None}), one_line(row.name))
