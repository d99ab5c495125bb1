"""A run on several nodes of a Slurm job: the worker on the first of them, and its helpers on the others.

The worker starts `engine.worker.node` on each other node by srun. A helper says on its stdout that it is
there, starts the ranks of its node, and says in the end what became of them; it ends when its stdin does, so
that none outlives the worker. Nothing but that goes from node to node, and what ranks send each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from engine.errors import EngineError
from engine.host.processes import python_command
from engine.run.directory import RunDir
from engine.run.events import Epoch, Failed, Stopped
from engine.run.journal import read_all
from engine.worker.ending import Ending
from engine.worker.ranks import Exchange, Meeting, end_of, launch_ranks
from engine.worker.signals import StopCause

GRACE_SECONDS = 10.0
"""How long ranks may take to notice that others are gone, and helpers to say what became of theirs."""

LOOK_SECONDS = 0.5
"""How often it is looked for a stop request while helpers come up."""


class NodesError(EngineError):
    """The nodes of the job cannot work together; the message is one line."""


class OthersGone(Exception):
    """Raised in the main thread when ranks here would wait for others in vain."""


@dataclass
class OtherNodes:
    """The helpers of a worker, and what they have said."""

    names: list[str]
    process: subprocess.Popen[str]
    words: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The last word of each helper, by the number of its node: `exits`, `endings`, `trouble`."""
    exit_status: int | None = None
    _there: set[int] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _ours_at_work: bool = True

    def listen(self) -> None:
        """Read what the helpers say until all are gone; a failure ends the ranks of this node, too."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError, KeyError, TypeError), self._changed:
                word = json.loads(line)
                if word.get("there"):
                    self._there.add(int(word["node"]))
                else:
                    self.words[str(word["node"])] = word
                self._changed.notify_all()
            if self.failed:
                self._end_ours_soon()
        status = self.process.wait()
        with self._changed:
            self.exit_status = status
            self._changed.notify_all()
        if status or self.failed or len(self.words) < len(self.names):
            self._end_ours_soon()

    @property
    def failed(self) -> bool:
        """Whether a helper has told of a failure."""
        return any(word.get("exits") or word.get("trouble") for word in self.words.values())

    def wait_until_there(self, stop_requests: Callable[[], Sequence[StopCause]]) -> bool:
        """Wait until each node has its helper; False when one never will, or when the run is to stop first:
        srun may wait for its nodes for as long as it likes."""
        with self._changed:
            while not (self.failed or self.exit_status is not None or stop_requests()):
                if len(self._there) == len(self.names):
                    return True
                self._changed.wait(LOOK_SECONDS)
            return False

    def ours_are_done(self) -> None:
        """No signal is needed any more to end the ranks of this node."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with self._changed:
            self._ours_at_work = False

    def _end_ours_soon(self) -> None:
        """Interrupt the main thread if its ranks do not end by themselves."""
        with self._changed:
            ended = self._changed.wait_for(lambda: not self._ours_at_work, GRACE_SECONDS)
            if not ended:
                self._ours_at_work = False
                os.kill(os.getpid(), signal.SIGHUP)

    def wait_for_words(self, seconds: float) -> None:
        """Give the helpers that long to say their last word."""
        with self._changed:
            self._changed.wait_for(lambda: self.exit_status is not None, seconds)

    def loss(self) -> Failed | None:
        """What a node without a last word makes of the run, or trouble that kept its ranks from starting.
        Trouble that a helper has later comes of what its ranks tell, or the others."""
        for node, name in enumerate(self.names, 1):
            trouble = self.words.get(str(node), {}).get("trouble")
            if trouble and node not in self._there:
                return Failed(cause="exception", message=f"node {name}: {trouble}")
        silent = [name for node, name in enumerate(self.names, 1) if str(node) not in self.words]
        if not silent or not self.exit_status:
            return None
        message = (
            f"{'node' if len(silent) == 1 else 'nodes'} {', '.join(silent)} went away (srun's exit status is "
            f"{self.exit_status}; see log.txt); resuming goes on from the last checkpoint"
        )
        return Failed(cause="killed", message=message)


