"""`python -m engine.agent WORKSPACE`: the agent that front ends start by themselves, its words in a log."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from engine.agent.loop import AgentOptions, run_agent
from engine.errors import EngineError
from engine.exits import BAD_USE, DONE, tell
from engine.visible import guard_streams, one_line
from engine.workspace import Workspace


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.agent", description=__doc__)
    parser.add_argument("workspace", type=Path, help="the folder of experiments.db and runs/")
    parser.add_argument("--idle-exit", type=float, metavar="SECONDS", help="leave when idle for so long")
    guard_streams()
    arguments = parser.parse_args()
    try:
        run_agent(Workspace(arguments.workspace.absolute()), AgentOptions(idle_exit=arguments.idle_exit), say)
    except EngineError as error:
        say(str(error))
        return BAD_USE
    except Exception as error:
        return tell(error)
    return DONE


def say(line: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), one_line(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
