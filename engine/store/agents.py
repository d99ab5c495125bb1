"""What agents say of themselves: why they start nothing on this or that device of their machine."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from engine.host.occupancy import DeviceState
from engine.host.processes import ProcessIdentity, is_alive
from engine.store.agent_rows import AgentState
from engine.store.database import Database
from engine.store.schema import agents

REPEAT_SECONDS = 60.0
"""How often an agent says again what has not changed, so that other machines know that it lives."""

TRUST_SECONDS = 300.0
"""How long that is believed of an agent on another machine, whose clock may differ."""


class Agents:
    """The agents of a `workspace`, one on each machine."""

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    def say(self, state: AgentState) -> None:
        """Keep what an agent says in place of what it or an earlier one on its machine has said."""
        told = state.as_json()
        values = {"owner": told.pop("agent"), "state": told, "seen_at": time.time()}
        with self._database.write() as connection:
            mine = self._of(state.agent.host)
            if not connection.execute(agents.update().where(mine).values(values)).rowcount:
                key = {"workspace": self._workspace, "host": state.agent.host}
                connection.execute(agents.insert().values(key | values))

    def withdraw(self, agent: ProcessIdentity) -> None:
        """An agent has nothing to say any more."""
        with self._database.write() as connection:
            connection.execute(agents.delete().where(self._of(agent.host)))

    def living(self) -> list[AgentState]:
        """What the agents say that are at work, by machine. One on another machine counts while it has said
        something lately."""
        chosen = sa.select(agents).where(agents.c.workspace == self._workspace).order_by(agents.c.host)
        with self._database.read() as connection:
            rows = connection.execute(chosen).all()
        return [state for row in rows if (state := _state_of(row)) is not None]

    def _of(self, host: str) -> sa.ColumnElement[bool]:
        return (agents.c.workspace == self._workspace) & (agents.c.host == host)


def _state_of(row: sa.Row[Any]) -> AgentState | None:
    """None for an agent that is gone, and for a row that others have damaged."""
    try:
        agent = ProcessIdentity.from_json(row.owner)
        devices = tuple(DeviceState.from_json(device) for device in row.state["devices"])
        state = AgentState(agent, str(row.state["closed"]), devices)
    except (ValueError, TypeError, KeyError):
        return None
    alive = is_alive(agent)
    lately = abs(time.time() - row.seen_at) < TRUST_SECONDS
    return state if alive or (alive is None and lately) else None
