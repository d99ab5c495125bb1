"""Settling a process that is to compute: its threads, its memory. Imports no torch, which must come after.

The worker, the benchmark and the search for a batch that fits all begin with it, so that they compute alike.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from engine.config.sections import RuntimeConfig
from engine.host.processes import available_cores


def prepare_process(config: RuntimeConfig, ranks: int = 1) -> None:
    """Settle what must be settled before torch starts its threads and takes its first memory.

    `ranks` such processes share the cores.
    """
    threads = config.threads or max(1, available_cores() // ranks)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)
    if config.deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # without it cuBLAS may sum in any order
    keep_what_is_compiled()
    if config.keep_memory:
        keep_freed_memory()


def keep_what_is_compiled() -> None:
    """Have inductor keep compiled kernels in the user's cache folder, so that the next run need not compile
    them again: its own choice is a folder in /tmp, which a reboot or the end of a job empties.

    TORCHINDUCTOR_CACHE_DIR names another one. Inductor's default stays where there is no such folder.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:  # a user without a home
        return
    there = next((folder for folder in (home, *home.parents) if folder.exists()), None)
    if home.is_absolute() and there is not None and there.is_dir() and os.access(there, os.W_OK):
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(home / "seg-engine" / "inductor"))


def keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks for the next step.

    It gives large blocks back to the kernel at once, and the kernel hands them out again page by page, each
    zeroed: for activations of hundreds of MB that is more work than the arithmetic of a small network.
    Another C library has no mallopt and no such habit.
    """
    M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)  # no block gets a mapping of its own, which dies with it
    mallopt(M_TRIM_THRESHOLD, -1)  # the heap never shrinks
    mallopt(M_ARENA_MAX, 1)  # side heaps of threads hold at most 64 MB and would be mapped after all
