"""Who is at a GPU: memory and processes as its driver tells of them, names as the kernel has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.host.input_files import shown
from engine.host.processes import command_line, user_of

GIB = 1 << 30

MOST_GIB = 10_000
"""The most free memory that can be asked for."""

UNNAMED_BYTES = GIB
"""How much of a GPU may be held by nobody whom the driver names: it may keep some for itself."""

MPS_SERVER = "nvidia-cuda-mps"
"""The Multi-Process Service, which holds a GPU for its clients. The driver lists these, too."""


@dataclass(frozen=True)
class Held:
    """What is held of a GPU, or of a slice of one, at a moment.

    `total` and `free` are bytes, without what the driver keeps for itself. `utilisation` is in percent.
    `computing` and `drawing` are the bytes that each process holds, by pid. None is what the driver does not
    tell.
    """

    total: int
    free: int
    utilisation: int | None = None
    computing: Mapping[int, int | None] = field(default_factory=dict)
    drawing: Mapping[int, int | None] = field(default_factory=dict)

    @property
    def unnamed(self) -> int:
        """Bytes that no process in sight holds, such as those of another container; 0 when they may be one's
        whose bytes are not known."""
        told = [*self.computing.values(), *self.drawing.values()]
        known = [held for held in told if held is not None]
        rest = self.total - self.free - sum(known)
        return rest if len(known) == len(told) and rest > UNNAMED_BYTES else 0


@dataclass(frozen=True)
class Holder:
    """A process that computes on a GPU. `user` is "" where the kernel does not show it."""

    pid: int
    held: int | None
    user: str = ""
    program: str = ""

    @classmethod
    def of(cls, pid: int, held: int | None, program: str = "") -> Holder:
        """The process as /proc has it. `program` is what to call it, by default the name of its file, which
        may be anything, also no text."""
        name = program or Path(next(iter(command_line(pid)), "")).name[:40]
        return cls(pid, held, user_of(Path(f"/proc/{pid}")), shown(name))

    def __str__(self) -> str:
        if not self.user:
            return f"process {self.pid}, which cannot be seen from here"
        return f"{self.user} ({self.program or 'unknown program'}, pid {self.pid})"


@dataclass(frozen=True)
class DeviceState:
    """A device on which no run is started now, and why: `waits` is the reason in words. `total`, `free` and
    `utilisation` are those of `Held`, and `holders` the processes of others, the largest first."""

    device: str
    waits: str
    total: int | None = None
    free: int | None = None
    utilisation: int | None = None
    holders: tuple[Holder, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DeviceState:
        """Raises ValueError, KeyError or TypeError for what is none."""
        holders = tuple(Holder(**holder) for holder in value["holders"])
        return cls(**{**value, "holders": holders})

    def __str__(self) -> str:
        return f"{self.device}: {self.waits}"


def sorted_holders(holders: Iterable[Holder]) -> tuple[Holder, ...]:
    """Those who hold most first."""
    return tuple(sorted(holders, key=lambda holder: (-(holder.held or 0), holder.pid)))


def who_holds(held: Held, holders: tuple[Holder, ...]) -> str:
    """How much others hold of a device and who, in words: "61.2 of 80 GiB held by anna (python, pid 4711) and
    1 other". `holders` are those of `sorted_holders`."""
    known = [holder.held for holder in holders if holder.held is not None]
    whole = held.total - held.free
    share = sum(known) if holders and len(known) == len(holders) else whole
    others = f" and {len(holders) - 1} other{'s' if len(holders) > 2 else ''}" if len(holders) > 1 else ""
    by = f"{holders[0]}{others}" if holders else "processes that cannot be seen from here"
    return f"{gib(share)} of {gib(held.total)} GiB held by {by}"


def gib(count: float) -> str:
    """Bytes as GiB with one decimal, none where it is 0."""
    return f"{count / GIB:.1f}".removesuffix(".0")
