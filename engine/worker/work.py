"""Doing a job to its end, whatever that is."""

from __future__ import annotations

import contextlib
import traceback

from engine.errors import EngineError
from engine.exits import summary
from engine.run.events import Failed, Stopped
from engine.run.journal import JournalError
from engine.tasks import TASKS, NetworkTask
from engine.training.probes.fit import Among, advise, describe_shortage, is_out_of_memory, release_memory
from engine.worker.ending import Ending, failure
from engine.worker.job import Diverged, Job, StopRequested


def work(job: Job) -> Ending:
    """Do the job's task; returns the end that is still to be put on the record."""
    try:
        TASKS[job.config.task].work(job)
    except StopRequested as stop:
        if stop.cause == "timeout":
            return Failed(cause="timeout", message=timeout_message(job))
        job.say(f"{stop.cause} {how_far(job)}")
        return Stopped(cause=stop.cause, epoch=job.epochs_done)
    except Diverged as error:
        return failure(error, "diverged")
    except BaseException as error:
        if isinstance(error, EngineError | OSError) and was_stopped_by_a_person(error):
            with contextlib.suppress(JournalError):  # the log has it
                job.warn(
                    f"stopped, but not saved: {summary(error)}; resuming goes on from what was saved before"
                )
            return Stopped(cause="stopped", epoch=job.epochs_done)
        if not is_out_of_memory(error):
            return failure(error)
        trace = "".join(traceback.format_exception(error))
        what = describe_shortage(error)
        traceback.clear_frames(error.__traceback__)  # the network, its gradients and activations live there
    else:
        return None
    # Outside of the handler, which would hold what the advice needs to have freed.
    return Failed(cause="out_of_memory", message=f"{what}; {memory_advice(job)}", traceback=trace)


def was_stopped_by_a_person(error: BaseException) -> bool:
    """Whether an error came about while a run saved what it had, as somebody had asked it to stop. That is no
    failure, as with a full disk, with which runs that wait for this one would fail, too."""
    stop = error.__context__
    while stop is not None and not isinstance(stop, StopRequested):
        stop = stop.__context__
    return isinstance(stop, StopRequested) and stop.cause == "stopped"


def timeout_message(job: Job) -> str:
    return (
        f"limits.hours={job.config.limits.hours:g} is over {how_far(job)}; resuming goes on for as long again"
    )


def how_far(job: Job) -> str:
    """What a run that ends before its end has done."""
    task = TASKS[job.config.task]
    if isinstance(task, NetworkTask):
        return f"between two images; {task.kept}"
    return f"after {job.epochs_done} complete epochs; what was learned is saved"


def memory_advice(job: Job) -> str:
    """What to change. Looking for it must never cost the report."""
    if job.classes == 0:
        return "it was not the network, which had not been made yet: the machine is short of memory"
    job.say("out of memory; looking for a batch size that fits")
    release_memory()
    among = Among(job.group.rank, job.group.count)
    return advise(job.run.config_file, job.config, job.classes, job.train_images, job.data_bytes, among)
