"""One of several processes of a run: `python -m engine.worker.rank RUN_DIR ...`, by torchrun's launcher.

The worker is its parent, and nobody else starts it. It leaves word of its end in the exchange; exit status 0
says that there was no fault.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import time
from pathlib import Path

from engine.host.leaving import adopt_orphans, die_with_the_parent, leave
from engine.plugins import usable_config
from engine.run.directory import RunDir
from engine.run.events import Failed, Stopped
from engine.run.journal import JournalWriter
from engine.worker.ending import Ending, failure
from engine.worker.log import complain
from engine.worker.process import prepare_process
from engine.worker.ranks import Exchange
from engine.worker.signals import StopCause, listen_for_stops


def main() -> int:
    begun = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m engine.worker.rank", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--exchange", type=Path, required=True)
    parser.add_argument("--preemptible", action="store_true")
    options = parser.parse_args()
    causes: list[StopCause] = []
    listen_for_stops(causes.append, options.preemptible)  # a cluster signals every process of a job
    die_with_the_parent()
    adopt_orphans()
    faulthandler.enable()
    between, rank = Exchange(options.exchange), int(os.environ["RANK"])
    journal: JournalWriter | None = None
    with contextlib.ExitStack() as stack:
        try:
            run = RunDir(options.run_dir)
            if rank == 0:  # it alone writes; to open the journal is to mend it
                journal = stack.enter_context(JournalWriter(run.journal, options.attempt))
            ending = take_part(run, options.cache, journal, begun, causes, between)
        except BaseException as error:
            ending = failure(error)
        if isinstance(ending, Failed):
            complain(f"rank {rank}: {ending.traceback or ending.message}")
        try:
            between.tell(rank, ending)
        except OSError as error:  # such as a full /tmp, which is seldom the disk that the run is on
            complain(f"rank {rank}: its end cannot be told: {error}")
            if journal is not None and isinstance(ending, Stopped):
                journal.write(ending)
    return int(isinstance(ending, Failed))


def take_part(
    run: RunDir,
    cache_dir: Path,
    journal: JournalWriter | None,
    begun: float,
    causes: list[StopCause],
    between: Exchange,
) -> Ending:
    """Do this rank's part of the run's task."""
    config, _ = usable_config(run)
    prepare_process(config.runtime, int(os.environ["LOCAL_WORLD_SIZE"]))
    imports_begun = time.monotonic()
    from engine.learning.distributed import join_group, local_rank
    from engine.learning.hardware import choose_hardware
    from engine.worker.costs import CostMeter
    from engine.worker.job import Job
    from engine.worker.work import work

    imported = time.monotonic() - imports_begun
    group = join_group(choose_hardware(config, local_rank()).device)
    return work(
        Job(
            run,
            config,
            journal,
            cache_dir,
            begun,
            imported,
            stop_causes=causes,
            more_stop_requests=between.stop_requests if group.is_main else tuple,
            group=group,
            costs=CostMeter(config) if journal is not None else None,
        )
    )


if __name__ == "__main__":
    leave(main())
