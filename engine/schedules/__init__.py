"""Schedules: the learning rate over a run. Torch-free; the base of their config sections and the registry.

A schedule is a section with its keys, whose `shape` is a pure function of the time: a resumed run needs no
state of it.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING

from pydantic import ConfigDict

from engine.components.origin import ComponentError
from engine.components.sections import Registry
from engine.config.fields import Section, option

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig


class ScheduleSection(Section):
    """The keys that every schedule has, and its shape.

    A subclass has a field `name: Literal["mine"] = option("mine", "Schedule")`, further fields for its own
    keys, and `shape`; `@schedules.register` makes it known.
    """

    name: str
    warmup_epochs: float = option(0.0, "Linear rise from 0 to the peak", unit="epochs", ge=0, le=1_000_000)

    def shape(self, done: float, epoch: float) -> float:
        """The learning rate of a step after the warm-up, over its peak: a finite number from 0.

        `done` is the share of the steps after the warm-up that are done, in [0, 1). `epoch` is the number of
        epochs that are done since the run began, the warm-up's and parts of an epoch included.
        """
        raise NotImplementedError(f"{type(self).__name__} has no shape()")


class UnknownSchedule(ScheduleSection):
    """The keys of a schedule that is not registered here, as a run has them on its record."""

    model_config = ConfigDict(extra="allow")

    def shape(self, done: float, epoch: float) -> float:
        raise ComponentError(f"schedule.name={self.name}: no such schedule here")


SCHEDULES: Registry[ScheduleSection] = Registry(
    "schedule", "seg_engine.schedules", ScheduleSection, default="constant", unknown=UnknownSchedule
)
"""Every schedule by the value of `schedule.name`."""

register = SCHEDULES.register


def learning_rate(config: RunConfig, step: int, steps_per_epoch: int) -> float:
    """The learning rate of optimizer step `step` (from 0) of the whole run: warm-up, then the schedule.

    Raises ComponentError when the schedule gives something else than a finite number from 0.
    """
    schedule, peak = config.schedule, config.optimizer.lr
    warmup = schedule.warmup_epochs * steps_per_epoch
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, config.epochs * steps_per_epoch - warmup)
    factor: object = schedule.shape(done, step / steps_per_epoch)
    if not isinstance(factor, Real) or not math.isfinite(factor) or factor < 0:
        raise ComponentError(
            f"schedule.name={schedule.name} ({type(schedule).__module__}): shape({done:g}, "
            f"{step / steps_per_epoch:g}) is {factor!r}; it must be a finite number from 0"
        )
    return peak * float(factor)  # NumPy's own numbers would not fit into a checkpoint


def check_schedule(config: RunConfig) -> None:
    """Walk a schedule from beginning to end, so that a broken one is refused before the first step.

    Raises ComponentError, one line.
    """
    per_epoch = max(1, _CHECKED // config.epochs)
    steps = config.epochs * per_epoch
    for step in (*range(0, steps, max(1, steps // _CHECKED)), steps - 1):
        learning_rate(config, step, per_epoch)


_CHECKED = 1000
"""Steps of a schedule that are looked at."""
