"""What is mounted where, by what the kernel says (Linux, proc(5), /proc/<pid>/mountinfo)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mount:
    """`point` is a path as Python has it, also where its bytes are not UTF-8; `options` are those of the
    mount and of its file system."""

    point: str
    kind: str
    options: tuple[str, ...]


def read_mounts() -> bytes:
    """What the kernel tells this process, for `mounts_in`; empty where it tells nothing."""
    try:
        return Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return b""


def mounts_in(told: bytes) -> Iterator[Mount]:
    """The mounts, the earlier first: of two on one point the later hides the earlier."""
    # Bytes: the kernel escapes four characters, and a name may hold what else Python takes for white space.
    for line in told.split(b"\n"):
        left, _, right = line.partition(b" - ")
        fields, about = left.split(b" "), right.split(b" ")
        if len(fields) > 5:
            options = b",".join((fields[5], *about[2:])).split(b",")
            yield Mount(_unescaped(fields[4]), os.fsdecode(about[0]), tuple(map(os.fsdecode, options)))


def _unescaped(name: bytes) -> str:
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), name))
