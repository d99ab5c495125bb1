"""What new runs of a workspace have where nobody says it: section `[run]` of `seg.toml`."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import field_validator

from engine.config.fields import DEVICE_PATTERN, Section, option
from engine.config.settings_file import load
from engine.visible import SEVERAL_LINES, is_one_line

SECTION = "run"


class RunDefaults(Section):
    """Defaults of new runs. A run that looks at another's network takes after that run instead."""

    data: str = option("", "Folder of the data set, from the workspace's folder", form="a folder's name")
    device: str = option("auto", "Compute device", form="auto, cpu, cuda or cuda:N", pattern=DEVICE_PATTERN)
    experiment: str = option(
        "default", "Experiment of `run`, new runs of the dashboard and of Python", form="a name"
    )

    @field_validator("experiment")
    @classmethod
    def _is_a_name(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is empty; it must be a name")
        if not is_one_line(text):
            raise ValueError(f"{text!r} {SEVERAL_LINES}")
        return text


NO_DEFAULTS = RunDefaults()


def load_run_defaults(root: Path) -> RunDefaults:
    """The defaults of the workspace in a folder, the data folder absolute. Raises SettingsError."""
    defaults = load(RunDefaults, SECTION, root)
    if not defaults.data:
        return defaults
    data = root / os.path.expanduser(defaults.data)
    return defaults.model_copy(update={"data": os.path.normpath(data)})
