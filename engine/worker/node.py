"""The ranks of one of the other nodes of a run: `python -m engine.worker.node RUN_DIR ...`, by srun.

`engine.worker.nodes` starts it and says what it hears and tells. It writes nothing into the run directory.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

from engine.exits import summary
from engine.host.leaving import adopt_orphans, leave
from engine.host.processes import python_environment
from engine.plugins import usable_config
from engine.run.directory import RUN_VARIABLE, RunDir
from engine.worker.log import complain
from engine.worker.nodes import address_towards
from engine.worker.process import prepare_process
from engine.worker.ranks import Exchange, Meeting, exchange, launch_ranks
from engine.worker.signals import listen_for_stops


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.worker.node", description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--meet", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--preemptible", action="store_true")
    options = parser.parse_args()
    # What ranks print is for the log; stdout is the way to the worker.
    with open(os.dup(1), "w") as to_worker:
        os.dup2(2, 1)
        listen_for_stops(lambda cause: None)  # a cluster signals every process; the ranks know what it means
        adopt_orphans()
        faulthandler.enable()
        threading.Thread(target=end_with_the_worker, name="worker", daemon=True).start()
        run = RunDir(options.run_dir)
        os.environ.update({**python_environment(), RUN_VARIABLE: str(run.path)})
        address, _, port = options.meet.rpartition(":")
        node = int(os.environ["SLURM_PROCID"]) + 1
        with exchange() as between:
            word: dict[str, Any] = {}
            try:
                here = address_towards(address)
                meeting = Meeting(address, int(port), options.nodes, node, here)
                word["exits"] = take_part(run, options, meeting, between, to_worker)
            except Exception as error:
                complain(f"node {node}: {summary(error)}")
                word["trouble"] = summary(error)
            say(to_worker, node=node, endings=between.words(), **word)
    return 1 if word.get("exits") or word.get("trouble") else 0


def take_part(
    run: RunDir, options: argparse.Namespace, meeting: Meeting, between: Exchange, to_worker: TextIO
) -> dict[int, int]:
    """Start the ranks of this node and wait for them; returns the exit statuses of those that failed."""
    config, _ = usable_config(run)
    prepare_process(config.runtime)
    from engine.learning.hardware import count_devices

    count = count_devices(config)
    say(to_worker, node=meeting.node, there=True)
    return launch_ranks(run, options.cache, options.attempt, count, between, options.preemptible, meeting)


def say(to_worker: TextIO, **word: Any) -> None:
    print(json.dumps(word), file=to_worker, flush=True)


def end_with_the_worker() -> None:
    """End this process and its ranks when nobody is left at the other end of stdin."""
    while sys.stdin.buffer.read(4096):
        pass
    leave(1)


if __name__ == "__main__":
    leave(main())
