"""What every task is given: its run directory, its config, its journal and word of a stop."""

from __future__ import annotations

import math
import os
import platform
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import torch

from engine.components.outside import outside_code
from engine.config.run_config import RunConfig
from engine.config.stored import flat_values
from engine.errors import EngineError
from engine.exits import summary
from engine.learning.distributed import ALONE, Group
from engine.learning.hardware import Hardware
from engine.plugins import loaded_plugins
from engine.run.directory import RunDir, RunDirError
from engine.run.environment import Environment, environment_here, record_environment
from engine.run.event_files import EventFile
from engine.run.events import AnyEvent, Epoch, Finished, Model, Progress, Started, Warned
from engine.run.journal import JournalError, JournalWriter
from engine.worker.costs import CostMeter
from engine.worker.log import say
from engine.worker.signals import STOP_CAUSES, StopCause

PROGRESS_SECONDS = 0.5
"""Shortest time between two progress events: nobody reads faster, and each waits for the GPU."""


class DataStuck(EngineError):
    """Data does not come; the message is one line."""


class StopRequested(Exception):
    """The run is to end before its time, and the step under way is done.

    `cause`: somebody asked (stopped), somebody needs the machine (preempted), limits.hours is over (timeout).
    """

    def __init__(self, cause: StopCause) -> None:
        super().__init__(cause)
        self.cause = cause


class Diverged(EngineError):
    """The loss is NaN or infinite."""


@dataclass
class Job:
    """One attempt at one run, or one rank's part in it. `journal` is None in a rank that does not write."""

    run: RunDir
    config: RunConfig
    journal: JournalWriter | None
    cache_dir: Path
    begun: float = field(default_factory=time.monotonic)
    """When the worker came up, on the monotonic clock."""
    import_seconds: float = 0.0
    first_step_seconds: float | None = None
    """From `begun` to the end of the first step, the device's work not waited for."""
    notes: Sequence[str] = ()
    """What a person should know of the run's config, a line each."""
    stop_causes: list[StopCause] = field(default_factory=list)
    """Filled by the worker's signal handlers with "stopped" or "preempted"."""
    more_stop_requests: Callable[[], Sequence[StopCause]] = tuple
    """Stop requests that whoever started the ranks has received."""
    group: Group = ALONE
    costs: CostMeter | None = None
    epochs_done: int = 0
    """Complete epochs that a checkpoint or the journal holds; what a stop reports."""
    classes: int = 0
    """How many the data has; 0 until it is open."""
    train_images: int = 0
    data_bytes: int = 0
    """Size of all caches that the run reads."""
    _last_progress: float = field(default=-math.inf, repr=False)
    _progress_lost: bool = field(default=False, repr=False)
    _event_file: EventFile | None = field(default=None, repr=False)
    _plots_lost: bool = field(default=False, repr=False)

    @property
    def attempt(self) -> int:
        """The number of the attempt; 0 in a rank that does not write."""
        return 0 if self.journal is None else self.journal.attempt

    def record(self, event: AnyEvent) -> None:
        """Append to the journal. Raises JournalError when the disk refuses it: no result is lost silently."""
        if self.journal is None:
            return
        if self.costs is not None and isinstance(event, Model | Epoch):
            joules = self.costs.since_last()
            event = event.model_copy(update={"joules": joules}) if isinstance(event, Epoch) else event
        try:
            if self.costs is not None and isinstance(event, Finished):
                self.journal.write(self.costs.used(self.run.path))
            self.journal.write(event)
        except OSError as error:
            raise JournalError(f"{self.run.journal}: cannot be written: {error.strerror}") from error
        if isinstance(event, Epoch) and self.config.report.tensorboard and not self._plots_lost:
            self._plot(event)

    def _plot(self, event: Epoch) -> None:
        """Write an epoch for TensorBoard. What goes wrong there costs the plot, not the run."""
        try:
            if self._event_file is None:
                self._event_file = EventFile(self.run.event_files)
                config = flat_values(self.config.model_dump(mode="json"))
                self._event_file.add_config(config, self.run.id, time.time())
            self._event_file.add_epoch(event, event.epoch, time.time())
            self._event_file.flush()
        except Exception as error:  # also what an import of a package that does not fit the others may raise
            self._plots_lost = True
            self.say(f"warning: nothing more is written for TensorBoard: {summary(error)}")

    def say(self, line: str) -> None:
        """A line for log.txt."""
        if self.journal is not None:
            say(line)

    def warn(self, message: str) -> None:
        """A warning in the log and on the record."""
        self.say(f"warning: {message}")
        self.record(Warned(message=message))

    def progress_is_due(self) -> bool:
        return self.journal is not None and time.monotonic() - self._last_progress >= PROGRESS_SECONDS

    def report(self, progress: Progress) -> None:
        """Record where the run is. On a full disk the word is lost and the run goes on."""
        self._last_progress = time.monotonic()
        if self.journal is None:
            return
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
        """Raise StopRequested, in all ranks at once, when a stop was asked for or the attempt has had its
        time. All ranks must call it."""
        own = self.own_stop()
        weight = self.group.largest(0 if own is None else len(STOP_CAUSES) - STOP_CAUSES.index(own))
        if weight:
            raise StopRequested(STOP_CAUSES[-weight])

    def check_stop_while_waiting(self) -> None:
        """Raise StopRequested when a stop was asked for and data does not come, so that there is no step to
        end.

        One of several ranks fails instead: the others wait for it in the step, and cannot agree on a stop.
        """
        cause = self.own_stop()
        if cause is not None and self.group.count > 1:
            raise DataStuck("the run was to stop, and data did not come to end a step with")
        if cause is not None:
            raise StopRequested(cause)

    def own_stop(self) -> StopCause | None:
        """Why this rank would stop now."""
        asked = [*self.stop_causes, *self.more_stop_requests()]
        if asked:
            return min(asked, key=STOP_CAUSES.index)
        hours = self.config.limits.hours
        return "timeout" if hours > 0 and time.monotonic() - self.begun >= 3600 * hours else None


