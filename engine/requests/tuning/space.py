"""What a search may vary: `optimizer.lr=1e-5..1e-1:log model.width=16,32,64 epochs=10..40:10`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine.config.described import config_keys, format_value, unknown_key
from engine.config.grids import choices_of, values_of
from engine.config.keys import ConfigError
from engine.config.old_keys import new_name

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::(log|{_NUMBER}))?")

FORM = "write LOW..HIGH such as 1e-5..1e-1, with :log for a logarithmic scale or :STEP, or values: 16,32,64"


@dataclass(frozen=True)
class Axis:
    """One key that varies: over `choices`, as they are typed, or from `low` to `high`, both possible."""

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    is_whole: bool = False
    is_log: bool = False
    step: float | None = None

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values by which the axis can be checked: all choices, or both ends."""
        return self.choices or (self.low, self.high)

    @property
    def ends(self) -> tuple[str, ...]:
        """`extremes` as they are typed."""
        return tuple(map(self.typed, self.extremes))

    def typed(self, value: object) -> str:
        """A value as it is typed on the command line."""
        if self.choices:
            return str(value)
        assert isinstance(value, int | float)
        return str(int(value)) if self.is_whole else format_value(float(value))

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.is_whole:
            step = int(self.step or 1)
            return IntDistribution(int(self.low), int(self.high), log=self.is_log, step=step)
        return FloatDistribution(self.low, self.high, log=self.is_log, step=self.step)

    def grid(self) -> list[object]:
        """All values, for a search that tries each. Raises ConfigError where there is no end of them."""
        if self.choices:
            return list(self.choices)
        if self.step is None and not self.is_whole:
            raise ConfigError(
                [f"{self.key}: --sampler grid needs values or a step, such as {self.key}=0.1,0.01; {FORM}"]
            )
        step = self.step or 1
        values = [_after(self.low, step, i) for i in range(_steps_between(self.low, self.high, step) + 1)]
        return [int(value) for value in values] if self.is_whole else list(values)


def _steps_between(low: float, high: float, step: float) -> int:
    """How many steps up from `low` stay at or below `high`, of numbers as people write them: as floats, 0.3 -
    0.1 is less than 0.2."""
    first, last, by = (Decimal(str(number)) for number in (low, high, step))
    return int((last - first) / by)


def _after(low: float, step: float, number: int) -> float:
    """The value that so many steps lead to, as people write it: a sum of floats would be a little beside it,
    and the last one above the range."""
    return float(Decimal(str(low)) + number * Decimal(str(step)))


def parse_space(assignments: Sequence[str]) -> tuple[list[Axis], list[str]]:
    """The axes of a search, and the assignments of one value, which all trials have. Raises ConfigError."""
    axes, fixed = [], []
    for key, text in choices_of(assignments).items():
        found = _RANGE.fullmatch(text)
        if found is not None:
            axes.append(_range(key, text, found))
        elif ".." in text and _is_number(key):
            raise ConfigError([f"{key}: {text!r} is not a range; {FORM}"])
        elif len(values := values_of(key, text)) > 1:
            axes.append(Axis(key, choices=tuple(values)))
        else:
            fixed.append(f"{key}={values[0]}")
    if not axes:
        raise ConfigError([f"KEY=VALUES: no key varies, so there is nothing to tune; {FORM}"])
    return axes, fixed


def _is_number(key: str) -> bool:
    about = config_keys().get(new_name(key))
    return about is not None and about.kind in ("number", "whole number")


def _range(key: str, text: str, found: re.Match[str]) -> Axis:
    about = config_keys().get(new_name(key))
    if about is None and key.partition(".")[0] not in {name.partition(".")[0] for name in config_keys()}:
        raise ConfigError([unknown_key(key)])
    if about is not None and about.kind not in ("number", "whole number"):
        raise ConfigError([f"{key}: {text!r} is a range and the key is no number; list values, such as a,b"])
    low, high, how = float(found[1]), float(found[2]), found[3]
    are_whole = all(re.fullmatch(r"[-+]?\d+", part) for part in (found[1], found[2]))
    if about is not None and about.kind == "whole number" and not are_whole:
        raise ConfigError([f"{key}: {text!r} must have whole numbers at both ends"])
    # The width of one network is a number of channels, that of another a factor.
    kinds = {about.kind, *(form.kind for form in about.forms.values())} if about is not None else set()
    is_whole = are_whole and "whole number" in kinds
    if not low < high:
        raise ConfigError([f"{key}: {text!r} is not a range; the lower end comes first, such as 1e-5..1e-1"])
    if how == "log" and low <= 0:
        raise ConfigError([f"{key}: {text!r} has a logarithmic scale; the lower end must be above 0"])
    step = float(how) if how not in (None, "log") else None
    if step is not None and not (step > 0 and math.isfinite(high) and _steps_between(low, high, step)):
        raise ConfigError([f"{key}: {text!r} has a step that does not fit into it; {FORM}"])
    if step is not None and is_whole and step != int(step):
        raise ConfigError([f"{key}: {text!r} must have a whole number as its step"])
    if step is not None:  # the last value that there is, which steps from the lower end may not lead to
        high = _after(low, step, _steps_between(low, high, step))
    return Axis(key, (), low, high, is_whole, how == "log", step)
