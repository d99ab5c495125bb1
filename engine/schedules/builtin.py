"""The schedules that seg-engine has, and what installed packages add."""

from __future__ import annotations

import math
from typing import Literal

from engine.config.fields import option
from engine.schedules import SCHEDULES, ScheduleSection, register

__all__ = ["SCHEDULES", "ConstantConfig", "CosineConfig", "PolyConfig", "ScheduleSection"]

_NAME = "Shape after the warm-up: constant, half a cosine to 0, or (1 - t)^0.9"


@register
class ConstantConfig(ScheduleSection):
    """The peak from the warm-up to the end."""

    name: Literal["constant"] = option("constant", _NAME)

    def shape(self, done: float, epoch: float) -> float:
        return 1.0


@register
class CosineConfig(ScheduleSection):
    """Half a cosine from the peak to 0 (Loshchilov and Hutter 2017)."""

    name: Literal["cosine"] = option("cosine", _NAME)

    def shape(self, done: float, epoch: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * done))


@register
class PolyConfig(ScheduleSection):
    """(1 - t)^0.9 of the peak, as DeepLab has it (Chen et al. 2017)."""

    name: Literal["poly"] = option("poly", _NAME)

    def shape(self, done: float, epoch: float) -> float:
        return math.pow(1 - done, 0.9)


SCHEDULES.load_installed()
