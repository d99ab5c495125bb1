"""Schedules: the learning rate over a run. Torch-free; the base of their config sections and the registry.

A schedule is a section with its keys, whose `shape` is a pure function of the time: a resumed run needs no
state of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict

from engine.components.origin import ComponentError
from engine.components.outside import defined_in
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
    warmup_epochs: float = option(
        0.0, "Linear rise from 0 to the peak, after every iteration", unit="epochs", ge=0, le=1_000_000
    )
    warmup_iterations: int = option(
        0, "The same counted in iterations; one of the two", unit="iterations", ge=0, le=1_000_000_000
    )

    def warmup(self, steps_per_epoch: int) -> float:
        """Iterations of the warm-up."""
        return self.warmup_iterations or self.warmup_epochs * steps_per_epoch

    @property
    def counts_iterations(self) -> bool:
        """Whether it depends on the number of iterations whether the schedule suits a run."""
        return self.warmup_iterations > 0 or getattr(self, "by", "") == "iterations"

    def problem(self, epochs: int, steps_per_epoch: int | None = None) -> str:
        """What of the schedule does not suit a run's length, `KEY: why; what would`; empty: nothing. The
        number of iterations is known only once the data is: None before."""
        if self.warmup_epochs and self.warmup_iterations:
            return (
                f"schedule.warmup_iterations: schedule.warmup_epochs is {self.warmup_epochs:g} as well; one "
                "of them must be 0"
            )
        for key, warmup, length in (
            ("warmup_epochs", self.warmup_epochs, epochs),
            ("warmup_iterations", self.warmup_iterations, steps_per_epoch and epochs * steps_per_epoch),
        ):
            if length is not None and warmup >= length and warmup > 0:
                unit = key.partition("_")[2]
                return f"schedule.{key}: {warmup:g} leaves nothing of {length} {unit}; it must be smaller"
        return ""

    def idle(self, epochs: int, steps_per_epoch: int | None = None) -> str:
        """What of the schedule has no effect in a run of that length, in a line; empty: nothing. Iterations
        are known as in `problem`."""
        return ""

    def at(self, time: Time) -> float:
        """`shape` at a time; to be overridden by a schedule that needs to know the time in iterations."""
        return self.shape(time.done, time.epoch)

    def rate(self, factor: float, peak: float, time: Time) -> float:
        """The learning rate at a time, where the shape is `factor`."""
        return peak * factor

    def shape(self, done: float, epoch: float) -> float:
        """The learning rate of a step after the warm-up, over its peak: a finite number from 0.

        `done` is the share of the steps after the warm-up that are done, in [0, 1). `epoch` is the number of
        epochs that are done since the run began, the warm-up's and parts of an epoch included.
        """
        raise NotImplementedError(f"{type(self).__name__} has no shape()")


@dataclass(frozen=True)
class Time:
    """A moment of a run after the warm-up. `done` and `epoch` are those of `ScheduleSection.shape`; `step`
    iterations of `steps` are done since the run began, the `warmup` of them included."""

    done: float
    epoch: float
    step: float
    steps: int
    epochs: int
    warmup: float

    def passed(self, by: str) -> float:
        """What is done of the run, in epochs or, by "iterations", in these."""
        return self.step if by == "iterations" else self.epoch

    def left(self, by: str, begun: float) -> float:
        """What is left of the time between `begun`, or the end of the warm-up if that is later, and the end
        of the run: from 1 to 0."""
        length = self.steps if by == "iterations" else self.epochs
        begun = max(begun, self.warmup * length / self.steps)
        return min(1.0, (length - self.passed(by)) / (length - begun)) if begun < length else 1.0


class TimedSchedule(ScheduleSection):
    """The keys of a schedule that changes after the warm-up."""

    by: Literal["auto", "epochs", "iterations"] = option(
        "auto",
        "epochs: the rate is constant within an epoch and times are epochs; iterations: it changes after "
        "every iteration and times are iterations; auto: it changes after every iteration, times are epochs",
    )
    min_lr: float = option(0.0, "Learning rate at which the fall ends", ge=0, le=100)

    def too_late(self, key: str, time: float, epochs: int) -> str:
        """That the time of a key lies within the last epoch where the rate changes only between epochs, in a
        line; empty: it does not."""
        if self.by != "epochs" or not epochs - 1 < time < epochs:
            return ""
        where = "lies within the last epoch; with schedule.by=epochs, no rate changes there"
        return f"schedule.{key}={time:g} {where}"

    def rate(self, factor: float, peak: float, time: Time) -> float:
        return self.min_lr + (peak - self.min_lr) * factor


class UnknownSchedule(ScheduleSection):
    """The keys of a schedule that is not registered here, as a run has them on its record."""

    model_config = ConfigDict(extra="allow")

    def shape(self, done: float, epoch: float) -> float:
        raise ComponentError(f"schedule.name={self.name}: no such schedule here")


SCHEDULES: Registry[ScheduleSection] = Registry(
    "schedule",
    "seg_engine.schedules",
    ScheduleSection,
    default="constant",
    unknown=UnknownSchedule,
    needs=("shape", "at"),
)
"""Every schedule by the value of `schedule.name`."""

register = SCHEDULES.register


def learning_rate(config: RunConfig, step: float, steps_per_epoch: int) -> float:
    """The learning rate of optimizer step `step` (from 0) of a run of `epochs` epochs: warm-up, then the
    schedule. With a budget a step lies between two of those.

    Raises ComponentError when the schedule gives something else than a finite number from 0.
    """
    schedule, peak = config.schedule, config.optimizer.lr
    warmup = schedule.warmup(steps_per_epoch)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if getattr(schedule, "by", "") == "epochs":
        step -= step % steps_per_epoch  # the epoch's first
    steps = config.epochs * steps_per_epoch
    done = max(0.0, step - warmup) / max(1, steps - warmup)
    time = Time(done, step / steps_per_epoch, step, steps, config.epochs, warmup)
    factor: object = schedule.at(time)
    if not isinstance(factor, Real) or not math.isfinite(factor) or factor < 0:
        raise ComponentError(
            f"schedule.name={schedule.name} ({defined_in(type(schedule))}): shape({done:g}, "
            f"{step / steps_per_epoch:g}) is {factor!r}; it must be a finite number from 0"
        )
    return schedule.rate(float(factor), peak, time)  # NumPy's own numbers would not fit into a checkpoint


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


def refuse_unsuitable(config: RunConfig, steps_per_epoch: int) -> None:
    """Raise ComponentError when the schedule does not suit so many iterations an epoch."""
    if problem := config.schedule.problem(config.epochs, steps_per_epoch):
        raise ComponentError(problem)
