"""What a signal says to a run: SIGTERM and SIGINT stop it, SIGUSR2 preempts it, after the step and a save."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Literal

StopCause = Literal["stopped", "preempted", "timeout"]
STOP_CAUSES: tuple[StopCause, ...] = ("stopped", "preempted", "timeout")
"""The weightiest first: who asked for a stop wants no new attempt, whoever else needs the machine."""


def listen_for_stops(on_request: Callable[[StopCause], None], preemptible: bool = False) -> None:
    """From now on `on_request` is called for each signal, between two instructions of the main thread.

    `preemptible`: SIGTERM comes from a cluster that needs the machine; a person's stop request is SIGINT.
    """
    term: StopCause = "preempted" if preemptible else "stopped"
    causes: dict[int, StopCause] = {
        signal.SIGTERM: term,
        signal.SIGINT: "stopped",
        signal.SIGUSR2: "preempted",
    }

    def note(number: int, frame: FrameType | None) -> None:
        on_request(causes[number])

    for number in causes:
        signal.signal(number, note)
