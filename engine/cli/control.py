"""What people do to runs that exist: stop, requeue, rerun, delete, tag and note."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence

import typer

from engine.agent.ingest import owner_of
from engine.agent.presence import ensure_agent
from engine.cli.console import notices, output
from engine.cli.queue import Place, enqueue, keep, tell_queued
from engine.cli.reading import open_existing
from engine.cli.run import RESUMABLE, check_data, check_hardware, refuse_living, start_here
from engine.config_keys import ConfigError, parse_assignments, with_values
from engine.processes import is_alive
from engine.rundir import RunCard, new_run_id
from engine.store import END_STATUSES, RunRow, Store
from engine.workspace import Workspace


def stop(workspace: Workspace, prefixes: Sequence[str]) -> None:
    """Let runs end their step and save; queued ones leave the queue. Raises ConfigError for ended ones."""
    with open_existing(workspace) as store:
        rows = chosen(store, prefixes, ("queued", "starting", "running", "stopping"), "is over")
        for row in rows:
            if store.set_status(row.id, "stopped", "stopped", expect=("queued",)):
                keep(workspace, store, row.id)
                output.say(f"{row.id}  {row.name}  stopped: it left the queue")
            elif store.set_status(row.id, "stopping", expect=("starting", "running", "stopping")):
                output.say(f"{row.id}  {row.name}  stopping: it ends its step and saves")
            else:
                output.say(f"{row.id}  {row.name}  ended by itself just now")
        owners = [owner_of(store.run(row.id)) for row in rows if not store.run(row.id).ended]
    if any(owner is None or is_alive(owner) is False for owner in owners):
        ensure_agent(workspace)  # nobody else would pass the wish on


def requeue(workspace: Workspace, prefixes: Sequence[str], priority: int | None, as_json: bool) -> None:
    """Queue runs that stopped, failed or were lost; they go on from their last checkpoint."""
    with open_existing(workspace) as store:
        rows = chosen(store, prefixes, RESUMABLE, "only stopped, failed and lost runs are queued again")
        for row in rows:
            refuse_living(workspace, row)
        cards = [workspace.run_dir(row.id).read_card() for row in rows]
        for row in rows:
            if priority is not None:
                store.set_queue(row.id, priority=priority)
            store.set_status(row.id, "queued", expect=RESUMABLE)
            keep(workspace, store, row.id)
    tell_queued(workspace, cards, as_json)


def rerun(
    workspace: Workspace, prefix: str, assignments: Sequence[str], place: Place | None, as_json: bool
) -> int:
    """Make a new run of the config of another, with changes; returns the exit status."""
    values = parse_assignments(assignments)
    with open_existing(workspace) as store:
        row = store.run(store.resolve(prefix))
        before = workspace.run_dir(row.id)
        config = with_values(before.read_config(), values)
        check_hardware(config)
        check_data(config, workspace)
        model = before.read_card()
        card = RunCard(new_run_id(), model.name, model.experiment, time.time(), model.tags)
        if place is not None:
            enqueue(workspace, store, card, config, place)
            tell_queued(workspace, [card], as_json)
            return 0
        return start_here(workspace, store, card, config, as_json)


def delete(workspace: Workspace, prefixes: Sequence[str], sure: bool) -> None:
    """Remove runs with their files and rows, never a living one. Asks unless `sure`."""
    with open_existing(workspace) as store:
        removable = (*END_STATUSES, "queued")
        rows = chosen(store, prefixes, removable, "`seg-engine stop` it first")
        for row in rows:
            refuse_living(workspace, row)
        if not sure:
            for row in rows:
                best = f", best Dice {row.best_dice:.4f}" if row.best_dice is not None else ""
                notices.say(f"{row.id}  {row.name}  {row.status}, epoch {row.epoch}/{row.epochs}{best}")
            question = f"delete {'this run' if len(rows) == 1 else f'these {len(rows)} runs'} for good?"
            typer.confirm(question, abort=True, err=True)
        for row in rows:
            # The row first: from then on no agent can start what is about to lose its files.
            if not store.delete_run(row.id, expect=removable):
                raise ConfigError([f"{row.id}: was started just now and is kept"])
            remove_folder(workspace, row.id)
            output.say(f"{row.id}  {row.name}  deleted")


def remove_folder(workspace: Workspace, run_id: str) -> None:
    """Remove a run's folder, under a hidden name first so that half of one never looks like a run."""
    folder = workspace.run_dir(run_id).path
    if folder.is_dir():
        doomed = folder.with_name(f".deleted-{run_id}")
        folder.rename(doomed)
        shutil.rmtree(doomed)


def tag(workspace: Workspace, prefix: str, words: Sequence[str], remove: Sequence[str]) -> None:
    """Add tags to a run and take tags away; without any, print those it has."""
    with open_existing(workspace) as store:
        row = store.run(store.resolve(prefix))
        missing = [word for word in remove if word not in row.tags]
        if missing:
            raise ConfigError([f"{row.id}: has no tag {word}" for word in missing])
        tags = tuple(sorted({*row.tags, *words} - set(remove)))
        if tags != row.tags:
            store.update_card(row.id, tags=tags)
            keep(workspace, store, row.id)
        output.say(f"{row.id}  {row.name}  tags: {', '.join(tags) or 'none'}")


def note(workspace: Workspace, prefix: str, text: str | None) -> None:
    """Put a note on a run, "" to remove it; without a text, print the one it has."""
    with open_existing(workspace) as store:
        row = store.run(store.resolve(prefix))
        if text is None:
            output.say(row.note)
            return
        store.update_card(row.id, note=text)
        keep(workspace, store, row.id)
        output.say(f"{row.id}  {row.name}  note: {text or 'none'}")


def chosen(store: Store, prefixes: Sequence[str], statuses: Sequence[str], otherwise: str) -> list[RunRow]:
    """The runs that were named, each once. Raises ConfigError when one has none of `statuses`."""
    rows = [store.run(run_id) for run_id in dict.fromkeys(store.resolve(prefix) for prefix in prefixes)]
    problems = [f"{row.id}: is {row.status}; {otherwise}" for row in rows if row.status not in statuses]
    if problems:
        raise ConfigError(problems)
    return rows
