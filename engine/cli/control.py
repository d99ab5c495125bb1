"""What people do to runs that exist: stop, requeue, rerun, delete, tag, note, rename, move, archive."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from engine.cli.console import notices, output
from engine.cli.queue import tell_lost, tell_queued
from engine.cli.reading import open_existing
from engine.cli.run import check_data, queue_or_start
from engine.cli.usage import WrongUse
from engine.config.idle import idle_keys
from engine.config.keys import parse_assignments
from engine.requests import deleting, lifecycle, refusals
from engine.requests.configs import check_runnable, with_data_root
from engine.requests.refusals import Refused
from engine.requests.rerunning import config_again, tags_again
from engine.run.directory import RunCard, new_run_id
from engine.store import RunRow, Store, StoreError
from engine.tasks import epochs_done
from engine.visible import one_line
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.repeating import Again

_FATES = {
    "stopped": "stopped: removed from the queue",
    "stopping": "stopping: it finishes its step and saves a checkpoint",
    "ended": "has just ended",
}


def stop(workspace: Workspace, prefixes: Sequence[str]) -> None:
    """Let runs end their step and save; queued ones leave the queue. Raises Refused for ended ones."""
    with open_existing(workspace, change=True) as store:
        rows = named(store, prefixes)
        for row, fate in zip(rows, lifecycle.stop(workspace, store, rows), strict=True):
            output.say(f"{row.id}  {row.name}  {_FATES[fate]}")
            if fate == "stopped" and workspace.run_dir(row.id).why_unwritable():
                tell_lost(workspace, row.id)


def requeue(workspace: Workspace, prefixes: Sequence[str], priority: int | None, as_json: bool) -> None:
    """Queue runs that stopped, failed or were lost; they go on from their last checkpoint."""
    with open_existing(workspace, change=True) as store:
        rows = named(store, prefixes)
        refusals.refuse_elsewhere(workspace, rows)
        cards = [workspace.run_dir(row.id).read_card() for row in rows]
        lifecycle.requeue(workspace, store, rows, priority)
        for row in rows:
            if others := lifecycle.taken_over(workspace.run_dir(row.id)):
                notices.say(others)
    tell_queued(workspace, cards, as_json)


def rerun(workspace: Workspace, wanted: Again) -> int:
    """Make a new run of the config of another, with changes; returns the exit status."""
    values, as_json = parse_assignments(wanted.changes), wanted.as_json
    with open_existing(workspace, change=True) as store:
        row = store.run(store.resolve(wanted.run))
        before = workspace.run_dir(row.id)
        config = config_again(before, values)
        config = with_data_root(config) if config.data.root else config
        for idle in idle_keys(config, values):
            notices.note(idle)
        check_runnable(config)
        check_data(config, workspace)
        model = before.read_card()
        tags = tags_again(model.tags, model.trial)
        card = RunCard(
            id=new_run_id(),
            name=wanted.name or one_line(model.name),
            experiment=wanted.experiment or one_line(model.experiment),
            created=time.time(),
            tags=tags if wanted.tag is None else tuple(dict.fromkeys(filter(None, wanted.tag))),
            note=wanted.note,
        )
        return queue_or_start(workspace, store, card, config, wanted.queued, as_json)


def delete(workspace: Workspace, prefixes: Sequence[str], sure: bool) -> None:
    """Remove runs with their files and rows, never a living one. Asks unless `sure`."""
    with open_existing(workspace, change=True) as store:
        for problem in deleting.finish_deletions(workspace, store):
            notices.say(problem)
        rows = named(store, prefixes)
        deleting.refuse_undeletable(workspace, rows)
        if others := deleting.needed_by(store, rows):
            notices.note(others)
        if not sure:
            for row in rows:
                best = f", best Dice {row.best_dice:.4f}" if row.best_dice is not None else ""
                notices.say(f"{row.id}  {row.name}  {row.status}, epoch {epochs_done(row)}{best}")
            what = "this run" if len(rows) == 1 else f"these {len(rows)} runs"
            try:
                typer.confirm(f"delete {what} for good?", abort=True, err=True)
            except typer.Abort:
                if sys.stdin.isatty():
                    raise
                notices.say("")  # ends the line of the question
                raise WrongUse(f"this would delete {what}; add --yes to confirm") from None
        for row in rows:
            deleting.delete(workspace, store, row)
            output.say(f"{row.id}  {row.name}  deleted")


def tag(workspace: Workspace, prefix: str, words: Sequence[str], remove: Sequence[str]) -> None:
    """Add tags to a run and take tags away; without any, print those it has."""
    with open_existing(workspace, change=bool(words or remove)) as store:
        row = store.run(store.resolve(prefix))
        missing = [word for word in remove if word not in row.tags]
        if missing:
            raise Refused([f"{row.id}: has no tag {word}" for word in missing])
        if words or remove:
            if not lifecycle.change_tags(workspace, store, row.id, words, remove):
                tell_lost(workspace, row.id)
            row = store.run(row.id)
        output.say(f"{row.id}  {row.name}  tags: {', '.join(row.tags) or 'none'}")


def note(workspace: Workspace, prefix: str, text: str | None) -> None:
    """Put a note on a run, "" to remove it; without a text, print the one it has."""
    with open_existing(workspace, change=text is not None) as store:
        row = store.run(store.resolve(prefix))
        if text is None:
            output.say(Text(row.note))
            return
        if not lifecycle.set_note(workspace, store, row.id, text):
            tell_lost(workspace, row.id)
        output.say(f"{row.id}  {row.name}  note: {text or 'none'}")


def rename(workspace: Workspace, prefix: str, name: str) -> None:
    """Call a run otherwise."""
    with open_existing(workspace, change=True) as store:
        row = store.run(store.resolve(prefix))
        if not lifecycle.rename(workspace, store, row, name):
            tell_lost(workspace, row.id)
        output.say(f"{row.id}  {name}  was {row.name}")


def move(workspace: Workspace, experiment: str, prefixes: Sequence[str]) -> None:
    """Make runs those of another experiment."""
    with open_existing(workspace, change=True) as store:
        rows = named(store, prefixes)
        for row in lifecycle.move(workspace, store, rows, experiment):
            tell_lost(workspace, row.id)
        for row in rows:
            output.say(f"{row.id}  {row.name}  experiment {experiment}, was {row.experiment}")


def archive(workspace: Workspace, prefixes: Sequence[str], archived: bool) -> None:
    """Leave runs out of lists, or show them again."""
    with open_existing(workspace, change=True) as store:
        rows = named(store, prefixes)
        for row in lifecycle.archive(workspace, store, rows, archived):
            tell_lost(workspace, row.id)
        for row in rows:
            output.say(f"{row.id}  {row.name}  {'archived' if archived else 'not archived'}")


def protect(workspace: Workspace, prefixes: Sequence[str], protected: bool) -> None:
    """Keep runs from being deleted, or let them be deleted again."""
    with open_existing(workspace, change=True) as store:
        rows = named(store, prefixes)
        for row in lifecycle.protect(workspace, store, rows, protected):
            tell_lost(workspace, row.id)
        for row in rows:
            output.say(f"{row.id}  {row.name}  {'protected' if protected else 'not protected'}")


def named(store: Store, prefixes: Sequence[str]) -> list[RunRow]:
    """The runs that were named, each once. Raises StoreError, or Refused with every name of none."""
    found: dict[str, RunRow] = {}
    problems: list[StoreError] = []
    for prefix in dict.fromkeys(prefixes):
        try:
            row = store.run(store.resolve(prefix))
        except StoreError as error:
            problems.append(error)
        else:
            found.setdefault(row.id, row)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise refusals.Refused([str(error) for error in problems])
    return list(found.values())
