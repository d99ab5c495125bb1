"""`seg-engine reproduce`: make a run again, and say how far its scores differ."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.console import notices, output, print_json
from engine.cli.notify import wish
from engine.cli.queue import tell_queued
from engine.cli.reading import open_existing
from engine.cli.run import check_data, follow
from engine.cli.usage import WrongUse
from engine.components.outside import outside_code
from engine.config.run_config import RunConfig
from engine.config.run_defaults import load_run_defaults
from engine.exits import DONE, FAILED
from engine.host.processes import identify
from engine.plugins import loaded_plugins
from engine.report.reproduction import (
    difference_lines,
    differences,
    last,
    reproduction_record,
    reproduction_text,
)
from engine.requests.configs import check_runnable
from engine.requests.initial_weights import settle_sources
from engine.requests.queueing import Place, enqueue, make_run
from engine.requests.reproducing import (
    First,
    config_again,
    files_again,
    first_in,
    first_of,
    reproduction_of,
    write_bundle,
)
from engine.run.directory import RunCard, new_run_id
from engine.run.environment import environment_here
from engine.run.files import absolute
from engine.store import Store
from engine.typed import typed
from engine.visible import one_line
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.repeating import Reproducing


def reproduce(workspace: Workspace, wanted: Reproducing) -> int:
    """Write a run's bundle, or make the run again; returns the exit status: 1 where it failed, or where its
    scores were promised to be the same and are not. Raises EngineError before a run is made."""
    path = absolute(wanted.target)
    if path.suffix == ".zip" or (path.is_file() and zipfile.is_zipfile(path)):
        if wanted.bundle is not None:
            raise WrongUse(f"--bundle: {wanted.target} is a bundle already; name a run")
        first = first_in(path)
        config = _config(workspace, first, wanted, is_here=False)
        with workspace.open_store() as store:
            return _again(workspace, store, first, config, wanted)
    with open_existing(workspace, change=wanted.bundle is None) as store:
        first = first_of(workspace, store, store.run(store.resolve(wanted.target)))
        if wanted.bundle is None:
            config = _config(workspace, first, wanted, is_here=True)
            return _again(workspace, store, first, config, wanted)
        write_bundle(first, absolute(wanted.bundle))
    if not first.origin.environments:
        notices.note(_not_kept(first))
    output.say(str(absolute(wanted.bundle)))
    return DONE


def _config(workspace: Workspace, first: First, wanted: Reproducing, is_here: bool) -> RunConfig:
    """The config of the new run, checked here. Raises EngineError."""
    config = config_again(first, _data(workspace, wanted, is_here))
    check_runnable(config)
    check_data(config, workspace, workspace.run_dir(first.origin.run) if is_here else None)
    return config


def _again(workspace: Workspace, store: Store, first: First, config: RunConfig, wanted: Reproducing) -> int:
    _tell_environment(first)
    card = RunCard(
        id=new_run_id(),
        name=wanted.name or f"{one_line(first.origin.name)} again",
        experiment=wanted.experiment or one_line(first.experiment),
        created=time.time(),
        note=f"reproduces {first.origin.run}",
    )
    files = files_again(first)
    place = wanted.queued.place or (Place() if config.executor == "slurm" else None)
    if place is not None:
        queued = enqueue(workspace, store, card, config, place, files=files)
        wish(store, "run", card.id, wanted.queued.on_end)
        tell_queued(workspace, queued, wanted.as_json)
        notices.say(f"once it has ended, {typed('show', card.id)} compares the two")
        return DONE
    config = settle_sources(workspace, store, config)
    make_run(workspace, store, card, config, identify(), files)
    wish(store, "run", card.id, wanted.queued.on_end)
    status = follow(workspace, store, card.id, wanted.as_json)
    return _tell(workspace, store, card.id, config, wanted.as_json) or status


def _data(workspace: Workspace, wanted: Reproducing, is_here: bool) -> Path | None:
    """The folder of the data set where it is not that of the run: a bundle may come from another machine."""
    if wanted.data is not None or is_here:
        return wanted.data
    data = load_run_defaults(workspace.root).data
    return Path(data) if data else None


def _tell_environment(first: First) -> None:
    """Say what is otherwise here than it was, as far as it is known without torch."""
    before = last(first.origin.environments)
    if before is None:
        notices.note(_not_kept(first))
        return
    plugins = {plugin.path.name: plugin.sha256 for plugin in loaded_plugins()}
    found = differences(before, environment_here(plugins, outside_code()))
    if not found:
        notices.say("code, Python, packages and driver are those of the first run")
    for line in difference_lines(found):
        notices.say(f"otherwise here: {line}")


def _not_kept(first: First) -> str:
    return f"{first.origin.run} is of an earlier version, which did not keep what a run was computed with"


def _tell(workspace: Workspace, store: Store, run_id: str, config: RunConfig, as_json: bool) -> int:
    """Print the comparison; returns 1 where a promise was broken, else 0."""
    found = reproduction_of(
        workspace.run_dir(run_id), config.model_dump(mode="json"), store.results.epochs(run_id)
    )
    assert found is not None
    if as_json:
        print_json({"event": "reproduction", "run": run_id, **reproduction_record(found)}, indent=None)
    else:
        output.say()
        output.say(reproduction_text(found, output.table_width))
    return FAILED if found.broken else DONE
