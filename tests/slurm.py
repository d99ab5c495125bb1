"""A Slurm cluster of the tests' own: a controller and two nodes on the loopback, a core each."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REQUIRED = "SEG_TEST_SERVERS"
"""Set it to `required` where a missing server is a failure, not a reason to skip."""

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
NODES = ("n1", "n2")
UP_SECONDS = 60

# No cgroups, which containers keep to themselves, and nothing that listens beyond the loopback.
_SETTINGS = """
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1
ReturnToService=2
KillWait=20
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=main Nodes=n1,n2 Default=YES State=UP
"""


class Cluster:
    """The daemons in `folder`. Slurm's commands reach them by the variable SLURM_CONF."""

    def __init__(self, folder: Path, path: str) -> None:
        self.folder = folder
        self._environment = {**os.environ, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o400)
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        settings = _SETTINGS.format(folder=self.folder, user=getpass.getuser(), ports=_free_ports(3))
        (self.folder / "slurm.conf").write_text(settings)
        files = {name: self.folder / f"munge.{name}" for name in ("socket", "pid", "seed", "log")}
        options = [f"--key-file={self.folder}/munge.key", f"--socket={files['socket']}"]
        options += [f"--{name}-file={files[name]}" for name in ("pid", "seed", "log")]
        self._start("munged", "--foreground", "--force", *options)
        self._await(files["socket"].exists, "munged")
        self._start("slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        self._await(lambda: self.ask("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 2, "the nodes")

    def start_node(self, node: str) -> None:
        self._start("slurmd", "-D", "-N", node, key=node)

    def kill_node(self, node: str) -> None:
        """Let a node die as for want of power: its daemon, whoever watches its jobs, and then the jobs."""
        self._daemons[node].kill()
        self._daemons[node].wait()
        jobs = self._processes_of(node)
        watchers = {parent for job in jobs for parent in _slurmstepd_above(job)}
        for pid in [*watchers, *jobs]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # The controller would find out by itself, in its own time.
        self.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=power")

    def revive_node(self, node: str) -> None:
        self.start_node(node)
        self.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def _processes_of(self, node: str) -> list[int]:
        """What the jobs on a node have started."""
        marks = (f"SLURMD_NODENAME={node}\0", f"SLURM_CONF={self.folder}/slurm.conf\0")
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (process / "environ").read_bytes()
                if all(mark.encode() in environment for mark in marks):
                    found.append(int(process.name))
        return found

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        return subprocess.run(command, env=self._environment, capture_output=True, text=True).stdout

    def node_of(self, job: str) -> str:
        return self.ask("squeue", "-h", "-j", job, "-o", "%N").strip()

    def stop(self) -> None:
        self.ask("scancel", f"--user={getpass.getuser()}", "--signal=KILL", "--full")
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _start(self, program: str, *options: str, key: str = "") -> None:
        with open(self.folder / f"{key or program}.out", "ab") as output:
            self._daemons[key or program] = subprocess.Popen(
                [shutil.which(program, path=self._environment["PATH"]) or program, *options],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _await(self, condition: object, what: str) -> None:
        assert callable(condition)
        deadline = time.monotonic() + UP_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
                raise RuntimeError(f"{what} did not come up:\n{logs}")
            time.sleep(0.1)


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster for as long as the block lasts; skips, or fails where servers are required, without Slurm."""
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        reason = f"{missing[0]} is not here (Debian: apt-get install slurmctld slurmd slurm-client munge)"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    # Not below pytest's folders, whose names are too long for a socket; munge wants to own the way to it.
    folder = Path(tempfile.mkdtemp(prefix="seg-slurm-"))
    folder.chmod(0o755)
    cluster = Cluster(folder, path)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _slurmstepd_above(pid: int) -> list[int]:
    """The slurmstepd that started a process, if that is its parent."""
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return [parent] if "slurmstepd" in Path(f"/proc/{parent}/comm").read_text() else []
    except OSError:
        return []


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
