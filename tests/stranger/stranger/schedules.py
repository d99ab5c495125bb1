"""A learning rate that falls in a straight line."""

from typing import Literal

from engine import schedules
from engine.components import option


@schedules.register
class RampConfig(schedules.ScheduleSection):
    """A straight line to a share of the peak."""

    name: Literal["ramp"] = option("ramp", "Schedule")
    end: float = option(0.1, "Learning rate at the end over the peak", ge=0, le=1)

    def shape(self, done, epoch):
        return 1 + done * (self.end - 1)
