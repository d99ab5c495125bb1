"""Which processes are a run's worker and its children, and the only place that signals them.

`proc.json` is a file that others may write, and a pid in it may by now, or in another container, mean any
process. So it is a hint, and the kernel is the witness: a worker is a process that was started as one for
this very folder, and a child of it has inherited the variable that names the folder. Nothing else is ever
signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from engine.errors import EngineError
from engine.host.processes import (
    ProcessIdentity,
    command_line,
    environment_of,
    is_alive,
    living_pids,
    send_signal,
    session_of,
    user_of,
)
from engine.run.directory import RUN_VARIABLE, RunDir

KILL_SECONDS = 1.0
"""How long SIGKILL is repeated for children that come into being meanwhile, and waited for."""

MODULES = ("engine.worker", "engine.worker.rank")


class CannotSignal(EngineError):
    """A worker that may not or must not be signalled; the message is one line that says why."""


def find_worker(run: RunDir) -> int | None:
    """The pid of the run's worker on this machine, whatever `proc.json` says; None when none is to be seen.

    One of this user comes before one of another, whom anybody may let look like a worker.
    """
    process = run.read_proc()
    if process is not None and is_alive(process) and is_worker(process.pid, run):
        return process.pid
    found = [pid for pid in living_pids() if is_worker(pid, run) and session_of(pid) == pid]
    return min(found, key=lambda pid: (not _is_mine(pid), pid), default=None)


def folder_of(pid: int) -> Path | None:
    """The folder of the run, of whatever workspace, whose worker, rank or child a process says that it is;
    None for others. Nobody vouches for that: it is to be shown, not to be acted on."""
    words = command_line(pid)[1:]
    while words and words[0].startswith("-") and words[0] != "-m":
        words = words[1:]
    if len(words) > 2 and words[0] == "-m" and words[1] in MODULES:
        return Path(words[2])
    folder = environment_of(pid, RUN_VARIABLE)
    return Path(folder) if folder else None


def is_worker(pid: int, run: RunDir) -> bool:
    """Whether a process was started as a worker of this run, in this folder, or is a fork of one."""
    return _runs_module(pid, "engine.worker", run)


def members(run: RunDir) -> Iterator[int]:
    """The run's worker, its ranks and whatever they have started that lives, in no particular order."""
    return (pid for pid in living_pids() if _is_member(pid, run))


def ask_to_stop(run: RunDir, worker: subprocess.Popen[bytes] | None = None) -> int | None:
    """Let the worker finish its step and save; the leader alone is told, as its children live by it.

    `worker` is the handle of whoever has started it. Returns the pid that was told; None when there is none.
    Raises CannotSignal.
    """
    if worker is not None:
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
        return worker.pid
    pid = find_worker(run)
    if pid is None:
        return None
    _send(pid, signal.SIGTERM, run)
    return pid


def kill_worker(run: RunDir, worker: subprocess.Popen[bytes] | None = None) -> None:
    """End the worker and all that it has started, now; also what has outlived it.

    Raises CannotSignal when something of it belongs to another user, after all else has ended.
    """
    if worker is not None and worker.poll() is None:
        worker.kill()
    refusal: CannotSignal | None = None
    deadline = time.monotonic() + KILL_SECONDS
    while True:
        left = 0
        for pid in members(run):
            try:
                _send(pid, signal.SIGKILL, run)
                left += 1
            except CannotSignal as error:
                refusal = error
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    if refusal is not None:
        raise refusal


def kill_leftovers(run: RunDir) -> None:
    """End what has outlived its worker. While a worker of the run lives, nothing is left over.

    Raises CannotSignal for what belongs to another user.
    """
    left = list(members(run))  # before the look for a worker: what one has started since is not among them
    if left and find_worker(run) is None:
        for pid in left:
            _send(pid, signal.SIGKILL, run)


def mistrust(run: RunDir) -> str:
    """What is wrong with `proc.json`, in one line; "" when it names a worker of this run, or one that is
    gone."""
    fault = run.proc_fault()
    process = run.read_proc()
    if fault or process is None or not is_alive(process) or is_worker(process.pid, run):
        return fault
    return f"{run.proc_file}: names {described(process)}, which is not a worker of this run"


def described(process: ProcessIdentity) -> str:
    """A process in a few words."""
    name = Path(next(iter(command_line(process.pid)), "")).name
    return f"process {process.pid}" + (f" ({name})" if name.isprintable() and name else "")


def _send(pid: int, number: signal.Signals, run: RunDir) -> None:
    try:
        send_signal(pid, number, lambda held: _is_member(held, run))
    except PermissionError:
        user = user_of(Path(f"/proc/{pid}")) or "another user"
        raise CannotSignal(
            f"its process {pid} belongs to {user}; {user} can end it with `kill {pid}`"
        ) from None


def _is_member(pid: int, run: RunDir) -> bool:
    if any(_runs_module(pid, module, run) for module in MODULES):
        return True
    folder = environment_of(pid, RUN_VARIABLE)
    return folder is not None and _names(folder, run)


def _names(folder: str, run: RunDir) -> bool:
    """Whether a path is the run's own folder. The name counts, too: a link among the runs is not the run that
    it leads to."""
    if not os.path.isabs(folder) or os.path.basename(folder) != run.id:
        return False
    try:
        return os.path.samefile(folder, run.path)
    except (OSError, ValueError):
        return folder == str(run.path)  # the folder is gone, the worker may not be


def _runs_module(pid: int, module: str, run: RunDir) -> bool:
    """Whether a process is `python [-P ...] -m MODULE FOLDER ...` of the run's folder."""
    words = command_line(pid)[1:]
    while words and words[0].startswith("-") and words[0] != "-m":
        words = words[1:]
    return len(words) > 2 and words[:2] == ["-m", module] and _names(words[2], run)


def _is_mine(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False
