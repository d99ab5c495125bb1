"""The agent's settings as its file has them now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config.agent import AgentConfigError, agent_config, load_agent_config


class Settings:
    """`file` is read again when it changes; `given` has its way. `fault` is "", or what is wrong with the
    file in a line: then nothing is known of what was asked."""

    def __init__(self, file: Path, given: Mapping[str, Any]) -> None:
        """Raises AgentConfigError for what is `given`."""
        self._file, self._given = file, given
        self.config, self.fault = agent_config(given), ""
        self._seen: tuple[int, ...] | None = ()  # so that the first look finds a change

    def refresh(self) -> bool:
        """Read the file if it is another than before; returns whether it was."""
        now = _version(self._file)
        if now == self._seen:
            return False
        self._seen = now
        try:
            self.config, self.fault = load_agent_config(self._file, self._given), ""
        except AgentConfigError as error:
            self.fault = str(error)
        return True


def _version(file: Path) -> tuple[int, ...] | None:
    """Differs between two versions of a file; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
