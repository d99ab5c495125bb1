"""`seg-engine agent`: the agent in the foreground."""

from __future__ import annotations

import time

from engine.agent.agent import Agent
from engine.agent.loop import AgentOptions, run_agent
from engine.cli.console import notices
from engine.workspace import Workspace


def agent(workspace: Workspace, options: AgentOptions) -> None:
    """Work until Ctrl-C or idleness; workers go on without it. Raises AgentError when one is at work."""

    def say(line: str) -> None:
        notices.say(f"{time.strftime('%H:%M:%S')}  {line}")

    if not notices.is_terminal:
        run_agent(workspace, options, say)
        return
    with notices.status("starting") as status:
        run_agent(workspace, options, say, lambda agent: status.update(state_line(agent)))


def state_line(agent: Agent) -> str:
    running = ", ".join(f"{run_id} on {watched.slot}" for run_id, watched in agent.watched.items())
    waits = "; ".join(agent.bulletin.state.reasons())
    if running or waits:
        return "; ".join(part for part in (f"at work: {running}" if running else "", waits) if part)
    return "waiting for queued runs; Ctrl-C quits"
