"""The checkpoint that a key of a config names as a run or a path.

The worker knows its run directory and no database. So what people type, a run or a path, is made into the
path of a checkpoint before the config is frozen: relative to the run's folder where it lies in the same
workspace, which can then be moved, absolute for any other file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from engine.config.keys import ConfigError
from engine.host.input_files import InputFileError, refuse_irregular
from engine.requests.refusals import RESUMABLE
from engine.run.checkpoint_file import CheckpointError
from engine.run.directory import RunDir
from engine.run.files import expanded
from engine.run.freed import when_freed
from engine.run.weight_kinds import SUFFIXES, kind_of_weights
from engine.store import Store, StoreError
from engine.typed import typed
from engine.workspace import Workspace

BEST, LAST = "best.pt", "last.pt"

_PATH_STARTS = ("/", "./", "../", "~")
"""What a path begins with, whatever its end, and no name of a run does."""

_SETTLED = re.compile(r"\.\./([a-z0-9]{8})/checkpoints/[\w.-]+\.pt")


@dataclass(frozen=True)
class Source:
    """A checkpoint and the folder of the run that it is of, which need not be one of the workspace. `written`
    is its path as a config has it."""

    run: RunDir
    path: Path
    written: str

    @property
    def is_of_workspace(self) -> bool:
        return self.written.startswith("../")


def find_source(workspace: Workspace, store: Store, key: str, given: str, waits_for: str = "") -> Source:
    """What the value of `key` means. A run stands for its best checkpoint, or its last where it has no best.

    The checkpoint of `waits_for`, the run that has to finish first, need not be there yet. Raises ConfigError
    when there is no such run or checkpoint.
    """
    settled = _SETTLED.fullmatch(given)
    if is_run_name(given):
        try:
            run = workspace.run_dir(store.resolve(given))
        except StoreError as error:
            raise ConfigError([f"{key}: {error}"]) from error
        path = _best_of(run, store, key, waits_for)
    else:
        path = workspace.runs / settled[0].removeprefix("../") if settled else expanded(Path(given))
        path = path.absolute()
        run = workspace.run_dir(settled[1]) if settled else RunDir(path.parent.parent)
        if path.exists() or path.is_symlink():
            _refuse_unreadable(path, key, is_of_run=path.is_relative_to(workspace.runs))
        elif freed := when_freed(run, f"checkpoints/{path.name}"):
            raise ConfigError([f"{key}: `seg-engine clean` removed {path} on {freed}"])
        elif not waits_for or run.id != waits_for:  # a file just below / lies in no folder with a name
            raise ConfigError([f"{key}: {path} is not there; it must be a run or a file of weights"])
    within = path.is_relative_to(workspace.runs)
    return Source(run, path, f"../{path.relative_to(workspace.runs)}" if within else str(path))


def is_run_name(given: str) -> bool:
    """Whether a value is a run as people call it, not a path."""
    return bool(given) and not given.lower().endswith(SUFFIXES) and not given.startswith(_PATH_STARTS)


def _refuse_unreadable(path: Path, key: str, is_of_run: bool) -> None:
    """Raises ConfigError for what is no regular file and, unless it is a run's own, for what its first bytes
    say is not a file of weights that can be read."""
    try:
        refuse_irregular(path)
        if not is_of_run:
            kind_of_weights(path)
    except (InputFileError, CheckpointError) as error:
        raise ConfigError([f"{key}: {error}"]) from error


def _best_of(run: RunDir, store: Store, key: str, waits_for: str) -> Path:
    """The checkpoint that a run stands for; best.pt for a run that has yet to finish."""
    row = store.run(run.id)
    status = row.status
    if run.id == waits_for and status != "finished":
        return run.checkpoints / BEST
    for name in (BEST, LAST):
        if (run.checkpoints / name).is_file():
            return run.checkpoints / name
    help_ = ""
    if not row.ended:
        help_ = f"; with --queue --after {run.id} a run waits for it"
    elif status in RESUMABLE:
        help_ = f"; `{typed('resume', run.id)}` goes on with it"
    raise ConfigError([f"{key}: {run.id} is {status} and has no checkpoint{help_}"])
