"""The worker: `python -m engine.worker RUN_DIR [--cache DIR]` executes one run in a process of its own.

It knows its run directory and nothing of database, agent or screen: config in, journal, checkpoints and
pictures out. The one place, with the ranks that it starts, that imports torch. SIGTERM or SIGINT: finish the
step, save, leave as `stopped` (exit status 3). SIGUSR2, and with --preemptible SIGTERM, too: the same as
`preempted`. Whatever else ends it leaves exit status 1 and a cause on the record: exception, out_of_memory,
diverged, timeout, killed (a rank was).
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import fcntl
import os
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.config.run_config import RunConfig
from engine.exits import DONE, FAILED, STOPPED, is_fault, whose_fault
from engine.host.leaving import adopt_orphans, leave
from engine.host.processes import identify, python_environment
from engine.plugins import usable_config
from engine.run.checkpoint_file import first_line
from engine.run.directory import RUN_VARIABLE, RunDir, RunDirError
from engine.run.events import Failed, Finished, Stopped
from engine.run.files import sweep_temporaries
from engine.run.journal import JournalWriter
from engine.run.telemetry import sample_forever
from engine.worker.costs import CostMeter
from engine.worker.ending import Ending, failure
from engine.worker.log import complain, say
from engine.worker.nodes import run_nodes
from engine.worker.process import prepare_process
from engine.worker.ranks import exchange, run_ranks
from engine.worker.signals import StopCause, listen_for_stops

EXIT_FINISHED, EXIT_FAILED, EXIT_STOPPED = DONE, FAILED, STOPPED
BEAT_SECONDS = 2.0


def main() -> int:
    begun = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m engine.worker", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path, help="the run directory, with its config.json")
    parser.add_argument("--cache", type=Path, help="folder of data caches (default: beside runs/)")
    parser.add_argument("--preemptible", action="store_true", help="SIGTERM preempts, SIGINT stops")
    arguments = parser.parse_args()
    # Before anything is on the record, where a signal that nobody listens to would end the attempt as failed.
    causes: list[StopCause] = []
    listen_for_stops(causes.append, arguments.preemptible)
    run = RunDir(arguments.run_dir.absolute())
    cache_dir = (arguments.cache or run.path.parent.parent / "cache").absolute()
    # For all that it starts: what it is part of, and that modules do not come from where it happens to be.
    os.environ.update({**python_environment(), RUN_VARIABLE: str(run.path)})
    adopt_orphans()
    faulthandler.enable()  # a crash in C leaves its stack in log.txt
    try:
        return attempt(run, cache_dir, begun, causes, arguments.preemptible)
    except Exception as error:
        # The run directory refuses even the first or the last word: say it where somebody may hear it.
        if is_fault(error):
            complain("".join(traceback.format_exception(error)) + whose_fault(error))
        else:
            complain(f"{run.path}: the run cannot be worked on: {first_line(error)}")
        return EXIT_FAILED


def attempt(
    run: RunDir, cache_dir: Path, begun: float, causes: list[StopCause], preemptible: bool = False
) -> int:
    """One attempt at a run, from taking possession of its directory to its exit status. `causes` are the stop
    requests that come meanwhile."""
    config = run.read_config()
    with possession(run), JournalWriter(run.journal) as journal:
        costs: CostMeter | None = None
        run.exit_file.unlink(missing_ok=True)
        try:
            tidy(run)
            run.write_proc(identify(), journal.attempt)
            config, notes = usable_config(run)
            beat_forever(run)
            sample_forever(run.samples, journal.attempt, config)
            costs = CostMeter(config)  # asks the driver, which may not answer: after the heart has begun
            ending = do_task(run, config, notes, journal, costs, cache_dir, begun, causes, preemptible)
        except BaseException as error:
            ending = failure(error)
        return conclude(run, journal, ending, costs)


def do_task(
    run: RunDir,
    config: RunConfig,
    notes: Sequence[str],
    journal: JournalWriter,
    costs: CostMeter,
    cache_dir: Path,
    begun: float,
    causes: list[StopCause],
    preemptible: bool,
) -> Ending:
    """Do the run's task here, or have several processes do it. Its end is still to be put on the record."""
    prepare_process(config.runtime)
    imports_begun = time.monotonic()
    from engine.learning.hardware import count_devices
    from engine.worker.job import Job
    from engine.worker.work import work

    imported = time.monotonic() - imports_begun
    count, nodes = count_devices(config), config.slurm.nodes
    if count * nodes == 1:
        job = Job(
            run, config, journal, cache_dir, begun, imported, notes=notes, stop_causes=causes, costs=costs
        )
        return work(job)
    with exchange() as between:
        listen_for_stops(between.ask_to_stop, preemptible)
        for cause in causes:
            between.ask_to_stop(cause)
        try:
            if nodes == 1:
                ending = run_ranks(run, cache_dir, journal.attempt, count, between, preemptible)
            else:
                ending = run_nodes(run, cache_dir, journal.attempt, count, nodes, between, preemptible)
        finally:
            listen_for_stops(causes.append, preemptible)  # there is nobody left to tell, and soon no exchange
            last = journal.catch_up()  # also after an error, whose record goes behind what ranks have written
    # What the main rank has put on the record stands, also where it could not leave word of it.
    if last.attempt == journal.attempt and isinstance(last, Finished | Stopped):
        return None if isinstance(last, Finished) else last
    return ending


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


def conclude(run: RunDir, journal: JournalWriter, ending: Ending, costs: CostMeter | None) -> int:
    """Put the end of an attempt on the record, with what it cost; returns the exit status."""
    if ending is not None and costs is not None:  # a task that has finished has said so, and what it cost
        with contextlib.suppress(OSError):  # a full disk must leave room for the end itself
            journal.write(costs.used(run.path))
    match ending:
        case Failed():
            complain(ending.traceback or ending.message)
            record_failure(journal, ending)
            write_exit(run, journal.attempt, "failed", ending.cause, ending.message)
            return EXIT_FAILED
        case Stopped():
            with contextlib.suppress(OSError):  # the exit status tells it, too
                journal.write(ending)
            write_exit(run, journal.attempt, "stopped", ending.cause)
            return EXIT_STOPPED
        case None:
            write_exit(run, journal.attempt, "finished", "completed")
            say("finished")
            return EXIT_FINISHED


def record_failure(journal: JournalWriter, failed: Failed) -> None:
    """Put a failure on the record wherever there is still room for it, shorter if need be."""
    try:
        journal.write(failed)
    except OSError:
        with contextlib.suppress(OSError):
            journal.write(failed.model_copy(update={"traceback": ""}))


def write_exit(run: RunDir, attempt: int, status: str, cause: str, message: str = "") -> None:
    """Leave exit.json. On a full disk it is only said: the journal is the truth."""
    try:
        run.write_exit(attempt, status, cause, message)
    except OSError as error:
        complain(f"{run.exit_file}: cannot be written: {error.strerror}")


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
    leave(main())
