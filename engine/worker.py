"""The worker: `python -m engine.worker RUN_DIR [--cache DIR]` executes one run in a process of its own.

It knows its run directory and nothing of database, agent or screen: config in, journal, checkpoints and
pictures out. The one place that imports torch. SIGTERM or SIGINT: finish the step, save, leave as `stopped`
(exit status 3). SIGUSR2: the same as `preempted`.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from engine.config import RuntimeConfig
from engine.journal import Failed, FailureCause, JournalWriter, Stopped
from engine.processes import identify
from engine.rundir import RunDir

if TYPE_CHECKING:
    from engine.tasks.job import Job

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
    config = run.read_config()
    run.exit_file.unlink(missing_ok=True)
    with JournalWriter(run.journal) as journal:
        run.write_proc(identify(), journal.attempt)
        beat_forever(run)
        # A stop may come while torch is still being imported, which takes seconds: note it from the start.
        causes: list[str] = []
        listen_for_stops(causes)
        prepare_process(config.runtime)
        try:
            imports_begun = time.monotonic()
            from engine.tasks.job import Job

            imported = time.monotonic() - imports_begun
            job = Job(run, config, journal, cache_dir, begun, imported, stop_causes=causes)
        except BaseException as error:
            return end_failed(run, journal, error)
        return execute(job)


def execute(job: Job) -> int:
    """Run the job's task and put its end on the record; returns the exit status."""
    from engine.tasks.job import StopRequested
    from engine.tasks.train import train

    try:
        train(job)
    except StopRequested as stop:
        job.record(
            Stopped(cause="preempted" if stop.cause == "preempted" else "stopped", epoch=job.epochs_done)
        )
        job.run.write_exit(job.journal.attempt, "stopped", stop.cause)
        job.say(f"{stop.cause} after {job.epochs_done} complete epochs; the checkpoint is saved")
        return EXIT_STOPPED
    except BaseException as error:
        return end_failed(job.run, job.journal, error)
    job.run.write_exit(job.journal.attempt, "finished", "completed")
    job.say("finished")
    return EXIT_FINISHED


def end_failed(run: RunDir, journal: JournalWriter, error: BaseException) -> int:
    """Put a failure on the record: in the log first, which needs no more than a few bytes of disk."""
    trace = "".join(traceback.format_exception(error))
    cause, message = classify(error)
    print(trace, file=sys.stderr, flush=True)
    journal.write(Failed(cause=cause, message=message, traceback=trace))
    run.write_exit(journal.attempt, "failed", cause, message)
    return EXIT_FAILED


def classify(error: BaseException) -> tuple[FailureCause, str]:
    """The cause and a one-line message of whatever ended the task."""
    import torch

    from engine.tasks.job import Diverged

    text = str(error).strip().splitlines()
    line = text[0] if text else "no message"
    if isinstance(error, Diverged):
        return "diverged", line
    out_of_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    if out_of_memory or "DefaultCPUAllocator: can't allocate memory" in str(error):
        return "out_of_memory", f"{line} (a smaller batch_size needs less)"
    return "exception", line if _speaks_for_itself(error) else f"{type(error).__name__}: {line}"


def _speaks_for_itself(error: BaseException) -> bool:
    """Whether the error is one of this program's own, whose message is a line for people."""
    return type(error).__module__.startswith("engine.")


def listen_for_stops(causes: list[str]) -> None:
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


def prepare_process(config: RuntimeConfig) -> None:
    """Settle what must be settled before torch starts its threads and takes its first memory."""
    threads = config.threads or available_cores()
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)
    if config.deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # without it cuBLAS may sum in any order
    if config.keep_memory:
        keep_freed_memory()


def available_cores() -> int:
    """Cores this process may really use: its affinity, capped by the quota of its cgroup (v2)."""
    cores = len(os.sched_getaffinity(0))
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
        quota, period = Path(f"/sys/fs/cgroup{group}/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks for the next step.

    It gives large blocks back to the kernel at once, and the kernel hands them out again page by page, each
    zeroed: for activations of hundreds of MB that is more work than the arithmetic of a small network.
    Another C library has no mallopt and no such habit.
    """
    M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)  # no block gets a mapping of its own, which dies with it
    mallopt(M_TRIM_THRESHOLD, -1)  # the heap never shrinks
    mallopt(M_ARENA_MAX, 1)  # side heaps of threads hold at most 64 MB and would be mapped after all


if __name__ == "__main__":
    sys.exit(main())