def cluster_job() -> str:
    """The Slurm job that this process is of, as squeue calls it; "" outside of one."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}", "") for name in ("JOB_ID", "TASK_ID"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def record_start(job: Job, hardware: Hardware, resumed_from_epoch: int) -> None:
    """Say who computes, where and with what."""
    several = job.group.count > 1
    device = str(hardware.device)
    if several and hardware.device.type == "cuda":
        device = ",".join(f"cuda:{index}" for index in range(job.group.count))
    job.record(
        Started(
            host=socket.gethostname(),
            pid=os.getppid() if several else os.getpid(),  # ranks are children of the worker
            device=device,
            ranks=job.group.count,
            job=cluster_job(),
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
    if job.journal is not None:
        plugins = {plugin.path.name: plugin.sha256 for plugin in loaded_plugins()}
        computes = {
            "device": device,
            "device_name": hardware.name,
            "precision": hardware.precision,
            "threads": torch.get_num_threads(),
            "ranks": job.group.count,
            "libraries": _libraries(),
        }
        keep_environment(job, environment_here(plugins, outside_code()).model_copy(update=computes))
    on = f"{device}, {job.group.count} ranks" if several else device
    job.say(f"attempt {job.attempt} on {hardware.name} ({on}), {hardware.precision}")
    for note in job.notes:
        job.warn(note)


def keep_environment(job: Job, environment: Environment) -> None:
    """Put what the attempt is computed with on the record. A disk that refuses it costs the record, not the
    run."""
    if job.journal is None:
        return
    try:
        record_environment(job.run, job.attempt, environment)
    except (OSError, RunDirError) as error:
        job.say(f"warning: what the run is computed with is not kept: {error}")


def _libraries() -> dict[str, str]:
    """What torch computes with on a GPU."""
    if not torch.cuda.is_available():
        return {}
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {"cuda": str(torch.version.cuda), "cudnn": str(cudnn)}
