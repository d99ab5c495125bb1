"""The agent's settings as the workspace's files have them now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config.agent import SECTION, AgentConfigError, agent_config, load_agent_config
from engine.config.settings_file import files_of
from engine.host.input_files import version_of


class Settings:
    """The files of the workspace in the folder `root` are read again when they change; `given` has its way.
    `fault` is "", or what is wrong with them in a line: then nothing is known of what was asked."""

    def __init__(self, root: Path, given: Mapping[str, Any]) -> None:
        """Raises AgentConfigError for what is `given`."""
        self._root, self._given = root, given
        self.config, self.fault = agent_config(given), ""
        self._seen: list[tuple[int, ...] | None] = []  # so that the first look finds a change

    def refresh(self) -> bool:
        """Read the files if they are others than before; returns whether they were."""
        now = [version_of(file) for file in files_of(SECTION, self._root)]
        if now == self._seen:
            return False
        self._seen = now
        try:
            self.config, self.fault = load_agent_config(self._root, self._given), ""
        except AgentConfigError as error:
            self.fault = str(error)
        return True
