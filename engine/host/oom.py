"""Whether the kernel has killed for want of memory: its own counters, read before and after (Linux).

`oom_kill` of a cgroup counts the kills among its processes, whether its own limit was met or the machine's
(cgroup-v2.rst, memory.events); `oom_kill` in /proc/vmstat counts those of the whole machine.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any


def oom_kills(pid: int | str = "self", root: Path = Path("/")) -> dict[str, int]:
    """The counter that tells of process `pid`, by file: that of its cgroup, or the machine's if it has none.

    `root` is where /proc and /sys are. Empty where the kernel tells nothing.
    """
    try:
        groups = (root / f"proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        groups = []
    for line in groups:
        number, controllers, group = line.split(":", 2)
        if number == "0":
            folders, name = ["sys/fs/cgroup", "sys/fs/cgroup/unified"], "memory.events"
        elif "memory" in controllers.split(","):
            folders, name = ["sys/fs/cgroup/memory"], "memory.oom_control"
        else:
            continue
        for folder in folders:
            # A cgroup without the memory controller is counted in the nearest above that has it; a container
            # sees its own as the top.
            for inside in (PurePosixPath(group), *PurePosixPath(group).parents):
                found = _counter(root, f"{folder}{str(inside).rstrip('/')}/{name}")
                if found:
                    return found
    return _counter(root, "proc/vmstat")


def oom_killed_since(before: dict[Any, Any], root: Path = Path("/")) -> bool:
    """Whether a counter has risen since. A cgroup that is gone tells nothing, nor does what is no counter:
    what was read before comes from a file that others may have written."""
    return any(
        _counter(root, path).get(path, 0) > count
        for path, count in before.items()
        if isinstance(path, str) and type(count) is int and _is_counter(path)
    )


def _is_counter(path: str) -> bool:
    parts = PurePosixPath(path).parts
    if ".." in parts or "\0" in path:
        return False
    in_cgroup = parts[:3] == ("sys", "fs", "cgroup") and parts[-1] in ("memory.events", "memory.oom_control")
    return in_cgroup or parts == ("proc", "vmstat")


def _counter(root: Path, path: str) -> dict[str, int]:
    try:
        for line in (root / path).read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return {path: int(value)}
    except (OSError, ValueError):
        pass
    return {}
