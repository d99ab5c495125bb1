"""The local executor: a worker is a subprocess of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from engine.rundir import RunDir


def start_worker(run: RunDir, cache_dir: Path) -> subprocess.Popen[bytes]:
    """Start the worker of a run in a session of its own, its output appended to log.txt.

    In its own session it meets neither the terminal's Ctrl-C nor its hang-up: whoever starts a run may leave.
    """
    with open(run.log, "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "engine.worker", str(run.path), "--cache", str(cache_dir)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


def ask_to_stop(worker: subprocess.Popen[bytes]) -> None:
    """Let the worker finish its step and save. The leader alone is told; its children live by it."""
    if worker.poll() is None:
        worker.send_signal(signal.SIGTERM)


def kill(worker: subprocess.Popen[bytes]) -> None:
    """End the worker and its children now."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
