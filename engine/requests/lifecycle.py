"""What people want done: runs queued, stopped, queued again, deleted, tagged, annotated.

Both front ends ask here, so that they refuse the same things in the same words. Nothing is printed, and
nothing but the database and the run's own folder is changed; agents and workers do the rest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.agent.devices import cuda_devices
from engine.agent.executors.local import is_held
from engine.agent.ingest import owner_of
from engine.agent.presence import ensure_agent
from engine.agent.workers import mistrust
from engine.config.keys import ConfigError, load_config, parse_assignments, with_values
from engine.config.recipes import RECIPES, get_recipe
from engine.config.run_config import RunConfig
from engine.config.step_parts import refuse_too_small_parts
from engine.config.task_names import LEARNING_TASKS, MOST_PRIORITY
from engine.data.faults import DataError
from engine.data.frozen_classes import freeze_classes
from engine.errors import EngineError
from engine.host.access import owner_of_path, user_name
from engine.host.input_files import is_text, shown
from engine.host.processes import ProcessIdentity, is_alive
from engine.plugins import with_loaded
from engine.requests.initial_weights import pretraining_card, pretraining_of, settle_source, starting_from
from engine.run import deletion
from engine.run.deletion import (
    NotRemovable,
    hide,
    left_behind,
    remove_hidden,
    unhide,
    why_undeletable,
)
from engine.run.directory import RunCard, RunDir, RunDirError
from engine.run.files import absolute
from engine.store import END_STATUSES, RunRow, RunSummary, Store, StoreError
from engine.store.cards import keep_card
from engine.visible import SEVERAL_LINES, is_one_line, text_problem
from engine.workspace import Workspace

STOPPABLE = ("queued", "starting", "running", "stopping")
RESUMABLE = ("stopped", "failed", "lost")
DELETABLE = (*END_STATUSES, "queued")
HOPELESS = ("failed", "lost")

LEAVING_SECONDS = 5.0
"""How long a worker whose run has ended may take to be gone, before it counts as living on."""


class Refused(EngineError, ValueError):
    """What was wanted cannot be done to these runs. `problems` holds one line for each."""


@dataclass(frozen=True)
class Place:
    """Where in the queue a run goes. `after` names the run that must finish first, as a person types it."""

    priority: int = 0
    after: str = ""


# ---------------------------------------------------------------------- configs


def resolve_config(target: str, assignments: Sequence[str], data: Path | None) -> RunConfig:
    """A recipe's name or a TOML file, with `key=value` changes. Raises ConfigError and UnknownRecipe."""
    values = parse_assignments(assignments)
    if data is not None:
        values["data.root"] = str(data)
    return with_data_root(with_values(base_config(target), values))


def with_data_root(config: RunConfig) -> RunConfig:
    """The config with the folder of its data made absolute and its class set written out.

    Raises ConfigError when it names no folder, or a class set that cannot be read.
    """
    if not config.data.root:
        raise ConfigError(["data.root: is not set; --data FOLDER names the folder of the data set"])
    root = absolute(config.data.root)
    if str(root) != config.data.root:
        config = with_values(config, {"data.root": str(root)})
    return freeze_classes(config)


def base_config(target: str) -> RunConfig:
    """A recipe by name, or the config in a TOML file. Raises ConfigError and UnknownRecipe."""
    path = Path(target)
    if target not in RECIPES and (path.suffix == ".toml" or path.is_file()):
        return load_config(path)
    return get_recipe(target)


def check_hardware(config: RunConfig) -> None:
    """Refuse a device that this machine lacks, asked of the driver itself; what a cluster has is its own
    matter. Raises ConfigError."""
    if config.executor == "slurm":
        if shutil.which("sbatch") is None:
            raise ConfigError(["executor: slurm needs a machine with Slurm's commands; sbatch is not here"])
        return
    if config.device == "cpu" and config.precision == "fp16":
        raise ConfigError(["precision: fp16 needs CUDA; on the CPU it must be auto, bf16 or fp32"])
    several = config.devices not in ("1", "auto")
    if config.device == "cpu" or (config.device == "auto" and not several):
        return
    count, index = cuda_devices(), int(config.device.partition(":")[2] or 0)
    if several and int(config.devices) > count > 0:
        raise ConfigError([f"devices: {config.devices} are asked for: {count} CUDA devices are here"])
    if config.device != "auto" and index >= count:
        raise ConfigError(
            [f"device: {config.device} is not here: {count} CUDA devices are; device=cpu or auto works"]
        )


