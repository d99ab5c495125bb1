"""What `engine.store.agents` tells of agents, for whoever shows it without a database at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.host.occupancy import DeviceState
from engine.host.processes import ProcessIdentity


@dataclass(frozen=True)
class AgentState:
    """An agent that holds runs back. `closed` says why it starts nothing at all, as in quiet hours, or is "";
    `devices` are those on which nothing starts now."""

    agent: ProcessIdentity
    closed: str = ""
    devices: tuple[DeviceState, ...] = ()

    def reasons(self, device: str = "auto") -> list[str]:
        """Why a run waits that asks for `device`, a line for each reason."""
        if self.closed:
            return [self.closed]
        return [str(state) for state in self.devices if is_wanted(device, state.device)]

    def as_json(self) -> dict[str, Any]:
        devices = [state.as_json() for state in self.devices]
        return {"agent": self.agent.as_json(), "closed": self.closed, "devices": devices}


def is_wanted(wish: str, device: str) -> bool:
    """Whether a run whose config says device=`wish` may be given `device`."""
    return wish == "auto" or device == wish or device.startswith(f"{wish}:")


def reasons_of(states: Sequence[AgentState], device: str = "auto") -> list[str]:
    """Why a run waits that asks for `device`; with several machines each reason names its own."""
    if len(states) == 1:
        return states[0].reasons(device)
    return [f"{state.agent.host}: {reason}" for state in states for reason in state.reasons(device)]