def run_nodes(
    run: RunDir,
    cache_dir: Path,
    attempt: int,
    count: int,
    nodes: int,
    between: Exchange,
    preemptible: bool,
) -> Ending:
    """Start `count` ranks here and those of the other nodes, wait for all, and say how the attempt ended."""
    names, address = other_nodes(nodes)
    meeting = Meeting(address, free_port(address), nodes, 0, address)
    exits: dict[int, int] = {}
    with helpers(run, cache_dir, attempt, names, meeting, preemptible) as others:
        try:
            if others.wait_until_there(between.stop_requests):
                exits = launch_ranks(run, cache_dir, attempt, count, between, preemptible, meeting)
            elif between.stop_requests():
                return stopped_before(run, between.stop_requests())
            others.ours_are_done()
        except Exception:
            # Of a helper that is gone, what torch says here is a consequence.
            others.ours_are_done()
            others.wait_for_words(GRACE_SECONDS)
            if not others.exit_status and not others.failed:
                raise
        others.wait_for_words(GRACE_SECONDS)
        lost = others.loss()
    for word in others.words.values():
        between.keep(word.get("endings", {}))
        exits |= {int(rank): int(status) for rank, status in word.get("exits", {}).items()}
    return end_of(between.endings(), exits, run.met_oom_killer, lost)


def stopped_before(run: RunDir, causes: Sequence[StopCause]) -> Stopped:
    """The end of an attempt that was to stop before its ranks began; earlier ones may have done epochs."""
    epochs = [event.epoch for event in read_all(run.journal) if isinstance(event, Epoch)]
    return Stopped(cause="stopped" if "stopped" in causes else "preempted", epoch=max(epochs, default=0))


@contextlib.contextmanager
def helpers(
    run: RunDir, cache_dir: Path, attempt: int, names: list[str], meeting: Meeting, preemptible: bool
) -> Iterator[OtherNodes]:
    """A helper on each of the other nodes, which ends with the block."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise OthersGone

    before = signal.signal(signal.SIGHUP, interrupt)
    process = start_helpers(run, cache_dir, attempt, names, meeting, preemptible)
    others = OtherNodes(names, process)
    listener = threading.Thread(target=others.listen, name="other nodes", daemon=True)
    listener.start()
    try:
        yield others
    finally:
        others.ours_are_done()
        signal.signal(signal.SIGHUP, before)
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        listener.join(GRACE_SECONDS)
        if process.poll() is None:
            process.terminate()


def start_helpers(
    run: RunDir, cache_dir: Path, attempt: int, names: list[str], meeting: Meeting, preemptible: bool
) -> subprocess.Popen[str]:
    """Have Slurm start a helper on each of these nodes of the job."""
    cpus = os.environ.get("SLURM_CPUS_PER_TASK", "")
    step = [f"--nodes={len(names)}", f"--ntasks={len(names)}", "--ntasks-per-node=1"]
    step += [f"--nodelist={','.join(names)}", "--wait=0", "--kill-on-bad-exit=0"]
    step += [f"--cpus-per-task={cpus}"] if cpus else []  # from 22.05 on a step does not take it from its job
    command = python_command("engine.worker.node", str(run.path), "--cache", str(cache_dir))
    command += ["--attempt", str(attempt), "--nodes", str(meeting.nodes)]
    command += ["--meet", f"{meeting.address}:{meeting.port}"]
    command += ["--preemptible"] if preemptible else []
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(["srun", *step, *command], stdin=pipe, stdout=pipe, text=True)
    except OSError as error:
        raise NodesError(f"slurm.nodes: srun cannot be started on this node: {error.strerror}") from error


def other_nodes(nodes: int) -> tuple[list[str], str]:
    """The names of the job's other nodes, and the address of this one by which they reach it. Raises
    NodesError."""
    listed, own = os.environ.get("SLURM_JOB_NODELIST", ""), os.environ.get("SLURMD_NODENAME", "")
    names = _ask("scontrol", "show", "hostnames", listed).split() if listed else []
    if len(names) != nodes or own not in names:
        have = f"has {len(names)}" if names else "is no job of Slurm"
        raise NodesError(f"slurm.nodes: the run is to be on {nodes} nodes, and this {have}")
    others = [name for name in names if name != own]
    told = _ask("scontrol", "--oneliner", "show", "node", others[0])
    found = re.search(r"\bNodeAddr=(\S+)", told)
    return others, address_towards(found[1] if found else others[0])


def address_towards(host: str) -> str:
    """This machine's IPv4 address on the way to another one. Raises NodesError. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
    except OSError as error:
        raise NodesError(f"slurm.nodes: there is no way to the node {host}: {error.strerror}") from error


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NodesError(f"slurm.nodes: {command[0]} cannot be asked on this node: {error}") from error
    if done.returncode:
        told = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0]
        raise NodesError(f"slurm.nodes: {command[0]} cannot tell the nodes of the job: {told}")
    return done.stdout
