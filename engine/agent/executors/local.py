"""The local executor: a worker is a subprocess of this machine."""

from __future__ import annotations

import fcntl
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

from engine.host.processes import CORES_VARIABLE, python_command, python_environment
from engine.run.directory import RUN_VARIABLE, RunDir, RunDirError
from engine.run.files import open_shared
from engine.workspace import DATABASE_VARIABLE

LOCK_SECONDS = 1.0
"""How long a start waits for those who only look whether the log is held."""


class StillHeld(RunDirError):
    """An earlier worker of the run, or a child of it, still lives."""


def environment_of_workers() -> dict[str, str]:
    """This process's own but for the address of a database server, which may hold a password: workers know of
    no database, and on a cluster their environment can be read by others."""
    return {name: value for name, value in python_environment().items() if name != DATABASE_VARIABLE}


def start_worker(
    run: RunDir, cache_dir: Path, visible_device: str | None = None, cores: int | None = None
) -> subprocess.Popen[bytes]:
    """Start the worker of a run in a session of its own, its output appended to log.txt.

    In its own session it meets neither the terminal's Ctrl-C nor its hang-up: whoever starts a run may leave.
    `visible_device` is the one CUDA device that it gets to see, `cores` how many of the cores it takes unless
    its config says otherwise. The log is locked, and the worker and its children inherit the lock with the
    open file: the kernel itself says whether any of them lives, also before the worker has come up and after
    it was killed. Raises StillHeld when one does, RunDirError where this user may not write the folder,
    OSError when it cannot be written.
    """
    environment = {**environment_of_workers(), "PYTHONUNBUFFERED": "1", RUN_VARIABLE: str(run.path)}
    if visible_device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible_device
    if cores is not None:
        environment[CORES_VARIABLE] = str(cores)
    if why := run.why_unwritable():
        raise RunDirError(why)
    with open(run.log, "ab", opener=open_shared) as log:
        _lock(run, log)
        # What it says of an earlier attempt would be taken for this one's until the worker has come up.
        run.proc_file.unlink(missing_ok=True)
        return subprocess.Popen(
            python_command("engine.worker", str(run.path), "--cache", str(cache_dir)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )


def is_held(run: RunDir) -> bool:
    """Whether a worker of the run, or a child of one, lives on this machine."""
    try:
        with open(run.log, "rb") as log:
            fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # no log: nothing was ever started
    return False


def _lock(run: RunDir, log: BinaryIO) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StillHeld(f"{run.id}: an earlier worker is still running; try again later") from None
            time.sleep(0.02)
