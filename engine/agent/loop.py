"""Being the agent of a workspace until told to leave or until there is nothing to do."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from engine.agent.agent import GRACE_SECONDS, LEASE_SECONDS, Agent, Say
from engine.agent.devices import device_slots
from engine.agent.gate import Gate, too_small
from engine.agent.presence import AgentError, Presence
from engine.agent.settings import Settings
from engine.agent.teller import Teller
from engine.run.journal import JournalError
from engine.store import StoreError
from engine.workspace import Workspace

POLL_SECONDS = 0.3

LEAVE_SECONDS = 2.0
"""How long an agent that is told to leave goes on telling people what has ended."""


@dataclass(frozen=True)
class AgentOptions:
    """Leaves after `idle_exit` seconds without work (None: never).

    A worker that does not stop within `grace` seconds is killed; a run on another host is lost when its
    heartbeat has rested for `lease` seconds. `given` are keys of `AgentConfig` that have their way over those
    in the workspace's files.
    """

    idle_exit: float | None = None
    grace: float = GRACE_SECONDS
    lease: float = LEASE_SECONDS
    given: Mapping[str, Any] = field(default_factory=dict)


def run_agent(
    workspace: Workspace,
    options: AgentOptions,
    say: Say,
    on_step: Callable[[Agent], None] = lambda agent: None,
) -> None:
    """Work until SIGINT, SIGTERM or idleness; workers that live then go on, and the next agent adopts them.

    Raises AgentError when another agent is at work here, or more free memory is given than any GPU has, and
    AgentConfigError.
    """
    say = _unfailing(say)
    settings = Settings(workspace.root, options.given)
    leaving: list[int] = []

    def leave(number: int, frame: FrameType | None) -> None:
        leaving.append(number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    presence = Presence.of(workspace)
    try:
        with presence.held(), workspace.open_store() as store:
            slots = device_slots(settings.config.slots)
            gate = Gate(workspace.runs, slots, settings, say)
            if "free_memory" in options.given:
                refuse_impossible(gate, slots)
            teller = Teller(store, workspace, say)
            agent = Agent(store, workspace, slots, say, options.grace, options.lease, gate, device_slots)
            say(f"agent {agent.me.pid} at work")
            last_work, trouble = time.monotonic(), ""
            while not leaving:
                try:
                    agent.step()
                    teller.step()
                    idle, trouble = agent.idle and not teller.busy, ""
                except (StoreError, JournalError, OSError) as error:
                    # Journals keep what the database cannot take now. What ails it is for people to mend.
                    if str(error) != trouble:
                        say(f"trouble: {error}")
                    idle, trouble = False, str(error)
                if not idle:
                    last_work = time.monotonic()
                elif options.idle_exit is not None and time.monotonic() - last_work >= options.idle_exit:
                    # Who queues from here on finds no agent and starts one; who did before is seen now.
                    presence.withdraw()
                    teller.step(now=True)
                    if agent.idle and not teller.busy:
                        say("nothing to do; exiting")
                        return
                    presence.announce()
                on_step(agent)
                time.sleep(POLL_SECONDS)
            teller.leave(LEAVE_SECONDS)
            with contextlib.suppress(StoreError):  # what stays is of a process that has ended
                agent.bulletin.withdraw()
            say(f"exiting; {len(agent.watched)} workers continue")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unfailing(say: Say) -> Say:
    """The same, whatever the system says to it: that the log's disk is full must not end an agent, which has
    more to do than to speak."""

    def said(line: str) -> None:
        with contextlib.suppress(OSError):
            say(line)

    return said


def refuse_impossible(gate: Gate, slots: Mapping[str, int]) -> None:
    """Raises AgentError when no GPU of this machine can ever have as much free memory as is asked for."""
    small = gate.too_small()
    if small and len(small) == sum(slot != "cpu" for slot in slots):
        slot, most = max(small.items(), key=lambda one: one[1])
        raise AgentError(f"{slot}: {too_small(most, gate.settings.config)}; no run could ever start")
