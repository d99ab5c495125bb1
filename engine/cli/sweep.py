"""`seg-engine sweep`: queue every combination of some values of config keys."""

from __future__ import annotations

import itertools
import math
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from engine.cli.console import notices
from engine.cli.notify import wish
from engine.cli.queue import tell_queued
from engine.cli.reading import has_database, open_existing
from engine.cli.run import check_data, print_scripts
from engine.config.described import config_keys
from engine.config.keys import ConfigError, split_assignments
from engine.config.old_keys import new_name
from engine.config.recipes import UnknownRecipe
from engine.config.run_config import RunConfig
from engine.plugins import usable_config
from engine.requests.configs import base_config, changed_config, check_runnable, default_name
from engine.requests.initial_weights import pretraining_of
from engine.requests.queueing import Place, all_or_none, enqueue, predecessor
from engine.requests.refusals import Refused
from engine.run.directory import RunCard, new_run_id
from engine.store import StoreError
from engine.tasks import TASKS
from engine.visible import one_line
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.running import Sweep

MOST_VALUES = MOST_POINTS = 100_000
"""Values one range, and runs one sweep may have; more is a slip of the keyboard."""

QUOTING = "quote a value that contains a comma or a quote, such as 'data.hold_out=\"rider,train\"'"
"""What to say where a comma may belong to a value; the outer quotes are the shell's."""


def sweep(workspace: Workspace, wanted: Sweep) -> None:
    """Check every config of the grid, ask, queue them all. Raises ConfigError, DataError."""
    place = Place(wanted.priority, wanted.after)
    points = grid(wanted.changes)
    whole = len(points)
    if wanted.sample is not None and wanted.sample < whole:
        # The same grid and the same number draw the same points, in the order of the grid.
        points = [points[i] for i in sorted(random.Random(0).sample(range(whole), wanted.sample))]
    swept = swept_keys(wanted.changes)
    base = base_of(workspace, wanted.recipe)
    configs = [changed_config(base.config, point, wanted.data) for point in points]
    if configs[0].slurm.dry_run:
        print_scripts(workspace, configs)
        return
    for config in configs:
        check_runnable(config)
    for config in {what_the_check_depends_on(config): config for config in configs}.values():
        check_data(config, workspace)
    count = f"{len(points)} of {whole} runs" if len(points) < whole else f"{whole} runs"
    if not wanted.yes:
        if not sys.stdin.isatty():
            raise ConfigError([f"this would queue {count}; add --yes to confirm"])
        typer.confirm(f"queue {count}?", abort=True, err=True)
    pretrained: dict[RunConfig, str] = {}
    with workspace.open_store() as store:
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


def base_of(workspace: Workspace, target: str) -> Base:
    """A recipe, a TOML file, or the config of a run. Raises ConfigError, Refused, RunDirError."""
    try:
        return Base(base_config(target))
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


def what_the_check_depends_on(config: RunConfig) -> tuple[object, ...]:
    """Configs that are equal in this are checked once for all."""
    pretrained, values = (
        pretraining_of(config) is not None,
        config.model.values_per_channel(*config.train_size),
    )
    return config.data, pretrained, config.batch_size, config.runtime.micro_batch, config.devices, values


def grid(assignments: Sequence[str]) -> list[list[str]]:
    """Every combination of the values of `KEY=V1,V2` and `KEY=FIRST..LAST`, the last key changing fastest.

    Raises ConfigError for values that are none and for more than MOST_POINTS combinations.

    >>> grid(["optimizer.lr=0.1,0.01", "seed=0..1"])[1]
    ['optimizer.lr=0.1', 'seed=1']
    """
    axes = [
        [f"{key}={value}" for value in values_of(key, text)] for key, text in _choices(assignments).items()
    ]
    count = math.prod(map(len, axes))
    if count > MOST_POINTS:
        raise ConfigError([f"these values combine to {count:,} runs; at most {MOST_POINTS:,} can be queued"])
    return [list(point) for point in itertools.product(*axes)]


def values_of(key: str, text: str) -> list[str]:
    """The values that one key takes, each once: between commas; `FIRST..LAST` stands for whole numbers.

    Quotes, "a,b" or 'a,b', and brackets, [a,b], hold a value together; quotes are taken away, and a backslash
    before a quote or a backslash in them keeps it. Raises ConfigError for a value that is empty without
    quotes, a range that goes nowhere, and where it is not clear which values are meant.
    """
    values: list[str] = []
    parts = list(_parts(key, text))
    about = config_keys().get(new_name(key))
    if len(parts) > 1 and about is not None and about.commas and not any(is_held for _, is_held in parts):
        one, several = f'"{text}"', ",".join(f'"{part}"' for part, _ in parts)
        raise ConfigError(
            [f"{key}: {text!r} may be one value or {len(parts)}; write '{key}={one}' or '{key}={several}'"]
        )
    for part, is_held in parts:
        bounds = None if is_held else re.fullmatch(r"(-?\d{1,20})\.\.(-?\d{1,20})", part)
        if not part and not is_held:
            hint = f'write such as {key}=1,2,3, and "" in quotes for the empty value'
            raise ConfigError([f"{key}: {text!r} has an empty value; {hint}"])
        if bounds is None:
            values.append(part)
            continue
        first, last = int(bounds[1]), int(bounds[2])
        if not first <= last < first + MOST_VALUES:
            raise ConfigError([f"{key}: {part!r} is not a range; it must be FIRST..LAST such as 0..4"])
        values += map(str, range(first, last + 1))
    return list(dict.fromkeys(values))


_QUOTED = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')\s*(?:,|$)""", re.DOTALL)
_BRACKETED = re.compile(r"""\s*(\[(?:[^\[\]"']|"(?:[^"\\]|\\.)*"|'[^']*')*\])\s*(?:,|$)""", re.DOTALL)
_PLAIN = re.compile(r"([^,]*)(?:,|$)", re.DOTALL)


def _parts(key: str, text: str) -> Iterator[tuple[str, bool]]:
    """The values between the commas, and whether each was held together by quotes or brackets."""
    at, ended_in_comma = 0, True
    while ended_in_comma:
        found = _QUOTED.match(text, at)
        if found is not None:
            inner = found[1] if found[1] is not None else found[2]
            yield re.sub(r"""\\(["'\\])""", r"\1", inner), True
        else:
            found = _BRACKETED.match(text, at) or _PLAIN.match(text, at)
            assert found is not None
            value = found[1].strip()
            if value != text.strip() and not value.startswith("[") and re.search(r"""["'\[\]]|\\$""", value):
                raise ConfigError([f"{key}: {text!r} is ambiguous; {QUOTING}"])
            if value.startswith(('"', "'")) or (value.startswith("[") and not value.endswith("]")):
                raise ConfigError([f"{key}: {text!r} is not closed; {QUOTING}"])
            yield value, value.startswith("[")
        at, ended_in_comma = found.end(), found[0].endswith(",")


def swept_keys(assignments: Sequence[str]) -> list[str]:
    return [key for key, text in _choices(assignments).items() if len(values_of(key, text)) > 1]


def _choices(assignments: Sequence[str]) -> dict[str, str]:
    """The values of each key as typed. An old key that became several is left as it is: each of its values
    means something else."""
    return dict(split_assignments(assignments))


def point_name(base: str, point: Sequence[str], swept: Sequence[str]) -> str:
    """The name of one run of a sweep: the base and what the run has otherwise than the others."""
    own = dict(assignment.split("=", 1) for assignment in point)
    return " ".join([base, *(f"{key.rpartition('.')[2]}={own[key]}" for key in swept)])
