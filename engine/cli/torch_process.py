"""A process of its own, which has torch, does what a command asks and says what came of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import typer

from engine.errors import EngineError
from engine.host.processes import python_command, python_environment


class ProcessFailed(EngineError):
    """The process had no chance to say why; the message is one line."""


def asked(module: str, order: Mapping[str, Any], doing: str) -> dict[str, Any]:
    """What `python -m MODULE ORDER.json` prints last, a JSON object; its own words on stderr when it fails.

    `doing` is what the process is called when it was killed. Raises ProcessFailed then.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(order, file)
        file.flush()
        done = subprocess.run(
            python_command(module, file.name), capture_output=True, text=True, env=python_environment()
        )
    if done.returncode < 0:
        killed = signal.Signals(-done.returncode).name
        raise ProcessFailed(f"the {doing} process was killed by {killed}; is there enough memory?")
    if done.returncode != 0:
        print(done.stderr.strip(), file=sys.stderr)
        raise typer.Exit(done.returncode)
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made
