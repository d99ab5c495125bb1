"""Several processes for one run: started by torchrun's launcher, listened to, and brought to one end.

The worker that starts them computes nothing itself. It holds the run directory, passes a stop request on
through a file, and when the last of them is gone says what became of the run. Nobody is started again on the
quiet: a rank that dies fails the run, which goes on from its checkpoint when it is resumed.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from engine.host.processes import python_command
from engine.run.directory import RunDir
from engine.run.events import Failed
from engine.run.files import write_json
from engine.worker.ending import Ending
from engine.worker.signals import STOP_CAUSES, StopCause

SHUTDOWN_SECONDS = 5
"""How long the other ranks may take to leave when one has failed, before they are killed."""


@dataclass(frozen=True)
class Exchange:
    """The folder in which the worker and its ranks leave word for each other."""

    folder: Path

    def ask_to_stop(self, cause: StopCause) -> None:
        """Leave a stop request; a file for each cause, so that none gets in the way of another."""
        (self.folder / cause).touch()

    def stop_requests(self) -> list[StopCause]:
        return [cause for cause in STOP_CAUSES if (self.folder / cause).exists()]

    def tell(self, rank: int, ending: Ending) -> None:
        """Leave a rank's ending, and when it came about."""
        # Its place in the journal is the worker's to give.
        event = None if ending is None else ending.model_dump(exclude={"seq", "t", "attempt"})
        write_json(self.folder / f"rank{rank}.json", {"time": time.time(), "event": event})

    def endings(self) -> dict[int, Ending]:
        """What the ranks have left, in the order in which it came about."""
        told = [
            (word["time"], int(path.stem.removeprefix("rank")), word["event"])
            for path in self.folder.glob("rank*.json")
            for word in [json.loads(path.read_bytes())]
        ]
        return {rank: _ENDING.validate_python(event) for _, rank, event in sorted(told, key=lambda t: t[:2])}


_ENDING: TypeAdapter[Ending] = TypeAdapter(Ending)


@contextmanager
def exchange() -> Iterator[Exchange]:
    with tempfile.TemporaryDirectory(prefix="seg-ranks-") as folder:
        yield Exchange(Path(folder))


def run_ranks(
    run: RunDir, cache_dir: Path, attempt: int, count: int, between: Exchange, preemptible: bool
) -> Ending:
    """Start `count` ranks, wait for the last of them, and say how the attempt ended."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(SHUTDOWN_SECONDS)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all ranks are on this machine
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=run.id,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        signals_to_handle="SIGHUP",  # the others are the worker's own business
    )
    python, *command = python_command("engine.worker.rank", str(run.path), "--cache", str(cache_dir))
    command += ["--attempt", str(attempt), "--exchange", str(between.folder)]
    command += ["--preemptible"] if preemptible else []
    exits: dict[int, int] = {}
    try:
        elastic_launch(config, python)(*command)
    except ChildFailedError as error:
        exits = {rank: failed.exitcode for rank, failed in error.failures.items()}
    return end_of(between.endings(), exits, run.met_oom_killer)


def end_of(endings: dict[int, Ending], exits: dict[int, int], met_oom_killer: Callable[[], bool]) -> Ending:
    """The end of a run, of what its ranks have told and of the exit statuses of those that failed first.

    The main rank finishes or stops a run, after it has saved. Otherwise a rank that a signal has killed is
    the reason, as the others then fail for want of it; else the failure that came about first.
    """
    if 0 in endings and not isinstance(endings[0], Failed):
        return endings[0]
    for rank, status in exits.items():
        if status < 0 and rank not in endings:
            return killed(rank, -status, met_oom_killer())
    for ending in endings.values():
        if isinstance(ending, Failed):
            return ending
    told = ", ".join(f"rank {rank} with exit status {status}" for rank, status in exits.items())
    return Failed(cause="exception", message=f"left without a word: {told or 'all ranks'}; see log.txt")


def killed(rank: int, number: int, for_memory: bool) -> Failed:
    if for_memory:
        message = f"the kernel ended rank {rank} for want of memory; a smaller batch_size needs less"
        return Failed(cause="out_of_memory", message=message)
    return Failed(
        cause="killed",
        message=f"rank {rank} was killed by signal {number}, and the others ended with it; resuming goes on "
        "from the last checkpoint",
    )
