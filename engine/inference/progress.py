"""Passes over images that come one after the other: read ahead, with word of how far it is and stops
between."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

from engine.data.decode import map_in_order
from engine.host.processes import available_cores
from engine.run.events import Progress
from engine.worker.job import Job

MOST_READERS = 8
"""A GPU is faster than two threads that decode. With eight at most 33 images are on the way, 8 MB each at
1024x2048 with labels, and their views."""

_Item = TypeVar("_Item")
_Read = TypeVar("_Read")


def readers() -> int:
    """Threads that decode ahead."""
    return max(2, min(MOST_READERS, available_cores()))


def read_ahead(
    job: Job, items: Sequence[_Item], read: Callable[[_Item], _Read]
) -> Generator[tuple[_Item, _Read], None, None]:
    """The items in order with what `read` gives of them, decoded by threads."""
    with closing(map_in_order(read, items, readers(), job.check_stop_while_waiting)) as decoded:
        yield from zip(items, decoded, strict=True)


@dataclass
class Steps:
    """Tells how far a pass over images is, and stops between two of them."""

    job: Job
    phase: str
    steps: int
    before: int = 0
    begun: float = field(default_factory=time.monotonic)
    step: int = field(init=False)

    def __post_init__(self) -> None:
        self.step = self.before

    def done(self) -> None:
        """One more; `before` were done by an earlier attempt. Raises StopRequested."""
        self.step += 1
        self.job.step_done()
        if self.job.progress_is_due() or self.step == self.steps:
            rate = (self.step - self.before) / max(time.monotonic() - self.begun, 1e-9)
            self.job.report(
                Progress(
                    phase=self.phase,
                    epoch=0,
                    step=self.step,
                    steps=self.steps,
                    images_per_second=round(rate, 3),
                    eta_seconds=round((self.steps - self.step) / rate, 1),
                )
            )
        self.job.check_stop()