def check_steps(config: RunConfig, images: int | None = None) -> None:
    """Refuse a run with a step that its network cannot train on; `images` train, None: not known yet. Raises
    ConfigError."""
    if config.task not in LEARNING_TASKS:
        return
    if config.devices != "auto":
        ranks = int(config.devices)
    elif config.executor == "slurm":
        ranks = max(1, config.slurm.gpus)
    else:
        ranks = 1 if config.device == "cpu" else max(1, cuda_devices())
    refuse_too_small_parts(config, images, ranks)


def default_name(config: RunConfig) -> str:
    """What a run is called when nobody says it: its recipe, or its network and size."""
    name = config.recipe or f"{config.model.name}-{config.data.size[0]}x{config.data.size[1]}"
    return name if config.task == "train" else f"{name} {config.task}"


# ---------------------------------------------------------------------- the queue


def predecessor(store: Store, place: Place) -> str:
    """The id of the run to wait for, "" for none. Raises Refused when it can never finish."""
    if not place.after:
        return ""
    row = store.run(store.resolve(place.after))
    if row.status in HOPELESS:
        raise Refused(
            [f"--after {place.after}: {row.id} is {row.status}; `seg-engine requeue {row.id}` first"]
        )
    return row.id


def enqueue(
    workspace: Workspace,
    store: Store,
    card: RunCard,
    config: RunConfig,
    place: Place,
    pretrained: dict[RunConfig, str] | None = None,
) -> list[RunCard]:
    """Make a run that an agent will start; `ensure_agent` sees to it that there is one.

    A run that wants pre-training has that run queued before it. Runs that are queued together share
    `pretrained`, by config the id of each pre-training run, so that none is made twice. Returns the cards of
    the runs that were made, in the order in which they will start.
    """
    if config.slurm.dry_run:
        raise ConfigError(["slurm.dry_run: is for `seg-engine run` and `sweep`; it must be false here"])
    after = predecessor(store, place)
    config = settle_source(workspace, store, config, waits_for=after)
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
        make_run(workspace, store, card, config)
    return [*made, card]


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
) -> None:
    """Make a run, its folder and its row or neither: queued, or for `owner` to start at once.

    Its class set is written out, if nobody has done so yet. Raises ConfigError when that cannot be read,
    Refused and RunDirError for a card that no run can have, StoreError, and OSError when the disk refuses it.
    """
    refuse_unkeepable(name=card.name, experiment=card.experiment, tag=card.tags, note=card.note)
    for what, text in (("name", card.name), ("experiment", card.experiment)):
        if not is_one_line(text):
            raise Refused([f"{what}: {text!r} {SEVERAL_LINES}"])
        if not text.strip():
            raise Refused([f"{what}: is empty; it must have a letter or a digit"])
    if abs(card.priority) > MOST_PRIORITY:
        raise Refused([f"priority: {card.priority} is not allowed; it must be at most {MOST_PRIORITY}"])
    config = with_loaded(freeze_classes(config))
    if strange := _unstorable(config.model_dump()):
        raise Refused([f"{strange[0]}: {shown(strange[1])} is no UTF-8, which a config needs"])
    run = workspace.run_dir(card.id)
    run.create(card, config)
    try:
        store.lifecycle.create(card, config, "queued" if owner is None else "starting", owner)
    except BaseException:
        remove_folder(run)
        raise


def _unstorable(value: Any, key: str = "") -> tuple[str, str] | None:
    """The first text of a config that is no UTF-8, such as the name of a file, with its key."""
    if isinstance(value, str):
        return None if is_text(value) else (key, value)
    if isinstance(value, Mapping):
        parts = [(f"{key}.{name}" if key else str(name), part) for name, part in value.items()]
    else:
        parts = [(key, part) for part in value] if isinstance(value, list | tuple) else []
    return next((found for name, part in parts if (found := _unstorable(part, name))), None)


def refuse_unkeepable(**texts: str | Iterable[str]) -> None:
    """Raises Refused when words by which people call a run hold what no database can keep."""
    problems = [
        f"{what}: {text!r} {problem}"
        for what, given in texts.items()
        for text in ([given] if isinstance(given, str) else given)
        if (problem := text_problem(text))
    ]
    if problems:
        raise Refused(problems)


def stop(workspace: Workspace, store: Store, rows: Sequence[RunRow]) -> list[str]:
    """Let runs end their step and save; queued ones leave the queue.

    Returns what became of each: `stopped`, `stopping`, or `ended` by itself meanwhile. Raises Refused, and
    stops none, when one is over or nobody who may stop it would hear of it.
    """
    refuse_others([row for row in rows if row.cause != "preempted"], STOPPABLE, "is over")
    refuse_foreign_workers(workspace, rows)
    fates = [_stop(workspace, store, row.id) for row in rows]
    owners = [owner_of(row) for row in (store.run(row.id) for row in rows) if not row.ended]
    if any(owner is None or is_alive(owner) is False for owner in owners):
        ensure_agent(workspace)  # nobody else would pass the wish on
    return fates


