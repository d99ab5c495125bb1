"""Making runs: one, or several that are queued together, all of them or none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.config.keys import ConfigError
from engine.config.priority import MOST_PRIORITY
from engine.config.run_config import RunConfig
from engine.data.frozen_classes import freeze_classes
from engine.host.input_files import is_text, shown
from engine.host.processes import ProcessIdentity
from engine.plugins import with_loaded
from engine.requests.crf_parameters import search_to_wait_for
from engine.requests.deleting import delete, remove_folder
from engine.requests.initial_weights import pretraining_card, pretraining_of, settle_sources, starting_from
from engine.requests.refusals import Refused, refuse_no_name, refuse_unkeepable
from engine.requests.source_paths import BEST, LAST
from engine.run.directory import RunCard
from engine.store import NoSuchRun, RunRow, Store, StoreError
from engine.typed import typed
from engine.workspace import Workspace

HOPELESS = ("failed", "lost")


@dataclass(frozen=True)
class Place:
    """Where in the queue a run goes. `after` names the run that must finish first, as a person types it."""

    priority: int = 0
    after: str = ""


def predecessor(store: Store, place: Place) -> str:
    """The id of the run to wait for, "" for none. Raises Refused when it can never finish."""
    if not place.after:
        return ""
    row = store.run(store.resolve(place.after))
    if row.status in HOPELESS:
        raise Refused(
            [f"--after {place.after}: {row.id} is {row.status}; `{typed('requeue', row.id)}` first"]
        )
    return row.id


def enqueue(
    workspace: Workspace,
    store: Store,
    card: RunCard,
    config: RunConfig,
    place: Place,
    pretrained: dict[RunConfig, str] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> list[RunCard]:
    """Make a run that an agent will start; `ensure_agent` sees to it that there is one.

    A run that wants pre-training has that run queued before it. One whose CRF a search is to find waits for
    the search, and one that looks at a network which is not there yet for its training. Runs that are queued
    together share `pretrained`, by config the id of each pre-training run, so that none is made twice.
    Returns the cards of the runs that were made, in the order in which they will start.
    """
    if config.slurm.dry_run:
        raise ConfigError(["slurm.dry_run: is for `seg-engine run` and `sweep`; it must be false here"])
    after = predecessor(store, place)
    after = search_to_wait_for(store, config, after) or after
    after = after or _training_to_wait_for(workspace, store, config)
    config = settle_sources(workspace, store, config, waits_for=after)
    pretraining, known = pretraining_of(config), {} if pretrained is None else pretrained
    with all_or_none(workspace, store) as made:
        if pretraining is not None:
            if pretraining not in known:
                first = pretraining_card(card)
                made += enqueue(workspace, store, first, pretraining, place)
                known[pretraining] = first.id
            after = known[pretraining]
            config = starting_from(config, after)
        card = replace(card, priority=place.priority, after=after)
        make_run(workspace, store, card, config, files=files)
    return [*made, card]


def _training_to_wait_for(workspace: Workspace, store: Store, config: RunConfig) -> str:
    """The id of the run, queued or at work, that has yet to write the checkpoint which a run of this config
    looks at; "" where there is none."""
    about = config.of_network
    if about is None or Path(workspace.run_dir(about.source).path, about.checkpoint).is_file():
        return ""
    with contextlib.suppress(NoSuchRun):
        return "" if store.run(about.source).ended else about.source
    return ""


def may_still_change(store: Store, config: RunConfig) -> RunRow | None:
    """The run, queued or at work, that may replace the checkpoint which a run of this config looks at by a
    newer one; None where there is none."""
    about = config.of_network
    if about is None or about.checkpoint not in [
        f"../{about.source}/checkpoints/{name}" for name in (BEST, LAST)
    ]:
        return None
    with contextlib.suppress(NoSuchRun):
        row = store.run(about.source)
        return None if row.ended else row
    return None


@contextlib.contextmanager
def all_or_none(workspace: Workspace, store: Store) -> Iterator[list[RunCard]]:
    """Gives a list for the cards of runs that are queued together: where the block fails, those that were
    made by then are removed again, the last first. One that an agent has begun meanwhile stays."""
    made: list[RunCard] = []
    try:
        yield made
    except BaseException:
        for card in reversed(made):
            with contextlib.suppress(Refused, StoreError):
                delete(workspace, store, store.run(card.id))
        raise


def make_run(
    workspace: Workspace,
    store: Store,
    card: RunCard,
    config: RunConfig,
    owner: ProcessIdentity | None = None,
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Make a run, its folder with `files` by name, and its row, or neither: queued, or for `owner` to start
    at once.

    Its class set is written out, if nobody has done so yet. Raises ConfigError when that cannot be read,
    Refused and RunDirError for a card that no run can have, StoreError, and OSError when the disk refuses it.
    """
    refuse_unkeepable(tag=card.tags, note=card.note)
    refuse_no_name(name=card.name, experiment=card.experiment)
    if abs(card.priority) > MOST_PRIORITY:
        raise Refused([f"priority: {card.priority} is not allowed; it must be at most {MOST_PRIORITY}"])
    config = with_loaded(freeze_classes(config))
    if strange := _unstorable(config.model_dump()):
        raise Refused([f"{strange[0]}: {shown(strange[1])} is not valid UTF-8"])
    run = workspace.run_dir(card.id)
    run.create(card, config, files)
    try:
        store.lifecycle.create(card, config, "queued" if owner is None else "starting", owner)
    except BaseException:
        remove_folder(run)
        raise


def _unstorable(value: Any, key: str = "") -> tuple[str, str] | None:
    """The first text of a config that is not valid UTF-8, such as the name of a file, with its key."""
    if isinstance(value, str):
        return None if is_text(value) else (key, value)
    if isinstance(value, Mapping):
        parts = [(f"{key}.{name}" if key else str(name), part) for name, part in value.items()]
    else:
        parts = [(key, part) for part in value] if isinstance(value, list | tuple) else []
    return next((found for name, part in parts if (found := _unstorable(part, name))), None)
