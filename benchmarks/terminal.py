"""A program in a pseudoterminal, for measuring what somebody at a keyboard would see and when."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from bisect import bisect_right
from collections.abc import Sequence
from types import TracebackType
from typing import Self

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Terminal:
    """Starts `command` with a terminal of (columns, lines); all that it writes is kept with its time."""

    def __init__(self, command: Sequence[str], size: tuple[int, int], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        columns, lines = size
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.written = bytearray()
        self._ends: list[int] = []
        self._times: list[float] = []
        self.begun = time.time()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment
        )
        os.close(slave)

    def pump(self, seconds: float) -> bool:
        """Take what comes within that time, at least once; returns whether anything came."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if not ready:
            return False
        with contextlib.suppress(OSError):  # EIO: the other side was closed
            self.written += os.read(self._master, 1 << 20)
            self._ends.append(len(self.written))
            self._times.append(time.time())
            return True
        return False

    def pump_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.pump(left)

    def press(self, keys: str) -> float:
        """Send keys; returns when, in UTC seconds."""
        at = time.time()
        os.write(self._master, keys.encode())
        return at

    def wait_for(self, text: str, start: int = 0, timeout: float = 60.0) -> float:
        """When a text was written whole behind byte `start`, UTC seconds. Raises TimeoutError."""
        wanted, deadline = text.encode(), time.monotonic() + timeout
        looked = start
        while True:
            found = self.written.find(wanted, max(start, looked - len(wanted)))
            if found >= 0:
                return self.time_of(found + len(wanted))
            looked = len(self.written)
            ended = self.process.poll()
            if ended is not None or time.monotonic() > deadline:
                state = "the program goes on" if ended is None else f"the program ended with {ended}"
                raise TimeoutError(f"{text!r} did not come, {state}; what did: {self.written[-500:]!r}")
            self.pump(0.1)

    def first_seen(self, text: str) -> float | None:
        """When a text was first written, UTC seconds; None if it was not."""
        found = self.written.find(text.encode())
        return None if found < 0 else self.time_of(found + len(text))

    def time_of(self, length: int) -> float:
        """When the first `length` bytes were there."""
        return self._times[bisect_right(self._ends, length - 1)]

    def cpu_seconds(self) -> float:
        """Processor time that the program has used in all its threads."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def resident_bytes(self) -> int:
        with open(f"/proc/{self.process.pid}/status") as status:
            kib = next(line.split()[1] for line in status if line.startswith("VmRSS:"))
        return int(kib) * 1024

    def close(self) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