def _stop(workspace: Workspace, store: Store, run_id: str) -> str:
    while True:
        if store.lifecycle.set_status(run_id, "stopped", "stopped", expect=("queued",)):
            keep_card(store, workspace.run_dir(run_id))
            return "stopped"
        if store.lifecycle.set_status(run_id, "stopping", expect=("starting", "running", "stopping")):
            return "stopping"
        row = store.run(run_id)
        if (row.status, row.cause) != ("stopped", "preempted"):
            return "ended"
        if store.lifecycle.set_status(run_id, "stopped", "stopped", seen=row):
            return "stopped"  # before somebody queues it again


def requeue(workspace: Workspace, store: Store, rows: Sequence[RunRow], priority: int | None = None) -> None:
    """Queue runs that stopped, failed or were lost; they go on from their last checkpoint. `ensure_agent`
    sees to it that somebody starts them.

    Raises Refused, and queues none, when one is of another status, its worker still lives or its data is not
    there.
    """
    refuse_elsewhere(workspace, rows)
    refuse_others(rows, RESUMABLE, "only stopped, failed and lost runs are queued again")
    refuse_unwritable(workspace, rows)
    refuse_living(workspace, rows)
    refuse_without_data(workspace, rows)
    for row in rows:
        if priority is not None:
            store.queue.set_place(row.id, priority=priority)
        store.lifecycle.set_status(row.id, "queued", expect=RESUMABLE)
        keep_card(store, workspace.run_dir(row.id))


def set_place(
    workspace: Workspace,
    store: Store,
    rows: Sequence[RunRow],
    priority: int | None = None,
    paused: bool | None = None,
) -> list[RunRow]:
    """Change the places of queued runs; None leaves a part as it is. A higher priority starts first, a paused
    one not at all.

    Returns those whose folder does not keep it. Raises Refused, and changes none, when one is not queued.
    """
    problems = [f"{row.id}: is {row.status}, not queued" for row in rows if row.status != "queued"]
    if problems:
        raise Refused(problems)
    for row in rows:
        store.queue.set_place(row.id, priority=priority, paused=paused)
    return [row for row in rows if not keep_card(store, workspace.run_dir(row.id))]


# ---------------------------------------------------------------------- what people call a run


def set_tags(workspace: Workspace, store: Store, run_id: str, tags: Iterable[str]) -> bool:
    """Replace a run's tags; returns whether its folder keeps them, too. Raises Refused, StoreError."""
    tags = tuple(tags)
    refuse_unkeepable(tag=tags)
    store.lifecycle.update_card(run_id, tags=tags)
    return keep_card(store, workspace.run_dir(run_id))


def set_note(workspace: Workspace, store: Store, run_id: str, note: str) -> bool:
    """Replace a run's note, "" removes it; returns whether its folder keeps it, too."""
    refuse_unkeepable(note=note)
    store.lifecycle.update_card(run_id, note=note)
    return keep_card(store, workspace.run_dir(run_id))


# ---------------------------------------------------------------------- the end of a run


