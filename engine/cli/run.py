"""`seg-engine run` and `seg-engine resume`: one run in the foreground, from its config to its scores."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from engine.agent.devices import cuda_devices
from engine.agent.executors.local import is_held
from engine.agent.foreground import StopSwitch, follow_run
from engine.cli.console import notices, progress_bar
from engine.cli.display import Display, JsonDisplay, LiveDisplay, PlainDisplay
from engine.cli.queue import Place, enqueue, tell_queued
from engine.cli.reading import open_existing
from engine.config import RunConfig
from engine.config_keys import ConfigError, load_config, parse_assignments, with_values
from engine.data.dataset import open_dataset
from engine.processes import identify, is_alive
from engine.recipes import RECIPES, get_recipe
from engine.rundir import RunCard, new_run_id
from engine.store import RunRow, Store
from engine.store.cards import card_of
from engine.workspace import Workspace

EXIT_BY_STATUS = {"finished": 0, "stopped": 3}
RESUMABLE = ("stopped", "failed", "lost")


def run(
    workspace: Workspace,
    target: str,
    assignments: Sequence[str],
    data: Path | None,
    name: str,
    experiment: str,
    tags: Sequence[str],
    note: str,
    as_json: bool,
    place: Place | None = None,
) -> int:
    """Check everything, make the run, follow it to its end; returns the exit status.

    With a `place` the run goes into the queue instead, for an agent to start.
    """
    config = resolve_config(target, assignments, data)
    check_hardware(config)
    check_data(config, workspace)
    card = RunCard(
        id=new_run_id(),
        name=name or default_name(config),
        experiment=experiment,
        created=time.time(),
        tags=tuple(dict.fromkeys(tags)),
        note=note,
    )
    with workspace.open_store() as store:
        if place is not None:
            enqueue(workspace, store, card, config, place)
            tell_queued(workspace, [card], as_json)
            return 0
        return start_here(workspace, store, card, config, as_json)


def start_here(workspace: Workspace, store: Store, card: RunCard, config: RunConfig, as_json: bool) -> int:
    """Make a run past the queue and follow it to its end; returns the exit status."""
    card = replace(card, queued_for=0)
    workspace.run_dir(card.id).create(card, config)
    store.create_run(card, config, "starting", owner=identify())
    return follow(workspace, store, card.id, as_json)


def resume(workspace: Workspace, prefix: str, as_json: bool) -> int:
    """Go on with a run that stopped, failed or was lost, as the same run; returns the exit status."""
    with open_existing(workspace) as store:
        row = store.run(store.resolve(prefix))
        if row.status not in RESUMABLE:
            raise ConfigError([f"{row.id}: is {row.status}; only stopped, failed and lost runs resume"])
        refuse_living(workspace, row)
        config = workspace.run_dir(row.id).read_config()
        check_hardware(config)
        check_data(config, workspace)
        if not store.take(row.id, identify(), RESUMABLE):
            raise ConfigError([f"{row.id}: was started by somebody else just now"])
        return follow(workspace, store, row.id, as_json)


def refuse_living(workspace: Workspace, row: RunRow) -> None:
    """Raises ConfigError when a worker of the run lives on this machine, whatever its status says."""
    run = workspace.run_dir(row.id)
    process = run.read_proc()
    if is_held(run) or (process is not None and is_alive(process)):
        pid = f" (process {process.pid})" if process is not None else ""
        raise ConfigError([f"{row.id}: is {row.status}, but its worker still lives{pid}; try again later"])


def resolve_config(target: str, assignments: Sequence[str], data: Path | None) -> RunConfig:
    """A recipe's name or a TOML file, with `key=value` changes. Raises ConfigError and UnknownRecipe."""
    values = parse_assignments(assignments)
    if data is not None:
        values["data.root"] = str(data)
    config = with_values(base_config(target), values)
    if not config.data.root:
        raise ConfigError(["data.root: is not set; --data FOLDER names the folder of the data set"])
    root = Path(config.data.root).expanduser().absolute()
    return with_values(config, {"data.root": str(root)})


def base_config(target: str) -> RunConfig:
    """A recipe by name, or the config in a TOML file. Raises ConfigError and UnknownRecipe."""
    path = Path(target)
    if target not in RECIPES and (path.suffix == ".toml" or path.is_file()):
        return load_config(path)
    return get_recipe(target)


def check_hardware(config: RunConfig) -> None:
    """Refuse a device that this machine lacks, asked of the driver itself. Raises ConfigError."""
    if not config.device.startswith("cuda"):
        if config.device == "cpu" and config.precision == "fp16":
            raise ConfigError(["precision: fp16 needs CUDA; on the CPU it must be auto, bf16 or fp32"])
        return
    count, index = cuda_devices(), int(config.device.partition(":")[2] or 0)
    if index >= count:
        raise ConfigError(
            [f"device: {config.device} is not here: {count} CUDA devices are; device=cpu or auto works"]
        )


def check_data(config: RunConfig, workspace: Workspace) -> None:
    """Find, check and cache the data before a run is made. Raises DataError."""
    with progress_bar("reading images") as report:
        data = open_dataset(config.data, workspace.cache, report, lambda line: notices.print(line))
    if data.skipped:
        notices.print(f"{len(data.skipped)} faulty images or labels are left out, as asked (data.skip_bad)")


def default_name(config: RunConfig) -> str:
    return config.recipe or f"{config.model.name}-{config.data.size[0]}x{config.data.size[1]}"


def follow(workspace: Workspace, store: Store, run_id: str, as_json: bool) -> int:
    """Run the worker under a display; the first Ctrl-C saves and stops, the second kills."""
    config = workspace.run_dir(run_id).read_config()
    row = store.run(run_id)
    display = choose_display(as_json, row, config)
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
    if end.cause == "preempted" and not store.run(run_id).ended:
        tell_queued(workspace, [card_of(end)], as_json)
    return EXIT_BY_STATUS.get(end.status, 1)


def choose_display(as_json: bool, row: RunRow, config: RunConfig) -> Display:
    if as_json:
        return JsonDisplay(row)
    return LiveDisplay(row, config) if notices.is_terminal else PlainDisplay(row, config)
