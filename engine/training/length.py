"""How long a run is, in epochs, images or hours, and where on its schedule a step lies.

A schedule is written for `epochs` epochs. A budget stretches or shortens it: at a share of the budget the
learning rate is that of the same share of the epochs. So any schedule ends where the budget ends, and its
warm-up and milestones keep their places in it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Literal

from engine.config.run_config import RunConfig
from engine.learning.distributed import Group


class Length:
    """`epochs` passes over the `images` training images, which are known once the data is."""

    cause: Literal["completed", "budget"] = "completed"
    """Why a run that is over has finished."""

    def __init__(self, config: RunConfig) -> None:
        self.images = 0
        self._config = config

    @property
    def steps(self) -> int:
        """Steps of a whole epoch."""
        return math.ceil(self.images / self._config.batch_size)

    @property
    def scheduled_steps(self) -> int:
        """Steps that the schedule is written for."""
        return self._config.epochs * self.steps

    def images_after(self, epoch: int) -> int:
        """Images of the epoch that follows `epoch` complete ones."""
        return self.images

    def is_over(self, epoch: int) -> bool:
        """Whether `epoch` complete epochs are all."""
        return epoch >= self._config.epochs

    def cuts(self, step: int) -> bool:
        """Whether an epoch ends after `step` steps, with images left."""
        return False

    def schedule_step(self, epoch: int, step: int) -> float:
        """Where on the schedule the step after `epoch` epochs and `step` steps lies, from 0 to
        `scheduled_steps`."""
        return epoch * self.steps + step

    def epochs_left(self, epoch: int, step: int) -> float:
        """What is left to train after `epoch` epochs and `step` steps."""
        return self._config.epochs - epoch - step / self.steps

    def steps_left(self, epoch: int, step: int) -> int:
        return (self._config.epochs - epoch) * self.steps - step

    def seconds_left(self) -> float | None:
        """What is left of a run that is measured in time."""
        return None

    def budget_used(self, epoch: int, step: int) -> float | None:
        """The share of the budget that is used, 1 at its end; None without a budget."""
        return None

    def told(self, epoch: int, step: int = 0) -> str:
        """How far a run is, for people: "epoch 3/60"."""
        return f"epoch {epoch}/{self._config.epochs}"

    def at_end(self) -> str:
        """What people should know of the length of a run that is over."""
        return ""

    def start_clock(self) -> None:
        """Count time from here on: what has passed since it was last read does not count."""

    def step_done(self) -> None:
        """A step has been made. All ranks call it, as they do `validated` and `read_clock`."""

    def validated(self) -> None:
        """A validation has followed the last step."""

    def read_clock(self) -> None:
        """Bring the time that is used up to date."""

    def state(self) -> dict[str, float]:
        """What a checkpoint has to keep; epochs and steps it has anyway."""
        return {}

    def load(self, saved: Mapping[str, float]) -> None:
        """Go on from a `state`."""


class ImageBudget(Length):
    """`budget.images` training images. The last epoch has what is left for it, so nothing but the number of
    epochs and steps that are done decides: a resumed run goes on to the bit."""

    cause = "budget"

    def images_after(self, epoch: int) -> int:
        return min(self.images, self._limit - epoch * self.images)

    def is_over(self, epoch: int) -> bool:
        return epoch * self.images >= self._limit

    def schedule_step(self, epoch: int, step: int) -> float:
        return self._done(epoch, step) * self.scheduled_steps / self._limit

    def epochs_left(self, epoch: int, step: int) -> float:
        return (self._limit - self._done(epoch, step)) / self.images

    def steps_left(self, epoch: int, step: int) -> int:
        whole, rest = divmod(self._limit, self.images)
        return whole * self.steps + math.ceil(rest / self._config.batch_size) - epoch * self.steps - step

    def budget_used(self, epoch: int, step: int) -> float | None:
        return self._done(epoch, step) / self._limit

    def told(self, epoch: int, step: int = 0) -> str:
        return f"epoch {epoch}, {100 * self._done(epoch, step) / self._limit:.3g} % of budget.images"

    def at_end(self) -> str:
        return f"budget.images={self._limit} is used"

    @property
    def _limit(self) -> int:
        return self._config.budget.images

    def _done(self, epoch: int, step: int) -> int:
        """Images that have been trained on."""
        of_epoch = min(step * self._config.batch_size, self.images)
        return min(epoch * self.images + of_epoch, self._limit)


class HourBudget(Length):
    """`budget.hours` of steps, validations, galleries and checkpoints, summed over the attempts.

    Ranks go by the clock of the main rank, which they ask by a number on the host. Of the time at the end, as
    much as the last validation took is left for the next: the schedule ends before it.
    """

    cause = "budget"

    def __init__(self, config: RunConfig, group: Group, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(config)
        self.seconds = 0.0
        """What all ranks know to be used."""
        self._group, self._clock = group, clock
        self._limit = 3600 * config.budget.hours
        self._began: float | None = None
        self._step_seconds = 0.0
        self._validation_seconds = 0.0
        self._over = False

    def is_over(self, epoch: int) -> bool:
        return self._over

    def cuts(self, step: int) -> bool:
        return self._over and step > 0

    def schedule_step(self, epoch: int, step: int) -> float:
        share = min(1.0, self.seconds / self._training_limit) if self._training_limit > 0 else 1.0
        return share * self.scheduled_steps

    def epochs_left(self, epoch: int, step: int) -> float:
        return self.steps_left(epoch, step) / self.steps

    def steps_left(self, epoch: int, step: int) -> int:
        """By the time that the last step took."""
        left = max(0.0, self._training_limit - self.seconds)
        return round(left / self._step_seconds) if self._step_seconds > 0 else 0

    def seconds_left(self) -> float | None:
        return max(0.0, self._limit - self.seconds)

    def budget_used(self, epoch: int, step: int) -> float | None:
        return 1.0 if self._over else min(self.seconds / self._limit, ALMOST)

    def told(self, epoch: int, step: int = 0) -> str:
        used = 100 * self.seconds / self._limit
        return f"epoch {epoch}, {f'{used:.3g}' if used < 1000 else f'{used:,.0f}'} % of budget.hours"

    def at_end(self) -> str:
        used = f"{self.seconds:.1f} of {self._limit:,.{1 if self._limit >= 1 else 4}f} s are used"
        return f"budget.hours={self._config.budget.hours:g}: {used}"

    def start_clock(self) -> None:
        self._began = self._clock() - self.seconds

    def step_done(self) -> None:
        before = self.seconds
        self.read_clock()
        self._step_seconds = self.seconds - before
        self._judge()

    def validated(self) -> None:
        before = self.seconds
        self.read_clock()
        self._validation_seconds = self.seconds - before
        self._judge()

    def read_clock(self) -> None:
        if self._began is not None:
            used = round(1000 * (self._clock() - self._began)) if self._group.is_main else 0
            self.seconds = self._group.largest(used) / 1000

    def state(self) -> dict[str, float]:
        return {"seconds": self.seconds, "validation_seconds": self._validation_seconds, "over": self._over}

    def load(self, saved: Mapping[str, float]) -> None:
        self.seconds = saved.get("seconds", 0.0)
        self._validation_seconds = saved.get("validation_seconds", 0.0)
        self._over = bool(saved.get("over", False))

    @property
    def _training_limit(self) -> float:
        """Seconds after which the last validation begins."""
        return self._limit - self._validation_seconds

    def _judge(self) -> None:
        """Only here a run becomes over, where it can be acted on: an epoch that begins has a step."""
        self._over = self._over or self.seconds >= self._training_limit


ALMOST = 0.9999
"""What is told of a budget that is not over."""


def length_of(config: RunConfig, group: Group) -> Length:
    """How long the run of a config is."""
    if config.budget.hours:
        return HourBudget(config, group)
    return ImageBudget(config) if config.budget.images else Length(config)
