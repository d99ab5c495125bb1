"""The worker: `python -m engine.worker RUN_DIR [--cache DIR]` executes one run in a process of its own.

It knows its run directory and nothing of database, agent or screen: config in, journal, checkpoints and
pictures out. The one place that imports torch. SIGTERM or SIGINT: finish the step, save, leave as `stopped`
(exit status 3). SIGUSR2: the same as `preempted`. Whatever else ends it leaves exit status 1 and a cause on
the record: exception, out_of_memory, diverged, timeout.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import fcntl
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from engine.files import sweep_temporaries
from engine.journal import Failed, FailureCause, JournalError, JournalWriter, Stopped
from engine.processes import identify
from engine.rundir import RunDir, RunDirError
from engine.tasks.log import complain
from engine.tasks.process import prepare_process

if TYPE_CHECKING:
    from engine.tasks.job import Job, StopCause

EXIT_FINISHED, EXIT_FAILED, EXIT_STOPPED = 0, 1, 3
BEAT_SECONDS = 2.0


def main() -> int:
    begun = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m engine.worker", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path, help="the run directory, with its config.json")
    parser.add_argument("--cache", type=Path, help="folder of data caches (default: beside runs/)")
    arguments = parser.parse_args()
    run = RunDir(arguments.run_dir.absolute())
    cache_dir = (arguments.cache or run.path.parent.parent / "cache").absolute()
    faulthandler.enable()  # a crash in C leaves its stack in log.txt
    try:
        return attempt(run, cache_dir, begun)
    except (OSError, RunDirError, JournalError) as error:
        # The run directory refuses even the first or the last word: say it where somebody may hear it.
        complain(f"{run.path}: the run cannot be worked on: {_line(error)}")
        return EXIT_FAILED


def attempt(run: RunDir, cache_dir: Path, begun: float) -> int:
    """One attempt at a run, from taking possession of its directory to its exit status."""
    config = run.read_config()
    with possession(run), JournalWriter(run.journal) as journal:
        run.exit_file.unlink(missing_ok=True)
        try:
            tidy(run)
            run.write_proc(identify(), journal.attempt)
            beat_forever(run)
            # A stop may come while torch is still being imported, which takes seconds: listen from the start.
            causes: list[StopCause] = []
            listen_for_stops(causes)
            prepare_process(config.runtime)
            imports_begun = time.monotonic()
            from engine.tasks.job import Job

            imported = time.monotonic() - imports_begun
            job = Job(run, config, journal, cache_dir, begun, imported, stop_causes=causes)
        except BaseException as error:
            return end_failed(run, journal, "exception", *explain(error))
        return execute(job)


@contextlib.contextmanager
def possession(run: RunDir) -> Iterator[None]:
    """Hold the run directory against a second worker. Raises RunDirError when there is a first.

    The kernel lets go when the process ends, however it ends. Network file systems that cannot lock a folder
    are left to the agent, which starts no second worker.
    """
    folder = os.open(run.path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(folder)
        raise RunDirError("another worker is at work in it") from error
    except OSError:
        pass
    try:
        yield
    finally:
        os.close(folder)


def tidy(run: RunDir) -> None:
    """Make sure of the folders and remove what a killed writer left half-written."""
    for folder in (run.checkpoints, run.gallery, run.outputs):
        folder.mkdir(exist_ok=True)
    for folder in (
        run.path,
        run.checkpoints,
        run.outputs,
        *(path for path in run.gallery.iterdir() if path.is_dir()),
    ):
        sweep_temporaries(folder)


def execute(job: Job) -> int:
    """Run the job's task and put its end on the record; returns the exit status."""
    from engine.tasks.fit import describe_shortage, is_out_of_memory
    from engine.tasks.job import Diverged, StopRequested
    from engine.tasks.registry import TASKS

    run, journal = job.run, job.journal
    try:
        TASKS[job.config.task](job)
    except StopRequested as stop:
        if stop.cause == "timeout":
            return end_failed(run, journal, "timeout", timeout_message(job))
        job.record(Stopped(cause=stop.cause, epoch=job.epochs_done))
        write_exit(run, journal.attempt, "stopped", stop.cause)
        job.say(f"{stop.cause} {how_far(job)}")
        return EXIT_STOPPED
    except Diverged as error:
        return end_failed(run, journal, "diverged", *explain(error))
    except BaseException as error:
        if not is_out_of_memory(error):
            return end_failed(run, journal, "exception", *explain(error))
        trace = "".join(traceback.format_exception(error))
        what = describe_shortage(error)
        traceback.clear_frames(error.__traceback__)  # the network, its gradients and activations live there
    else:
        write_exit(run, journal.attempt, "finished", "completed")
        job.say("finished")
        return EXIT_FINISHED
    # Outside of the handler, which would hold what the advice needs to have freed.
    return end_failed(run, journal, "out_of_memory", f"{what}; {memory_advice(job)}", trace)


def end_failed(
    run: RunDir, journal: JournalWriter, cause: FailureCause, message: str, trace: str = ""
) -> int:
    """Put a failure on the record wherever there is still room for it, shorter if need be."""
    complain(trace or message)
    try:
        journal.write(Failed(cause=cause, message=message, traceback=trace))
    except OSError:
        with contextlib.suppress(OSError):
            journal.write(Failed(cause=cause, message=message))
    write_exit(run, journal.attempt, "failed", cause, message)
    return EXIT_FAILED


def write_exit(run: RunDir, attempt: int, status: str, cause: str, message: str = "") -> None:
    """Leave exit.json. On a full disk it is only said: the journal is the truth."""
    try:
        run.write_exit(attempt, status, cause, message)
    except OSError as error:
        complain(f"{run.exit_file}: cannot be written: {error.strerror}")


def explain(error: BaseException) -> tuple[str, str]:
    """A one-line message, and the traceback, of whatever ended the task."""
    trace = "".join(traceback.format_exception(error))
    # This program's own errors speak for themselves.
    own = type(error).__module__.startswith("engine.") or type(error).__module__ == "__main__"
    return _line(error) if own else f"{type(error).__name__}: {_line(error)}", trace


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else "no message"


def timeout_message(job: Job) -> str:
    return (
        f"limits.hours={job.config.limits.hours:g} is over {how_far(job)}; resuming goes on for as long again"
    )


def how_far(job: Job) -> str:
    """What a run that ends before its end has done."""
    if job.config.of_network is not None:
        return "between two images; those that are done are kept"
    return f"after {job.epochs_done} complete epochs; what was learned is saved"


def memory_advice(job: Job) -> str:
    """What to change. Looking for it must never cost the report."""
    from engine.tasks.fit import advise, release_memory

    if job.classes == 0:
        return "it was not the network, which had not been made yet: the machine is short of memory"
    job.say("out of memory; looking for a batch size that fits")
    release_memory()
    return advise(job.run.config_file, job.config, job.classes, job.train_images, job.data_bytes)


def listen_for_stops(causes: list[StopCause]) -> None:
    """From now on signals put a cause into `causes`; the task looks there after every step."""

    def note(number: int, frame: FrameType | None) -> None:
        causes.append("preempted" if number == signal.SIGUSR2 else "stopped")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
        signal.signal(number, note)


def beat_forever(run: RunDir) -> None:
    """Touch proc.json until the process ends, from a thread: a long step is no death."""

    def beat() -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            try:
                run.beat()
            except OSError:
                continue  # a full or vanished disk is for the task to meet; the heart goes on

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
