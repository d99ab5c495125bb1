"""Making runs for programs: checked as the command line checks them, and queued."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.agent.presence import ensure_agent
from engine.config.described import config_keys, format_value
from engine.config.priority import MOST_PRIORITY
from engine.config.run_config import RunConfig
from engine.config.run_defaults import load_run_defaults
from engine.data.checks import Log
from engine.host.access import explain
from engine.requests.checking import check_data
from engine.requests.configs import check_runnable, default_name, resolve_config
from engine.requests.queueing import Place, enqueue
from engine.requests.refusals import Refused
from engine.run.directory import RunCard, new_run_id
from engine.store import Store
from engine.workspace import Workspace


@dataclass(frozen=True)
class NewRun:
    """What a program wants: a recipe's name or a TOML file, with `changes` by config key."""

    recipe: str
    data: str | Path | None
    name: str
    experiment: str
    tags: Sequence[str]
    note: str
    changes: Mapping[str, Any]


def next_place(store: Store) -> Place:
    """The place before all that waits."""
    waiting = max((row.priority for row in store.queue.waiting()), default=-1)
    return Place(priority=min(waiting + 1, MOST_PRIORITY))


def assignments_of(changes: Mapping[str, Any]) -> list[str]:
    """Values by config key as they are typed. Two whole numbers are a size, unless the key takes several
    words."""
    keys = config_keys()
    return [
        f"{key}={','.join(map(format_value, value))}"
        if isinstance(value, list | tuple) and key in keys and keys[key].commas
        else f"{key}={format_value(value)}"
        for key, value in changes.items()
    ]


def checked_run(
    workspace: Workspace, wanted: NewRun, say: Callable[[str], None]
) -> tuple[RunCard, RunConfig]:
    """Look at all that can be looked at before there is a database; `say` gets the lines that a person should
    read. Raises EngineError."""
    if isinstance(wanted.tags, str):  # else each of its letters would be one
        raise Refused([f"tags: {wanted.tags!r} is a text; it must be a list, such as [{wanted.tags!r}]"])
    assignments = assignments_of(wanted.changes)
    data = Path(wanted.data) if wanted.data is not None else None
    defaults = load_run_defaults(workspace.root)
    config = resolve_config(wanted.recipe, assignments, data, defaults)
    check_runnable(config)
    for line in check_data(config, workspace, Log(waiting=say)):
        say(line)
    card = RunCard(
        id=new_run_id(),
        name=wanted.name or default_name(config),
        experiment=wanted.experiment or defaults.experiment,
        created=time.time(),
        tags=tuple(dict.fromkeys(wanted.tags)),
        note=wanted.note,
    )
    return card, config


def queue_run(
    workspace: Workspace,
    store: Store,
    card: RunCard,
    config: RunConfig,
    place: Place,
    say: Callable[[str], None],
) -> str:
    """Make a run that was checked and see to it that there is an agent to start it; returns its id. Raises
    EngineError, and OSError when the disk refuses it; nothing is made then."""
    made = enqueue(workspace, store, card, config, place)
    want_agent(workspace, made[-1].id, say)
    return made[-1].id


def want_agent(workspace: Workspace, run_id: str, say: Callable[[str], None]) -> None:
    """See to it that there is an agent to start a run that was queued just now. Where this user cannot start
    one, the run is in the queue all the same, and `say` gets a line."""
    try:
        ensure_agent(workspace)
    except OSError as error:
        say(f"{run_id} is queued and waits for an agent; none can be started here: {explain(error)}")
