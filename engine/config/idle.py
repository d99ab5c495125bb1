"""Keys that have no effect, as another key switches off what they are of."""

from __future__ import annotations

from collections.abc import Iterable

from engine.config.described import config_keys, format_value, value_of
from engine.config.run_config import RunConfig

_OFF = (0, "", "none")


class IdleKey(UserWarning):
    """A key was given that has no effect; the message is a line that says why."""


def idle_keys(config: RunConfig, keys: Iterable[str]) -> list[str]:
    """A line for each of these keys that has no effect in a config."""
    return [
        f"{key}={format_value(value_of(config, key))} {why}" for key in keys if (why := why_idle(config, key))
    ]


def why_idle(config: RunConfig, key: str) -> str:
    """That a key has no effect in a config, and which other one switches it off; "" where it has one."""
    about = config_keys().get(key)  # those of other tasks than training are not described
    if about is None or not about.part_of or (off := value_of(config, about.part_of)) not in _OFF:
        return ""
    return f"has no effect where {about.part_of} is {format_value(off) or 'empty'}"
