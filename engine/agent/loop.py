"""Being the agent of a workspace until told to leave or until there is nothing to do."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from engine.agent.agent import GRACE_SECONDS, LEASE_SECONDS, Agent, Say
from engine.agent.devices import device_slots
from engine.agent.presence import Presence
from engine.run.journal import JournalError
from engine.store import StoreError
from engine.workspace import Workspace

POLL_SECONDS = 0.3


@dataclass(frozen=True)
class AgentOptions:
    """`slots` runs at once on each device; leaves after `idle_exit` seconds without work (None: never).

    A worker that does not stop within `grace` seconds is killed; a run on another host is lost when its
    heartbeat has rested for `lease` seconds.
    """

    slots: int = 1
    idle_exit: float | None = None
    grace: float = GRACE_SECONDS
    lease: float = LEASE_SECONDS


def run_agent(
    workspace: Workspace,
    options: AgentOptions,
    say: Say,
    on_step: Callable[[Agent], None] = lambda agent: None,
) -> None:
    """Work until SIGINT, SIGTERM or idleness; workers that live then go on, and the next agent adopts them.

    Raises AgentError when another agent is at work here.
    """
    leaving: list[int] = []

    def leave(number: int, frame: FrameType | None) -> None:
        leaving.append(number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    presence = Presence.of(workspace)
    try:
        with presence.held(), workspace.open_store() as store:
            agent = Agent(store, workspace, device_slots(options.slots), say, options.grace, options.lease)
            say(f"agent {agent.me.pid} at work: {', '.join(f'{n} on {d}' for d, n in agent.slots.items())}")
            last_work, trouble = time.monotonic(), ""
            while not leaving:
                try:
                    agent.step()
                    idle, trouble = agent.idle, ""
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
                    if agent.idle:
                        say("nothing to do; exiting")
                        return
                    presence.announce()
                on_step(agent)
                time.sleep(POLL_SECONDS)
            say(f"exiting; {len(agent.watched)} workers continue")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
