"""Which process is this, and is it still the same one? A pid alone cannot say: pids are reused.

A process is known by its host, its pid, the kernel's start time of that pid, the boot of the host it lives in
and the pid namespace that counts it (Linux, proc(5), pid_namespaces(7)). Signals go through `send_signal`,
which holds the process fast before it looks whether it is the one that is meant.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from engine.host.access import owner_of_path, user_name

LARGEST_PID = 1 << 22
"""The kernel's own bound (proc_sys_kernel(5), pid_max)."""


@dataclass(frozen=True)
class ProcessIdentity:
    """One process for all time. `start_time` is in clock ticks since boot, raw from /proc/<pid>/stat;
    `pid_namespace` is the inode of /proc/<pid>/ns/pid, None where it is not known."""

    host: str
    pid: int
    start_time: int
    boot_id: str
    pid_namespace: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> ProcessIdentity:
        """Takes nothing on trust: files and databases are written by others, too. Raises ValueError, with one
        line that says which value is wrong."""
        if not isinstance(value, dict):
            raise ValueError("is no JSON object")
        for name in ("host", "boot_id"):
            if not isinstance(value.get(name), str) or not value[name]:
                raise ValueError(f"{name} is {shown(value.get(name))}, not a text")
        for name, first, last in (("pid", 1, LARGEST_PID), ("start_time", 0, 2**63 - 1)):
            number = value.get(name)
            if type(number) is not int or not first <= number <= last:
                raise ValueError(f"{name} is {shown(number)}, not a whole number from {first} to {last}")
        namespace = value.get("pid_namespace")
        if namespace is not None and type(namespace) is not int:
            raise ValueError(f"pid_namespace is {shown(namespace)}, not a whole number")
        return cls(value["host"], value["pid"], value["start_time"], value["boot_id"], namespace)


def shown(value: Any) -> str:
    """A value of a file that others write, short enough for one line."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no whole number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 40 else f"{text[:37]}..."


SAFE_PATH_VARIABLE = "PYTHONSAFEPATH"


def python_command(module: str, *words: str) -> list[str]:
    """The command line of a Python process that runs a module of this program: the only place that makes one.

    With -P the folder where it starts, which is the user's workspace, is not among those that modules come
    from: whatever `engine.py`, `queue.py` or `torch.py` lies there is not taken for another of that name. To
    be started with `python_environment`, which says the same to the processes that it starts in turn.
    """
    return [sys.executable, "-P", "-m", module, *words]


def python_code(code: str) -> list[str]:
    """The same for a few lines of Python."""
    return [sys.executable, "-P", "-c", code]


def python_environment() -> dict[str, str]:
    """This process's environment for the Python processes that it starts, and theirs.

    An empty entry of PYTHONPATH means the folder where a process starts, and comes of
    `PYTHONPATH=$PYTHONPATH:/mine`; it is left out. Relative entries mean what they do here, wherever the
    process starts.
    """
    environment = {**os.environ, SAFE_PATH_VARIABLE: "1"}
    if "PYTHONPATH" in environment:
        entries = [os.path.abspath(entry) for entry in environment["PYTHONPATH"].split(os.pathsep) if entry]
        environment["PYTHONPATH"] = os.pathsep.join(entries)
    return environment


CORES_VARIABLE = "SEG_CORES"
"""The variable by which an agent tells a worker, and all that it starts, its share of the cores."""


def available_cores() -> int:
    """Cores this process may really use: its affinity, capped by the quotas of its cgroup (v2) and of those
    around it, by what Slurm has given the job (a cluster without cgroups or affinity says it in
    SLURM_CPUS_PER_TASK alone) and by its share where an agent runs several at once."""
    cores = len(os.sched_getaffinity(0))
    for variable in ("SLURM_CPUS_PER_TASK", CORES_VARIABLE):
        given = os.environ.get(variable, "")
        if given.isdecimal():
            cores = max(1, min(cores, int(given)))
    return max(1, min([cores, *map(int, cgroup_quotas())]))


def cgroup_quotas() -> Iterator[float]:
    """The cores' worth of time that each cgroup (v2) around this process grants. A limit holds for all below
    it (cgroup-v2.rst, cpu.max): a session often has none, and the slice of its user has one."""
    try:
        group = PurePosixPath(Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2])
    except OSError:
        return
    for inside in (group, *group.parents):
        with contextlib.suppress(OSError, ValueError):
            quota, period = Path(f"/sys/fs/cgroup/{inside}/cpu.max").read_text().split()
            if quota != "max":
                yield int(quota) / int(period)


def identify(pid: int | None = None) -> ProcessIdentity:
    """The identity of process `pid` (default: this one). Raises ProcessLookupError when it is gone."""
    pid = os.getpid() if pid is None else pid
    stat = _stat_fields(pid)
    if stat is None:
        raise ProcessLookupError(f"no process {pid}")
    return ProcessIdentity(socket.gethostname(), pid, int(stat[19]), boot_id(), pid_namespace(pid))


def boot_id() -> str:
    """Names this boot of this host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def pid_namespace(pid: int | str = "self") -> int | None:
    """Names the namespace that counts a process; None where the kernel does not tell."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return None


def is_alive(process: ProcessIdentity) -> bool | None:
    """True or False for a process of this host and pid namespace, None where only its own could tell.

    A zombie has done its last deed and counts as dead.
    """
    if process.host != socket.gethostname():
        return None
    if process.boot_id != boot_id():
        return False
    if process.pid_namespace is not None and process.pid_namespace != pid_namespace():
        return None  # its pid means another process here, or none
    stat = _stat_fields(process.pid)
    return stat is not None and int(stat[19]) == process.start_time and stat[0] not in ("Z", "X")


def user_of(path: Path) -> str:
    """The name of the user to whom a file, a folder or a process (/proc/<pid>) belongs, "" when unknown."""
    uid = owner_of_path(path)
    return "" if uid is None else user_name(uid)


def command_line(pid: int) -> list[str]:
    """The words that a process was started with; none for a zombie and for one that is gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(word) for word in raw.split(b"\0")[:-1]]


