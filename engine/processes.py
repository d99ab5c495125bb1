"""Which process is this, and is it still the same one? A pid alone cannot say: pids are reused.

A process is known by its host, its pid, the kernel's start time of that pid and the boot of the host
it lives in (Linux, proc(5)).
"""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ProcessIdentity:
    """One process for all time. `start_time` is in clock ticks since boot, raw from /proc/<pid>/stat."""

    host: str
    pid: int
    start_time: int
    boot_id: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ProcessIdentity:
        return cls(str(value["host"]), int(value["pid"]), int(value["start_time"]), str(value["boot_id"]))


CORES_VARIABLE = "SEG_CORES"
"""The variable by which an agent tells a worker, and all that it starts, its share of the cores."""


def available_cores() -> int:
    """Cores this process may really use: its affinity, capped by the quota of its cgroup (v2), by what Slurm
    has given the job (a cluster without cgroups or affinity says it in SLURM_CPUS_PER_TASK alone) and by its
    share where an agent runs several at once."""
    cores = len(os.sched_getaffinity(0))
    for variable in ("SLURM_CPUS_PER_TASK", CORES_VARIABLE):
        given = os.environ.get(variable, "")
        if given.isdecimal():
            cores = max(1, min(cores, int(given)))
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
        quota, period = Path(f"/sys/fs/cgroup{group}/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def identify(pid: int | None = None) -> ProcessIdentity:
    """The identity of process `pid` (default: this one). Raises ProcessLookupError when it is gone."""
    pid = os.getpid() if pid is None else pid
    stat = _stat_fields(pid)
    if stat is None:
        raise ProcessLookupError(f"no process {pid}")
    return ProcessIdentity(socket.gethostname(), pid, int(stat[19]), boot_id())


def boot_id() -> str:
    """Names this boot of this host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def is_alive(process: ProcessIdentity) -> bool | None:
    """True or False for a process of this host, None where only its own host could tell.

    A zombie has done its last deed and counts as dead.
    """
    if process.host != socket.gethostname():
        return None
    if process.boot_id != boot_id():
        return False
    stat = _stat_fields(process.pid)
    return stat is not None and int(stat[19]) == process.start_time and stat[0] not in ("Z", "X")


def group_usage() -> tuple[float, int]:
    """What this process's group uses: processor seconds since each of its processes began, those of children
    that have ended included, and bytes of memory of its own. Mapped files do not count: they can be dropped.

    Source: proc(5), /proc/<pid>/stat and the RssAnon line of /proc/<pid>/status.
    """
    group, tick = os.getpgrp(), os.sysconf("SC_CLK_TCK")
    seconds, memory = 0.0, 0
    for name in os.listdir("/proc"):
        stat = _stat_fields(int(name)) if name.isdigit() else None
        if stat is not None and int(stat[2]) == group:
            seconds += sum(map(int, stat[11:15])) / tick
            memory += _own_memory(int(name))
    return seconds, memory


def _own_memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the third (state) on; index 19 is the start time."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets and may itself hold spaces and brackets.
    return text.rpartition(")")[2].split()
