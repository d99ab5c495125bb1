"""The worker's lines for people; its output goes to log.txt."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from engine.visible import one_line, visible


def say(line: str) -> None:
    """One line with the time of day. Never an error: a full disk must not end a run that wanted to speak."""
    _write(1, f"{time.strftime('%H:%M:%S')} {one_line(line)}\n")


def complain(text: str) -> None:
    """Text for stderr, as it is; never an error either."""
    _write(2, text.rstrip() + "\n")


def _write(descriptor: int, text: str) -> None:
    # Past Python's buffers: what they cannot get rid of now, they try again at the end of the process, which
    # then leaves with exit status 120.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    with contextlib.suppress(OSError):
        os.write(descriptor, visible(text).encode(errors="replace"))