def refuse_undeletable(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when one of the runs lives, lies elsewhere, or has a folder that cannot be removed."""
    refuse_elsewhere(workspace, rows)
    refuse_active(rows)
    _refuse_by_folder(workspace, rows, why_undeletable)
    refuse_living(workspace, rows)


def refuse_active(rows: Sequence[RunRow | RunSummary]) -> None:
    """Raises Refused when one of the runs has a worker, as far as its status says."""
    refuse_others(rows, DELETABLE, "`seg-engine stop` it first")


def delete(workspace: Workspace, store: Store, row: RunRow) -> None:
    """Remove a run with its files and rows, never a living one. Raises Refused.

    The row goes, and the folder gets a hidden name, in one step: no agent can start what is about to lose its
    files, and whatever fails by then leaves both. `finish_deletions` ends what a crash interrupts.
    """
    refuse_undeletable(workspace, [row])
    run = workspace.run_dir(row.id)
    hidden: list[Path] = []
    try:
        gone = store.lifecycle.delete(row.id, expect=DELETABLE, with_it=lambda: hidden.extend(hide(run)))
    except BaseException as error:
        for path in hidden:
            unhide(path)
        if isinstance(error, OSError | NotRemovable):
            raise Refused([f"{row.id}: its folder {run.path} cannot be removed: {error}"]) from error
        raise
    if not gone:
        raise Refused([f"{row.id}: was started just now and is kept"])
    for path in hidden:
        try:
            remove_hidden(path)
        except (OSError, NotRemovable) as error:
            what = f"{row.id}: its rows are deleted, but not all of its files: {error}"
            raise Refused([f"{what}; `seg-engine db check --fix` tries the rest again"]) from error


def remove_folder(run: RunDir) -> None:
    """Remove the folder of a run that has no row. What cannot be removed stays under a hidden name."""
    with contextlib.suppress(OSError, NotRemovable):
        for path in hide(run):
            remove_hidden(path)


def finish_deletions(workspace: Workspace, store: Store) -> list[str]:
    """Finish what interrupted deletions have left in the workspace, or undo it where the run still has its
    row; returns a line for what stays."""
    if not left_behind(workspace.runs):
        return []
    with store.lifecycle.list_held() as is_known:
        return deletion.finish(workspace.runs, is_known)


def refuse_others(rows: Sequence[RunRow | RunSummary], statuses: Sequence[str], otherwise: str) -> None:
    """Raises Refused when one has none of `statuses`."""
    problems = [f"{row.id}: is {row.status}; {otherwise}" for row in rows if row.status not in statuses]
    if problems:
        raise Refused(problems)


def refuse_elsewhere(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when the folder of one is in another workspace that shares the database."""
    here = workspace.identity() if workspace.on_server else ""
    problems = [
        f"{row.id}: its folder is in the workspace {row.workspace}; do that there"
        for row in rows
        if row.workspace != here
    ]
    if problems:
        raise Refused(problems)


def refuse_unwritable(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when one is a run that this user cannot work on, with whose it is."""
    _refuse_by_folder(workspace, rows, RunDir.why_unwritable)


def _refuse_by_folder(workspace: Workspace, rows: Sequence[RunRow], why_not: Callable[[RunDir], str]) -> None:
    problems = []
    for run in (workspace.run_dir(row.id) for row in rows):
        if why := why_not(run):
            whose = f"is {run.owner}'s run: " if run.owner else ""
            problems.append(f"{run.id}: {whose}{why}")
    if problems:
        raise Refused(problems)


def refuse_foreign_workers(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when the worker of one is another user's and no living agent would pass a stop on."""
    problems = []
    for row in rows:
        owner, process = owner_of(row), workspace.run_dir(row.id).read_proc()
        if row.status not in ("starting", "running", "stopping") or process is None or not is_alive(process):
            continue
        uid = owner_of_path(Path(f"/proc/{process.pid}"))
        if uid in (None, os.geteuid()) or os.geteuid() == 0 or (owner is not None and is_alive(owner)):
            continue
        name = user_name(uid)
        problems.append(
            f"{row.id}: its worker (process {process.pid}) belongs to {name} and no agent looks after it; "
            f"{name} has to stop it"
        )
    if problems:
        raise Refused(problems)


def refuse_without_data(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when the data of one is not there any more, as far as its folders tell."""
    from engine.data.still_there import refuse_lost_data  # the list of runs needs nothing of it

    problems = []
    for run in (workspace.run_dir(row.id) for row in rows):
        try:
            config = run.read_config()
            if config.data.root:
                refuse_lost_data(config, run)
        except (DataError, RunDirError) as error:
            problems.append(f"{run.id}: {error}")
    if problems:
        raise Refused(problems)


def taken_over(run: RunDir) -> str:
    """What to say of a run of somebody else's that this user goes on with; "" of one's own."""
    if not run.owner:
        return ""
    return f"{run.id} is {run.owner}'s run; it goes on as {user_name()}, who will own the files it makes"


def refuse_living(workspace: Workspace, rows: Sequence[RunRow]) -> None:
    """Raises Refused when a worker of one lives on this machine, whatever its status says.

    A run's end is in its journal before its worker has let go of everything; that may take LEAVING_SECONDS.
    """
    deadline = time.monotonic() + LEAVING_SECONDS
    while (problems := _living(workspace, rows)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if problems:
        raise Refused(problems)


def _living(workspace: Workspace, rows: Sequence[RunRow]) -> list[str]:
    """One line for each run that has a worker, or a child of one, on this machine."""
    problems = []
    for row in rows:
        run = workspace.run_dir(row.id)
        process = run.read_proc()
        if is_held(run) or (process is not None and is_alive(process)):
            pid = f" (process {process.pid})" if process is not None else ""
            doubt = "" if is_held(run) else mistrust(run)
            advice = f"{doubt}; remove that file if no worker is left" if doubt else "try again later"
            problems.append(f"{row.id}: is {row.status}, but its worker still lives{pid}; {advice}")
    return problems
