"""What an agent has to heed when it shares its machine with others: section `[agent]` of `seg.toml`
or of `agent.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import field_validator

from engine.config.fields import Section, option
from engine.config.quiet_hours import FORM, QuietHours
from engine.config.settings_file import SettingsError, checked, load
from engine.host.occupancy import MOST_GIB

SECTION = "agent"


AgentConfigError = SettingsError


class AgentConfig(Section):
    """When the agent starts no run on a device of its own machine. Jobs of a cluster are left to that."""

    slots: int = option(1, "Concurrent runs per device", form="a whole number from 1 to 1024", ge=1, le=1024)
    free_memory: float = option(
        0.0,
        "Memory that must be free on a GPU for each run on it; 0: any",
        unit="GiB",
        form=f"a number of GiB from 0 to {MOST_GIB}",
        ge=0,
        le=MOST_GIB,
    )
    wait_for_idle: bool = option(False, "Wait until no process of others is on a GPU", form="true or false")
    quiet_hours: str = option("", "When no run starts, in local time", form=FORM)

    @field_validator("quiet_hours")
    @classmethod
    def _can_be_read(cls, text: str) -> str:
        QuietHours.parse(text)
        return text

    @property
    def quiet(self) -> QuietHours:
        return QuietHours.parse(self.quiet_hours)

    @property
    def asks_of_gpus(self) -> bool:
        """Whether a GPU has to be looked at before a run starts on it."""
        return self.wait_for_idle or self.free_memory > 0


def agent_config(values: Mapping[str, Any]) -> AgentConfig:
    """The config with these values by key. Raises AgentConfigError."""
    return checked(AgentConfig, SECTION, values)


def load_agent_config(root: Path, given: Mapping[str, Any]) -> AgentConfig:
    """The config of the workspace in a folder; what is `given` has its way. Raises AgentConfigError."""
    return load(AgentConfig, SECTION, root, given)
