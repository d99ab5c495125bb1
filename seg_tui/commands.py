"""Commands of `seg-engine` that are asked for from the dashboard: runs that look at a network, and sweeps.
Whatever the command line can be told can be told here, and it answers in its own words.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import EngineError
from engine.exits import FAULT
from engine.host.processes import python_command, python_environment
from engine.plugins import loaded_plugins
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.store import Store
    from seg_tui.changes import Undo


@dataclass(frozen=True)
class EngineCommand:
    """A command that gets a run and more words: `usual` stand in the question, `hint` tells of others."""

    name: str
    usual: str
    hint: str
    added: tuple[str, ...] = ("--queue", "--json")


COMMANDS = {
    command.name: command
    for command in (
        EngineCommand(
            "evaluate",
            "--split val --at original",
            "--split train|val|test  --at input|original  --tta flip,scales  --boundary  --data DIR",
        ),
        EngineCommand("ood", "--pseudo void", "--ood-data DIR, or --pseudo void|held-out  --accept 0.95"),
        EngineCommand("robustness", "--split val", "--split train|val|test  --data DIR"),
        EngineCommand("predict", "", "IMAGES... (files, folders, patterns; or a video)  --out DIR"),
        EngineCommand(
            "sweep",
            "",
            "KEY=VALUES, such as optimizer.lr=0.1,0.01 seed=0..4; add --yes when you know how many",
            ("--json",),
        ),
    )
}


class CommandRefused(EngineError):
    """What the command line said; the message may have several lines."""


class PartlyDone(EngineError):
    """Some of the runs have what was asked for; `left` are the ids of the others, `undo` takes it back."""

    def __init__(self, line: str, left: Sequence[str], undo: Undo | None = None) -> None:
        super().__init__(line)
        self.left, self.undo = tuple(left), undo


def ask_engine(workspace: Workspace, store: Store, ids: Sequence[str], command: str, typed: str) -> str:
    """Give a command each of some runs and what was typed; returns a line on what was queued.

    Raises CommandRefused where it refuses the first of them, PartlyDone where it refuses a later one."""
    about = COMMANDS[command]
    try:
        words = [os.path.expanduser(word) for word in shlex.split(typed)]  # "~" as a shell has it
    except ValueError as error:
        raise CommandRefused(f"{typed!r}: {error}; quotes must be in pairs") from None
    queued: list[str] = []
    notes: dict[str, None] = {}
    for position, run_id in enumerate(ids):
        try:
            names, noted = _told(workspace, [command, run_id, *words, *about.added])
            queued += names
            notes |= dict.fromkeys(noted)
        except CommandRefused as refusal:
            if position == 0:
                raise
            line = f"{position} of {len(ids)} runs: queued; {run_id}: {refusal}"
            raise PartlyDone(line, ids[position:]) from refusal
    told = f"queued: {queued[0]}" if len(queued) == 1 else f"queued: {len(queued)} runs"
    return "\n".join([told, *notes])


def _told(workspace: Workspace, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Run a command to its end, with the plugins that are loaded here; returns the names of the runs that it
    queued, and its notes, a line each."""
    plugins = [word for plugin in loaded_plugins() for word in ("--plugin", str(plugin.path))]
    done = subprocess.run(
        python_command("engine.cli", "--workspace", str(workspace.root), *plugins, *words),
        env=python_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    if done.returncode == FAULT:
        raise RuntimeError(f"seg-engine {shlex.join([*plugins, *words])} failed:\n{done.stderr}")
    if done.returncode:
        said = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.strip()]
        raise CommandRefused("\n".join(said) or f"it ended with exit status {done.returncode}")
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    names = [str(event["name"]) for event in events if event.get("event") == "queued"]
    return names, [line for line in done.stderr.splitlines() if line.startswith("note: ")]
