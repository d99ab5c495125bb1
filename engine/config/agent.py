"""What an agent has to heed when it shares its machine with others: section `[agent]` of `agent.toml`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator

from engine.config.fields import Section, option
from engine.config.quiet_hours import FORM, QuietHours
from engine.errors import EngineError
from engine.host.input_files import InputFileError, read_toml, shown
from engine.host.occupancy import MOST_GIB
from engine.host.processes import shown as short

FILE_NAME = "agent.toml"
SECTION = "agent"


class AgentConfigError(EngineError):
    """Settings that cannot be used; the message is one line that says what would be right."""


class AgentConfig(Section):
    """When the agent starts no run on a device of its own machine. Jobs of a cluster are left to that."""

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


def agent_config(values: Mapping[str, Any], strict: bool = False) -> AgentConfig:
    """The config with these values by key; `strict` takes no text for a number. Raises AgentConfigError."""
    try:
        return AgentConfig.model_validate(dict(values), strict=strict)
    except ValidationError as error:
        raise AgentConfigError("; ".join(map(_problem, error.errors(include_url=False)))) from error


def load_agent_config(path: Path, given: Mapping[str, Any]) -> AgentConfig:
    """The config in a file, which may be missing; what is `given` has its way. Raises AgentConfigError."""
    try:
        content = read_toml(path) if os.path.lexists(path) else {}
    except InputFileError as error:
        raise AgentConfigError(str(error)) from error
    strange = [name for name in content if name != SECTION]
    table = content.get(SECTION, {})
    if strange or not isinstance(table, Mapping):
        name = (*strange, SECTION)[0]
        raise AgentConfigError(f"{shown(path)}: {name}: must be a key in the section [{SECTION}]")
    try:
        agent_config(table, strict=True)
    except AgentConfigError as error:
        raise AgentConfigError(f"{shown(path)}: {error}") from error
    return agent_config({**table, **given})


def _problem(detail: Any) -> str:
    """One pydantic error as a line: key, value, what is allowed."""
    name = str(detail["loc"][0])
    known = AgentConfig.model_fields
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {SECTION}.{near[0]}?" if near else f"there are {', '.join(known)}"
        return f"{SECTION}.{name}: no such key; {hint}"
    if detail["type"] == "value_error":
        return f"{SECTION}.{name}: {detail['ctx']['error']}"
    extra = known[name].json_schema_extra
    assert isinstance(extra, dict)
    return f"{SECTION}.{name}: {short(detail['input'])} is not allowed; it must be {extra['form']}"
