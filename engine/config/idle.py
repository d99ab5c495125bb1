"""Keys that have no effect, as another key switches off what they are of, or as the run ends before they have
one."""

from __future__ import annotations

from collections.abc import Collection

from engine.config.described import config_keys, format_value, value_of
from engine.config.run_config import RunConfig

_OFF = (0, "", "none")


class IdleKey(UserWarning):
    """A key was given that has no effect; the message is a line that says why."""


def idle_keys(config: RunConfig, keys: Collection[str]) -> list[str]:
    """A line for each of these keys that has no effect in a config."""
    told = []
    for key in keys:
        switch = config_keys()[key].part_of
        if switch and (off := value_of(config, switch)) in _OFF:
            value = format_value(value_of(config, key))
            told.append(f"{key}={value} has no effect where {switch} is {format_value(off) or 'empty'}")
    decides_length = any(key == "epochs" or key.startswith("schedule.") for key in keys)
    if decides_length and (idle := config.schedule.idle(config.epochs)):
        told.append(idle)
    return told
