"""Several processes for one run: started by torchrun's launcher, listened to, and brought to one end.

The worker that starts them computes nothing itself. It holds the run directory, passes a stop request on
through a file, and when the last of them is gone says what became of the run. Nobody is started again on the
quiet: a rank that dies fails the run, which goes on from its checkpoint when it is resumed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from engine.host.processes import python_command
from engine.run.directory import RunDir
from engine.run.events import Failed
from engine.run.files import write_json
from engine.worker.ending import Ending
from engine.worker.signals import STOP_CAUSES, StopCause

SHUTDOWN_SECONDS = 5
"""How long the other ranks may take to leave when one has failed, before they are killed."""

MEETING_SECONDS = 120
"""How long a node waits for the others, all of which have said that they are there."""


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
        self.keep({str(rank): {"time": time.time(), "event": event}})

    def words(self) -> dict[str, Any]:
        """What the ranks have left, as JSON, by their numbers: for another exchange to `keep`."""
        files = self.folder.glob("rank*.json")
        return {path.stem.removeprefix("rank"): json.loads(path.read_bytes()) for path in files}

    def keep(self, words: Mapping[str, Any]) -> None:
        """Leave what ranks have to say."""
        for rank, word in words.items():
            write_json(self.folder / f"rank{int(rank)}.json", word)

    def endings(self) -> dict[int, Ending]:
        """What the ranks have left, in the order in which it came about."""
        told = [(word["time"], int(rank), word["event"]) for rank, word in self.words().items()]
        return {rank: _ENDING.validate_python(event) for _, rank, event in sorted(told, key=lambda t: t[:2])}


_ENDING: TypeAdapter[Ending] = TypeAdapter(Ending)


@contextmanager
def exchange() -> Iterator[Exchange]:
    with tempfile.TemporaryDirectory(prefix="seg-ranks-") as folder:
        yield Exchange(Path(folder))


@dataclass(frozen=True)
class Meeting:
    """Where the nodes of a run meet: torchrun's static rendezvous, at the first of them."""

    address: str
    """An IP address of the first node that the others reach."""
    port: int
    nodes: int
    node: int
    """Which of them this one is, from 0; the ranks of node 0 come first."""
    here: str
    """The IP address of this node."""


def run_ranks(
    run: RunDir, cache_dir: Path, attempt: int, count: int, between: Exchange, preemptible: bool
) -> Ending:
    """Start `count` ranks on this machine alone, wait for the last of them, and say how the attempt ended."""
    exits = launch_ranks(run, cache_dir, attempt, count, between, preemptible)
    return end_of(between.endings(), exits, run.met_oom_killer)


def launch_ranks(
    run: RunDir,
    cache_dir: Path,
    attempt: int,
    count: int,
    between: Exchange,
    preemptible: bool,
    meeting: Meeting | None = None,
) -> dict[int, int]:
    """Start `count` ranks here and wait for the last of them. Returns the exit statuses of those that failed
    first, by their rank among all."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(SHUTDOWN_SECONDS)
    if meeting is None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all ranks are on this machine
        where: dict[str, Any] = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
        where |= {"local_addr": "localhost"}
    else:
        # By the address and not by the name of this host, which many resolve to the loopback.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface_of(meeting.here))
        configs = {"rank": meeting.node, "timeout": MEETING_SECONDS}
        where = {"rdzv_backend": "static", "rdzv_endpoint": f"{meeting.address}:{meeting.port}"}
        where |= {"local_addr": meeting.here, "rdzv_configs": configs}
    nodes = meeting.nodes if meeting is not None else 1
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=count,
        run_id=run.id,
        max_restarts=0,
        signals_to_handle="SIGHUP",  # the others are the worker's own business
        **where,
    )
    python, *command = python_command("engine.worker.rank", str(run.path), "--cache", str(cache_dir))
    command += ["--attempt", str(attempt), "--exchange", str(between.folder)]
    command += ["--preemptible"] if preemptible else []
    try:
        elastic_launch(config, python)(*command)
    except ChildFailedError as error:
        return {rank: failed.exitcode for rank, failed in error.failures.items()}
    return {}


def interface_of(address: str) -> str:
    """The network interface that has an IPv4 address. Raises OSError where none has."""
    SIOCGIFADDR = 0x8915  # ioctls.h
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode())
            with contextlib.suppress(OSError):  # it has no address
                answer = fcntl.ioctl(asking.fileno(), SIOCGIFADDR, request)
                if address.startswith("127.") if name == "lo" else socket.inet_ntoa(answer[20:24]) == address:
                    return name
    raise OSError(f"no network interface has the address {address}")


def end_of(
    endings: dict[int, Ending],
    exits: dict[int, int],
    met_oom_killer: Callable[[], bool],
    lost: Failed | None = None,
) -> Ending:
    """The end of a run, of what its ranks have told and of the exit statuses of those that failed first.

    The main rank finishes or stops a run, after it has saved. Otherwise a rank that a signal has killed is
    the reason, or a node that was `lost`, as the others then fail for want of it; else the failure that came
    about first.
    """
    if 0 in endings and not isinstance(endings[0], Failed):
        return endings[0]
    for rank, status in exits.items():
        if status < 0 and rank not in endings:
            return killed(rank, -status, met_oom_killer())
    if lost is not None:
        return lost
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
