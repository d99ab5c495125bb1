"""Telling others why runs wait: the agent's log when the reasons change, the store for front ends."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection

from engine.host.processes import ProcessIdentity
from engine.store import AgentState, Store
from engine.store.agents import REPEAT_SECONDS

SETTLED_SECONDS = 5.0
"""How long a reason has stood when it is logged: a device takes a moment to be given back."""

NUMBERS_SECONDS = 10.0
"""How often the store is told of numbers that change while the reasons stay the same."""


class Bulletin:
    """What the agent `me` has to say now; nothing is written while that stays the same. A line that is among
    `said`, as the log has it already, is not logged again."""

    def __init__(
        self, store: Store, me: ProcessIdentity, say: Callable[[str], None], said: Collection[str] = ()
    ) -> None:
        self._store, self._say, self._said = store, say, said
        self.state = self._kept = self._empty = AgentState(me)
        self._kept_at = float("-inf")
        self._logged: dict[str, tuple[str, float, bool]] = {}

    def tell(self, state: AgentState) -> None:
        """Raises StoreError."""
        self.state = state
        self._log(state)
        now = time.monotonic()
        if _gist(state) == _gist(self._kept):
            wait = REPEAT_SECONDS if state == self._kept else NUMBERS_SECONDS
            if state == self._empty or now - self._kept_at < wait:
                return
        if state == self._empty:
            self._store.agents.withdraw(state.agent)
        else:
            self._store.agents.say(state)
        self._kept, self._kept_at = state, now

    def withdraw(self) -> None:
        """The agent leaves. Raises StoreError."""
        self.tell(self._empty)

    def _log(self, state: AgentState) -> None:
        now = time.monotonic()
        lines = {device.device: str(device) for device in state.devices}
        if state.closed:
            lines[""] = state.closed
        before, self._logged = self._logged, {}
        for about, line in lines.items():
            known, since, told = before.get(about, ("", now, False))
            if _without_numbers(known) != _without_numbers(line):
                since, told = now, False
            if not told and (not about or now - since >= SETTLED_SECONDS):
                told = True
                if line not in self._said:
                    self._say(line)
            self._logged[about] = line, since, told


def _gist(state: AgentState) -> object:
    """Equal for two states that differ in numbers alone."""
    devices = [
        (device.device, _without_numbers(device.waits), [holder.pid for holder in device.holders])
        for device in state.devices
    ]
    return state.closed, devices


def _without_numbers(line: str) -> str:
    return re.sub(r"[0-9.]+", "", line)
