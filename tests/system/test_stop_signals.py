"""Signals that meet a worker at a bad moment: before it computes, and after its ranks have."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.run.directory import RunDir
from engine.run.events import Failed, Stopped
from engine.run.journal import read_all
from engine.worker.entry import EXIT_STOPPED

MakeRun = Callable[[RunConfig], RunDir]

DISTURBED = """
import contextlib, os, signal, sys
from engine.run.events import Stopped
from engine.worker import entry

number = signal.Signals[sys.argv.pop()]

def then_signal(value):
    os.kill(os.getpid(), number)
    return value

MOMENT
sys.exit(entry.main())
"""
"""A worker that a signal of the name of its last argument meets at a MOMENT."""

AT_THE_BEGINNING = """
usable_config = entry.usable_config
entry.usable_config = lambda run: then_signal(usable_config(run))
"""

AFTER_THE_RANKS = """
@contextlib.contextmanager
def exchange(exchange=entry.exchange):
    with exchange() as between:
        yield between
    then_signal(None)

entry.exchange = exchange
entry.run_ranks = lambda *arguments: Stopped(cause="preempted", epoch=0)
"""


@pytest.mark.parametrize(
    ("moment", "number", "devices", "cause"),
    [
        (AT_THE_BEGINNING, "SIGINT", 1, "stopped"),
        (AT_THE_BEGINNING, "SIGTERM", 1, "stopped"),
        (AT_THE_BEGINNING, "SIGUSR2", 1, "preempted"),
        (AFTER_THE_RANKS, "SIGTERM", 2, "preempted"),
    ],
    ids=["stopped", "told to end", "preempted", "after the ranks"],
)
def test_a_signal_is_a_stop_request_from_the_beginning_to_the_end(
    new_run: MakeRun, tiny: RunConfig, moment: str, number: str, devices: int, cause: str
) -> None:
    run = new_run(with_values(tiny, {"device": "cpu", "devices": devices}))
    code = DISTURBED.replace("MOMENT", moment)
    done = subprocess.run([sys.executable, "-c", code, run.path, number], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (EXIT_STOPPED, "")
    told = run.read_exit()
    assert told is not None
    assert (told.status, told.cause) == ("stopped", cause)
    assert [event.cause for event in read_all(run.journal) if isinstance(event, Stopped | Failed)] == [cause]
