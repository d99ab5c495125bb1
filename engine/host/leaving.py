"""Ending a process that computes: at once, with all that it has started, and by nobody's leave.

What a process starts (loaders, ranks, a search for a batch that fits) may be stuck on a disk that is gone, or
deaf to SIGTERM, and Python would join it for ever at its exit. So the end goes past Python's exit, once the
record is written.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from typing import NoReturn

from engine.host.processes import living_pids, parent_of, send_signal

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl.h
KILL_SECONDS = 2.0
"""How long SIGKILL is repeated for what is still being started."""


def adopt_orphans() -> None:
    """Let the kernel give this process the children of its children that die, so that it can end them,
    too."""
    with suppress(OSError, AttributeError):  # another C library has no prctl
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_the_parent() -> None:
    """Let the kernel end this process with the one that started it, however that ends.

    Such a process may be in a session of its own, where a signal to the group of its parent does not reach
    it.
    """
    parent = os.getppid()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it was faster


def leave(status: int) -> NoReturn:
    """End this process with an exit status, and before that all processes that come of it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    end_children()
    os._exit(status)


def end_children() -> None:
    """Kill all processes that come of this one; those that the kernel itself holds die when it lets go."""
    with suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would raise an error in here for each
    deadline = time.monotonic() + KILL_SECONDS
    while (left := [pid for pid in living_pids() if _comes_of_this(pid)]) and time.monotonic() < deadline:
        for pid in left:
            _kill(pid)
        time.sleep(0.01)


def _kill(pid: int) -> None:
    with suppress(PermissionError):  # it has become another user's
        send_signal(pid, signal.SIGKILL, _comes_of_this)


def _comes_of_this(pid: int) -> bool:
    me, parent = os.getpid(), parent_of(pid)
    while parent is not None and parent > 1 and parent != me:
        parent = parent_of(parent)
    return parent == me
