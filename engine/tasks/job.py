"""What every task is given: its run directory, its config, its journal and word of a stop."""

from __future__ import annotations

import math
import os
import platform
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import torch

from engine.config import RunConfig
from engine.journal import AnyEvent, JournalWriter, Progress, Started, Warned
from engine.learning.hardware import Hardware
from engine.rundir import RunDir

PROGRESS_SECONDS = 0.5
"""Shortest time between two progress events: nobody reads faster, and each waits for the GPU."""


class StopRequested(Exception):
    """Somebody asked the run to stop and the step under way is done. `cause`: stopped or preempted."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Diverged(Exception):
    """The loss is no longer a finite number."""


@dataclass
class Job:
    """One attempt at one run."""

    run: RunDir
    config: RunConfig
    journal: JournalWriter
    cache_dir: Path
    begun: float = field(default_factory=time.monotonic)
    """When the worker came up, on the monotonic clock."""
    import_seconds: float = 0.0
    first_step_seconds: float | None = None
    """From `begun` to the end of the first step, the device's work not waited for."""
    stop_causes: list[str] = field(default_factory=list)
    """Filled by the worker's signal handlers with "stopped" or "preempted"."""
    epochs_done: int = 0
    """Complete epochs that a checkpoint or the journal holds; what a stop reports."""
    _last_progress: float = field(default=-math.inf, repr=False)

    def record(self, event: AnyEvent) -> None:
        self.journal.write(event)

    def say(self, line: str) -> None:
        """A line for log.txt, where the worker's output goes."""
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)

    def warn(self, message: str) -> None:
        """A warning in the log and on the record."""
        self.say(f"warning: {message}")
        self.record(Warned(message=message))

    def progress_is_due(self) -> bool:
        return time.monotonic() - self._last_progress >= PROGRESS_SECONDS

    def report(self, progress: Progress) -> None:
        self._last_progress = time.monotonic()
        self.record(progress)

    def step_done(self) -> None:
        if self.first_step_seconds is None:
            self.first_step_seconds = round(time.monotonic() - self.begun, 3)

    def check_stop(self) -> None:
        """Raise StopRequested when a stop was asked for."""
        if self.stop_causes:
            raise StopRequested(self.stop_causes[0])


def record_start(job: Job, hardware: Hardware, resumed_from_epoch: int) -> None:
    """Say who computes, where and with what."""
    job.record(
        Started(
            host=socket.gethostname(),
            pid=os.getpid(),
            device=str(hardware.device),
            device_name=hardware.name,
            precision=hardware.precision,
            threads=torch.get_num_threads(),
            versions={
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": numpy.__version__,
            },
            import_seconds=round(job.import_seconds, 3),
            resumed_from_epoch=resumed_from_epoch,
        )
    )
    job.say(f"attempt {job.journal.attempt} on {hardware.name} ({hardware.device}), {hardware.precision}")