def environment_of(pid: int, variable: str) -> str | None:
    """A variable that a process was started with; None without it, and for another user's process."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    start = os.fsencode(variable) + b"="
    return next(
        (os.fsdecode(word[len(start) :]) for word in raw.split(b"\0") if word.startswith(start)), None
    )


def living_pids() -> Iterator[int]:
    """Every process that this one can see but the first, itself and those that have ended."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) > 1 and int(name) != os.getpid():
            stat = _stat_fields(int(name))
            if stat is not None and stat[0] not in ("Z", "X"):
                yield int(name)


def parent_of(pid: int) -> int | None:
    """The pid of a process's parent, 0 where that is outside of what can be seen; None when it is gone."""
    stat = _stat_fields(pid)
    return int(stat[1]) if stat is not None else None


def session_of(pid: int) -> int | None:
    """The session of a process, which has the pid of the process that began it; None when it is gone."""
    stat = _stat_fields(pid)
    return int(stat[3]) if stat is not None else None


def send_signal(pid: int, number: signal.Signals, is_meant: Callable[[int], bool]) -> bool:
    """Signal a process that `is_meant` answers for, and no other; returns whether that was done.

    The process is held by a descriptor before it is looked at: another that gets its pid meanwhile gets no
    signal. The first process of a system or container, whole groups (pids of 0 and less) and this process are
    never signalled. Raises PermissionError for another user's process.
    """
    if not 1 < pid <= LARGEST_PID or pid == os.getpid():
        return False
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except (OSError, AttributeError):  # a kernel before 5.3, or a sandbox: the look itself is all there is
        if is_meant(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                return True
        return False
    try:
        if is_meant(pid):
            signal.pidfd_send_signal(descriptor, number)
            return True
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    return False


def usage_of_all() -> tuple[float, int]:
    """What this process uses with all that come of it: processor seconds since each of them began, those of
    children that have ended included, and bytes of memory of their own. Mapped files do not count: they can
    be dropped.

    Source: proc(5), /proc/<pid>/stat and the RssAnon line of /proc/<pid>/status.
    """
    stats = {int(name): _stat_fields(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        if stat is not None:
            children.setdefault(int(stat[1]), []).append(pid)
    seconds, memory, tick = 0.0, 0, os.sysconf("SC_CLK_TCK")
    counted = [os.getpid()]
    for pid in counted:
        stat = stats.get(pid)
        if stat is not None:
            seconds += sum(map(int, stat[11:15])) / tick
            memory += _own_memory(pid)
        # By descent and not by the process group: torchrun's launcher starts ranks in sessions of their own.
        counted += children.get(pid, [])
    return seconds, memory


def _own_memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the third (state) on; index 19 is the start time."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    # The second field is the program's name in brackets and may itself hold spaces and brackets.
    return text.rpartition(")")[2].split()
