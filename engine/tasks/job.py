"""What every task is given: its run directory, its config, its journal and word of a stop."""

from __future__ import annotations

import math
import os
import platform
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy
import torch

from engine.config import RunConfig
from engine.journal import AnyEvent, JournalError, JournalWriter, Progress, Started, Warned
from engine.learning.hardware import Hardware
from engine.rundir import RunDir
from engine.tasks.log import say

PROGRESS_SECONDS = 0.5
"""Shortest time between two progress events: nobody reads faster, and each waits for the GPU."""


StopCause = Literal["stopped", "preempted", "timeout"]


class StopRequested(Exception):
    """The run is to end before its time, and the step under way is done.

    `cause`: somebody asked (stopped), somebody needs the machine (preempted), limits.hours is over (timeout).
    """

    def __init__(self, cause: StopCause) -> None:
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
    stop_causes: list[StopCause] = field(default_factory=list)
    """Filled by the worker's signal handlers with "stopped" or "preempted"."""
    epochs_done: int = 0
    """Complete epochs that a checkpoint or the journal holds; what a stop reports."""
    classes: int = 0
    """How many the data has; 0 until it is open."""
    train_images: int = 0
    data_bytes: int = 0
    """Size of all caches that the run reads."""
    _last_progress: float = field(default=-math.inf, repr=False)
    _progress_lost: bool = field(default=False, repr=False)

    def record(self, event: AnyEvent) -> None:
        """Append to the journal. Raises JournalError when the disk refuses it: no result is lost silently."""
        try:
            self.journal.write(event)
        except OSError as error:
            raise JournalError(f"{self.run.journal}: cannot be written: {error.strerror}") from error

    def say(self, line: str) -> None:
        """A line for log.txt."""
        say(line)

    def warn(self, message: str) -> None:
        """A warning in the log and on the record."""
        self.say(f"warning: {message}")
        self.record(Warned(message=message))

    def progress_is_due(self) -> bool:
        return time.monotonic() - self._last_progress >= PROGRESS_SECONDS

    def report(self, progress: Progress) -> None:
        """Record where the run is. On a full disk the word is lost and the run goes on."""
        self._last_progress = time.monotonic()
        try:
            self.journal.write(progress)
        except OSError as error:
            if not self._progress_lost:
                self.say(f"warning: progress cannot be recorded: {error.strerror}")
            self._progress_lost = True

    def step_done(self) -> None:
        if self.first_step_seconds is None:
            self.first_step_seconds = round(time.monotonic() - self.begun, 3)

    def check_stop(self) -> None:
        """Raise StopRequested when a stop was asked for or the attempt has had its time."""
        if self.stop_causes:
            # Who asked for a stop wants no new attempt, whoever else needs the machine.
            raise StopRequested("stopped" if "stopped" in self.stop_causes else self.stop_causes[0])
        hours = self.config.limits.hours
        if hours > 0 and time.monotonic() - self.begun >= 3600 * hours:
            raise StopRequested("timeout")


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
