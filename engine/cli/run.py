"""`seg-engine run` and `seg-engine resume`: one run in the foreground, from its config to its scores."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

from rich.text import Text

from engine.agent.executors.slurm import job_script, new_name
from engine.agent.foreground import StopSwitch, follow_run
from engine.agent.presence import ensure_agent
from engine.cli.console import notices, output, progress_bar
from engine.cli.display import Display, JsonDisplay, LiveDisplay, PlainDisplay, UntilNobodyReads
from engine.cli.mistaken import recipe_expected
from engine.cli.notify import notify_terminal, tell_ends, wish
from engine.cli.queue import tell_queued
from engine.cli.reading import open_existing, open_for_new
from engine.config.run_config import RunConfig
from engine.config.run_defaults import load_run_defaults
from engine.config.slurm import SlurmConfig
from engine.data.checks import Log
from engine.host.processes import identify
from engine.plugins import usable_config
from engine.requests import checking
from engine.requests.configs import check_runnable, default_name, resolve_config
from engine.requests.crf_parameters import refuse_unsearched
from engine.requests.derive import has_relative_classes
from engine.requests.initial_weights import (
    names_a_run,
    pretraining_card,
    pretraining_of,
    settle_sources,
    starting_from,
)
from engine.requests.lifecycle import requeue, taken_over
from engine.requests.queueing import Place, enqueue, make_run, may_still_change
from engine.requests.refusals import RESUMABLE, Refused, refuse_elsewhere, refuse_living, refuse_unwritable
from engine.run.directory import RunCard, RunDir, new_run_id
from engine.store import RunRow, Store
from engine.store.cards import card_of
from engine.tasks import TASKS
from engine.typed import typed
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.cli.arguments import InQueue
    from engine.cli.running import NewRun

EXIT_BY_STATUS = {"finished": 0, "stopped": 3}


def run(workspace: Workspace, wanted: NewRun) -> int:
    """Check everything, make the run, follow it to its end; returns the exit status.

    With a place in the queue the run goes there instead, for an agent to start.
    """
    as_json = wanted.as_json
    assignments = [*wanted.changes, *(["data.skip_bad=true"] if wanted.skip_bad else ())]
    defaults = load_run_defaults(workspace.root)
    again = f"`{typed('rerun', wanted.recipe)}` makes it again, with KEY=VALUE changes"
    with recipe_expected(workspace, wanted.recipe, again):
        config = resolve_config(wanted.recipe, assignments, wanted.data, defaults)
    if config.slurm.dry_run:
        print_scripts(workspace, [config])
        return 0
    check_runnable(config)
    check_data(config, workspace)
    card = RunCard(
        id=new_run_id(),
        name=wanted.name or default_name(config),
        experiment=wanted.experiment or defaults.experiment,
        created=time.time(),
        tags=tuple(dict.fromkeys(wanted.tag)),
        note=wanted.note,
    )
    with open_for_new(workspace, names_a_run(config) or wanted.queued.after != "") as store:
        return queue_or_start(workspace, store, card, config, wanted.queued, as_json)


def queue_or_start(
    workspace: Workspace,
    store: Store,
    card: RunCard,
    config: RunConfig,
    wanted: InQueue,
    as_json: bool,
) -> int:
    """Give a run its place in the queue or, where none is wanted, start it here and follow it; returns the
    exit status."""
    if wanted.place is None:
        return start_here(workspace, store, card, config, as_json, wanted.on_end)
    queued = enqueue(workspace, store, card, config, wanted.place)
    wish(store, "run", card.id, wanted.on_end)
    tell_place(workspace, store, config, queued, wanted.place, as_json)
    return 0


def tell_place(
    workspace: Workspace,
    store: Store,
    config: RunConfig,
    queued: Sequence[RunCard],
    place: Place,
    as_json: bool,
) -> None:
    """Tell of a run that was queued for that place, the last of `queued`, and what of another run it waits
    for or finds as it is then."""
    tell_queued(workspace, queued, as_json)
    if config.of_network is None or as_json:
        return
    card = queued[-1]
    if card.after and not place.after:
        of_network = card.after == config.source
        why = "whose network it looks at" if of_network else "which searches the CRF's parameters"
        notices.say(f"{card.id} starts after {card.after}, {why}")
    if not card.after and (source := may_still_change(store, config)) is not None:
        notices.note(
            f"{source.id} is {source.status}: {card.id} looks at its checkpoint as that is when it starts; "
            f"with --queue --after {source.id} it waits for the end"
        )


def start_here(
    workspace: Workspace, store: Store, card: RunCard, config: RunConfig, as_json: bool, on_end: str = ""
) -> int:
    """Make a run past the queue, after its pre-training run where it wants one, and follow it to its end.

    Returns the exit status, that of the pre-training run when it does not finish. A job of a cluster has its
    own queue to wait in and is followed by nobody.
    """
    if config.executor == "slurm":
        queued = enqueue(workspace, store, card, config, Place())
        wish(store, "run", card.id, on_end)
        tell_place(workspace, store, config, queued, Place(), as_json)
        return 0
    refuse_unsearched(store, config)
    config = settle_sources(workspace, store, config)
    pretraining = pretraining_of(config)
    if pretraining is not None:
        first = pretraining_card(card)
        both = f"two runs: {pretraining.epochs} epochs of pre-training, then "
        if config.budget.is_given:
            notices.say(f"{both}{config.told_length} of training")
        else:
            notices.say(f"{both}{config.epochs} of training, {pretraining.epochs + config.epochs} in all")
        status = start_here(workspace, store, first, pretraining, as_json)
        if status != 0:
            wish(store, "run", first.id, on_end)
            tell_ends(workspace, store)
            notices.say(f"then:    repeat the command with init.weights={first.id} to train")
            return status
        config = starting_from(config, first.id)
    make_run(workspace, store, replace(card, queued_for=0), config, identify())
    wish(store, "run", card.id, on_end)
    return follow(workspace, store, card.id, as_json)


def print_scripts(workspace: Workspace, configs: Sequence[RunConfig]) -> None:
    """Print what sbatch would be given: a script for all runs that want the same of the cluster."""
    wanted: dict[SlurmConfig, int] = {}
    for config in configs:
        wanted[config.slurm] = wanted.get(config.slurm, 0) + 1
    for about, count in wanted.items():
        runs = [workspace.run_dir(new_run_id()) for _ in range(count)]
        output.say(Text(job_script(new_name(runs), runs, about, workspace.cache).rstrip()))


def resume(workspace: Workspace, prefix: str, as_json: bool, on_end: str = "") -> int:
    """Go on with a run that stopped, failed or was lost, as the same run; returns the exit status."""
    with open_existing(workspace, change=True) as store:
        row = store.run(store.resolve(prefix))
        refuse_elsewhere(workspace, [row])
        if row.status not in RESUMABLE:
            raise Refused([f"{row.id}: is {row.status}; only stopped, failed and lost runs can be resumed"])
        refuse_unwritable(workspace, [row])
        refuse_living(workspace, [row])
        config, _ = usable_config(workspace.run_dir(row.id))
        check_runnable(config)
        check_data(config, workspace, workspace.run_dir(row.id))
        if config.executor == "slurm":
            requeue(workspace, store, [row])
            wish(store, "run", row.id, on_end)
            tell_queued(workspace, [card_of(store.run(row.id))], as_json)
            return 0
        if not store.queue.take(row.id, identify(), RESUMABLE):
            raise Refused([f"{row.id}: has just been started by somebody else"])
        wish(store, "run", row.id, on_end)
        if others := taken_over(workspace.run_dir(row.id)):
            notices.say(others)
        if any(other.after == row.id for other in store.queue.waiting()):
            with contextlib.suppress(OSError):
                ensure_agent(workspace)  # none stays for what waits for a stopped run
        return follow(workspace, store, row.id, as_json)


def check_data(
    config: RunConfig, workspace: Workspace, run: RunDir | None = None, row: RunRow | None = None
) -> None:
    """`engine.requests.checking.check_data` with a progress bar; its notes are told."""
    if row is not None and has_relative_classes(row):
        notices.say(f"class set of {row.id}: {config.data.classes}")
    with progress_bar(f"reading {TASKS[config.task].reads}") as report:
        notes = checking.check_data(config, workspace, Log(report, notices.print), run, row)
    tell_notes(notes)


def tell_notes(notes: Sequence[str]) -> None:
    """Say what is left out of the data, or read otherwise than its name says."""
    for note in notes:
        notices.note(note)


def follow(workspace: Workspace, store: Store, run_id: str, as_json: bool) -> int:
    """Run the worker under a display; the first Ctrl-C saves and stops, the second kills."""
    config = workspace.run_dir(run_id).read_config()
    row = store.run(run_id)
    display = UntilNobodyReads(choose_display(as_json, row, config))
    switch = StopSwitch()

    def interrupt(number: int, frame: FrameType | None) -> None:
        switch.press()
        display.interrupted(switch.pressed)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with display:
            end = follow_run(store, workspace, run_id, display.show, switch, notices.say)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    display.ended(end, store, workspace.run_dir(run_id))
    notify_terminal(workspace, end)
    tell_ends(workspace, store)
    if end.cause == "preempted" and not store.run(run_id).ended:
        tell_queued(workspace, [card_of(end)], as_json)
    return EXIT_BY_STATUS.get(end.status, 1)


def choose_display(as_json: bool, row: RunRow, config: RunConfig) -> Display:
    if as_json:
        return JsonDisplay(row)
    return LiveDisplay(row, config) if notices.is_terminal else PlainDisplay(row, config)
