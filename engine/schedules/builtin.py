"""The schedules that seg-engine has, and what installed packages add."""

from __future__ import annotations

import bisect
import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from engine.config.fields import option
from engine.schedules import SCHEDULES, ScheduleSection, Time, TimedSchedule, register

__all__ = [
    "SCHEDULES",
    "ConstantConfig",
    "CosineConfig",
    "LinearConfig",
    "OneCycleConfig",
    "PolyConfig",
    "ScheduleSection",
    "StepConfig",
]

_NAME = (
    "Shape after the warm-up: constant; half a cosine; (1 - t)^power; drops by a factor; constant, then "
    "linear; or up and down once"
)


@register
class ConstantConfig(ScheduleSection):
    """The peak from the warm-up to the end."""

    name: Literal["constant"] = option("constant", _NAME)

    def shape(self, done: float, epoch: float) -> float:
        return 1.0


@register
class CosineConfig(TimedSchedule):
    """Half a cosine from the peak to schedule.min_lr (Loshchilov and Hutter 2017)."""

    name: Literal["cosine"] = option("cosine", _NAME)

    def shape(self, done: float, epoch: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * done))


@register
class PolyConfig(TimedSchedule):
    """(1 - t)^power of the peak, down to schedule.min_lr, as DeepLab has it (Chen et al. 2017)."""

    name: Literal["poly"] = option("poly", _NAME)
    power: float = option(0.9, "Exponent of (1 - t)", gt=0, le=10)

    def shape(self, done: float, epoch: float) -> float:
        return math.pow(1 - done, self.power)


def _rising_times(value: Any) -> Any:
    """Accept a list of numbers beside numbers joined by commas, and keep them joined."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        return value
    try:
        times = [float(each) for each in given if str(each).strip()]
    except (TypeError, ValueError):
        raise ValueError("not numbers") from None
    if not all(0 < time < math.inf for time in times) or sorted(set(times)) != times:
        raise ValueError("not rising")
    return ",".join(f"{time:.15g}" for time in times)


Milestones = Annotated[str, BeforeValidator(_rising_times)]


@register
class StepConfig(TimedSchedule):
    """Drops by a factor, at milestones or at equal intervals; never below schedule.min_lr."""

    name: Literal["step"] = option("step", _NAME)
    factor: float = option(0.1, "Learning rate after a drop over that before", gt=0, lt=1)
    every: float = option(
        30.0, "Epochs or iterations (schedule.by) between drops, where no milestones are given", gt=0, le=1e9
    )
    milestones: Milestones = option(
        "",
        "When the rate drops, in epochs or iterations (schedule.by)",
        form="rising numbers above 0 separated by commas, such as 30,60",
        commas=True,
    )

    def times(self) -> list[float]:
        return [float(each) for each in self.milestones.split(",") if each]

    def problem(self, epochs: int, steps_per_epoch: int | None = None) -> str:
        length, unit = self._length(epochs, steps_per_epoch)
        if self.milestones and self.every != StepConfig.model_fields["every"].default:
            return "schedule.every: has no effect beside schedule.milestones; give one of them"
        late = [time for time in self.times() if length is not None and time >= length]
        if late:
            return f"schedule.milestones: {late[0]:g} is not reached in {length} {unit}; it must be smaller"
        return super().problem(epochs, steps_per_epoch)

    def idle(self, epochs: int, steps_per_epoch: int | None = None) -> str:
        length, unit = self._length(epochs, steps_per_epoch)
        if length is None:
            return ""
        if self.milestones:
            told = (self.too_late("milestones", time, length) for time in self.times())
            return next(filter(None, told), "")
        if self.every < length:
            return self.too_late("every", self.every, length)
        return f"schedule.every={self.every:g} has no effect in {length} {unit}: the rate never drops"

    def _length(self, epochs: int, steps_per_epoch: int | None) -> tuple[int | None, str]:
        """How long the run is, as far as it is known, and the unit that times are in."""
        if self.by != "iterations":
            return epochs, "epochs"
        return None if steps_per_epoch is None else epochs * steps_per_epoch, "iterations"

    def at(self, time: Time) -> float:
        passed = time.passed(self.by)
        times = self.times()
        drops = bisect.bisect_right(times, passed) if times else math.floor(passed / self.every)
        return float(self.factor**drops)

    def rate(self, factor: float, peak: float, time: Time) -> float:
        return max(self.min_lr, peak * factor)


@register
class LinearConfig(TimedSchedule):
    """The peak for some time, then a straight line to schedule.min_lr at the end of the run.

    Wu et al. (2016) train ResNet-38 so, with schedule.hold=140 schedule.fall_from=0.5.
    """

    name: Literal["linear"] = option("linear", _NAME)
    hold: float = option(
        0.0, "Epochs or iterations (schedule.by) at the peak, the warm-up's included", ge=0, le=1e9
    )
    fall_from: float = option(1.0, "Learning rate at which the fall begins over optimizer.lr", gt=0, le=1)

    def problem(self, epochs: int, steps_per_epoch: int | None = None) -> str:
        in_epochs = self.by != "iterations"
        length = epochs if in_epochs else None if steps_per_epoch is None else epochs * steps_per_epoch
        if length is not None and self.hold >= length:
            unit = "epochs" if in_epochs else "iterations"
            return f"schedule.hold: {self.hold:g} leaves nothing of {length} {unit}; it must be smaller"
        return super().problem(epochs, steps_per_epoch)

    def idle(self, epochs: int, steps_per_epoch: int | None = None) -> str:
        return self.too_late("hold", self.hold, epochs)

    def at(self, time: Time) -> float:
        return 1.0 if time.passed(self.by) < self.hold else self.fall_from * time.left(self.by, self.hold)

    def rate(self, factor: float, peak: float, time: Time) -> float:
        if time.passed(self.by) < self.hold:
            return peak
        left = factor / self.fall_from
        return max(self.min_lr, peak * factor + self.min_lr * (1 - left))


@register
class OneCycleConfig(TimedSchedule):
    """Up to the peak and down to schedule.min_lr, both by half a cosine (Smith and Topin 2018).

    The momentum stays as it is.
    """

    name: Literal["one_cycle"] = option("one_cycle", _NAME)
    rise: float = option(0.3, "Share of the run in which the rate rises", gt=0, lt=1)
    rise_from: float = option(0.04, "Learning rate at the beginning over optimizer.lr", gt=0, le=1)

    def problem(self, epochs: int, steps_per_epoch: int | None = None) -> str:
        for key in ("warmup_epochs", "warmup_iterations"):
            if getattr(self, key):
                return f"schedule.{key}: one_cycle rises by itself (schedule.rise); it must be 0"
        return super().problem(epochs, steps_per_epoch)

    def shape(self, done: float, epoch: float) -> float:
        if done < self.rise:
            return self.rise_from + (1 - self.rise_from) * 0.5 * (1 - math.cos(math.pi * done / self.rise))
        return 0.5 * (1 + math.cos(math.pi * (done - self.rise) / (1 - self.rise)))

    def rate(self, factor: float, peak: float, time: Time) -> float:
        return peak * factor if time.done < self.rise else super().rate(factor, peak, time)


SCHEDULES.load_installed()
