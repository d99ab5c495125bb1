"""One agent for each workspace and host: who it is, and starting one where there is none."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import EngineError
from engine.host.access import explain, why_unwritable
from engine.host.processes import ProcessIdentity, identify, is_alive, python_command, python_environment
from engine.run.files import FileLock, open_shared, read_json, write_json
from engine.workspace import CACHE_VARIABLE, Workspace

LOCK_SECONDS = 5.0
"""How long a new agent waits for one that is just leaving."""

AUTOMATIC_IDLE_SECONDS = 60.0
"""After how long without work an agent leaves that nobody started by hand."""


class AgentError(EngineError):
    """The agent cannot do its work; the message is one line."""


@dataclass(frozen=True)
class Presence:
    """The files by which the agent of a workspace on this host is known."""

    folder: Path

    @classmethod
    def of(cls, workspace: Workspace) -> Presence:
        return cls(workspace.root / "agents")

    @property
    def log(self) -> Path:
        return self.folder / f"{socket.gethostname()}.log"

    @property
    def _card(self) -> Path:
        return self.folder / f"{socket.gethostname()}.json"

    @property
    def _lock(self) -> Path:
        return self.folder / f"{socket.gethostname()}.lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Be the agent for as long as the block lasts. Raises AgentError when another one is, or this user
        cannot be."""
        lock = FileLock(self._lock)
        with self._explained("no agent can run here"):
            self.folder.mkdir(parents=True, exist_ok=True)
            is_ours = lock.acquire(LOCK_SECONDS)
        if not is_ours:
            other = self.living()
            who = f" (process {other.pid})" if other else ""
            raise AgentError(f"{self.folder.parent}: an agent is at work here already{who}")
        try:
            self.announce()
            yield
        finally:
            with contextlib.suppress(AgentError):  # a card that stays names a process that has ended
                self.withdraw()
            lock.release()

    def announce(self) -> None:
        """Say that this process is the agent. Raises AgentError."""
        with self._explained("no agent can run here"):
            write_json(self._card, identify().as_json())

    def withdraw(self) -> None:
        """Say that no agent is here any more; what is queued from now on starts another.

        Raises AgentError.
        """
        with self._explained("the agent cannot exit cleanly"):
            self._card.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turns what the operating system refuses into an AgentError that says whose the folder is."""
        try:
            yield
        except OSError as error:
            raise AgentError(f"{what}: {explain(error)}") from error

    def living(self) -> ProcessIdentity | None:
        """The agent on this host, None where none lives."""
        try:
            agent = ProcessIdentity.from_json(read_json(self._card))
        except (OSError, ValueError):
            return None
        return agent if is_alive(agent) and self._may_hold_lock(agent.pid) else None

    def _may_hold_lock(self, pid: int) -> bool:
        """Whether a process has the agent's lock open; True where another user's cannot be looked into.
        Anybody may write the card, and people are told to `kill` whom it names."""
        files = Path(f"/proc/{pid}/fd")
        try:
            names = os.listdir(files)
        except PermissionError:
            return True
        except OSError:
            return False
        for name in names:
            with contextlib.suppress(OSError):
                if os.path.samefile(files / name, self._lock):
                    return True
        return False


def ensure_agent(workspace: Workspace) -> ProcessIdentity | None:
    """Start an agent that outlives this process unless one lives; returns the one that did.

    To be called after the database says what there is to do: an agent that leaves looks there once more
    after it has withdrawn. Of two that are started at once the second finds the lock taken and leaves.

    Raises OSError when this user cannot start one; what was queued waits for somebody who can.
    """
    presence = Presence.of(workspace)
    living = presence.living()
    if living is None:
        presence.folder.mkdir(parents=True, exist_ok=True)
        if why_unwritable(presence.folder):  # the agent could not say that it is there
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(presence.folder))
        environment = {**python_environment(), "PYTHONUNBUFFERED": "1"}
        if CACHE_VARIABLE in os.environ:
            environment[CACHE_VARIABLE] = str(workspace.cache)  # it may be relative to this folder
        with open(presence.log, "ab", opener=open_shared) as log:
            subprocess.Popen(
                python_command(
                    "engine.agent", str(workspace.root), "--idle-exit", str(AUTOMATIC_IDLE_SECONDS)
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=workspace.root,
                start_new_session=True,
                env=environment,
            )
    return living
