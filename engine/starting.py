"""The first moments of a program, in which Python imports it and nothing is open yet."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_interrupts() -> Iterator[None]:
    """Let Ctrl-C end the program at once and without a traceback while the block lasts.

    The status is that of an interrupted program, `engine.exits.INTERRUPTED`. Who is deaf to Ctrl-C, as what
    nohup started, stays so.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
