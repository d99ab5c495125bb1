"""The first moments of a program, in which Python imports it and nothing is open yet."""

from __future__ import annotations

import contextlib
import gc
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


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Around the imports of a program that lives long: quiet, and without a search for garbage in what stays.

    That search took 25 ms of the dashboard's imports, and again and again among thousands of runs a third of
    the time until 10,000 of them were shown; so it comes seldom from here on.
    """
    gc.disable()
    with quiet_interrupts():
        yield
    gc.freeze()
    gc.set_threshold(100_000)
    gc.enable()
