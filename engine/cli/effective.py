"""`seg-engine config --effective`: the settings that hold in a workspace, and where each comes from."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.cli.console import notices, output, print_json
from engine.cli.notify import shown_target
from engine.config.described import format_value
from engine.config.keys import ConfigError
from engine.config.notify import NotifyConfig
from engine.config.run_defaults import RunDefaults, load_run_defaults
from engine.config.settings_file import checked, read_section
from engine.config.workspace_settings import MODELS
from engine.report.tables import Column, text_table
from engine.workspace import CACHE_VARIABLE, DATABASE_VARIABLE, WORKSPACE_VARIABLE, Workspace

DEFAULT = "default"


@dataclass(frozen=True)
class Setting:
    """A setting as it holds now; `origin` is FILE:LINE, a variable, an option or "default"."""

    key: str
    value: Any
    origin: str


def show_effective(workspace: Workspace, chosen: Path | None, prefix: str, as_json: bool) -> None:
    """Print the settings that are `prefix` or lie below it; `chosen` is the option --workspace. Raises
    ConfigError when there is none, and SettingsError."""
    every = [*_places(workspace, chosen), *_of_files(workspace)]
    wanted = prefix.rstrip(".")
    shown = [one for one in every if not wanted or f"{one.key}.".startswith(f"{wanted}.")]
    if not shown:
        known = [*MODELS, *(one.key for one in every)]
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known[:6])} and others"
        raise ConfigError([f"{prefix}: no such setting; {hint}"])
    if as_json:
        print_json([{"key": one.key, "value": one.value, "from": one.origin} for one in shown])
        return
    columns = [
        Column("setting", [(one.key, "bold") for one in shown]),
        Column("value", [format_value(one.value) or '""' for one in shown], least=16),
        Column("from", [one.origin for one in shown], least=16),
    ]
    output.say(text_table(columns, output.table_width))
    notices.say("options of a command override these, and so do recipes and their files")


def _places(workspace: Workspace, chosen: Path | None) -> Iterator[Setting]:
    """What options and variables say. No file has these: they say where the files are."""
    root = "--workspace" if chosen is not None else _variable(WORKSPACE_VARIABLE) or "the current folder"
    yield Setting("workspace", str(workspace.root), root)
    yield Setting("database", _shown_url(workspace), _variable(DATABASE_VARIABLE) or DEFAULT)
    yield Setting("cache", str(workspace.cache), _variable(CACHE_VARIABLE) or DEFAULT)


def _variable(name: str) -> str:
    """How a variable is told of that is set; "" for one that is not."""
    return f"variable {name}" if os.environ.get(name) else ""


def _shown_url(workspace: Workspace) -> str:
    """The database without what may be secret in a URL."""
    if not workspace.on_server:
        return str(workspace.database)
    try:
        parts = urlsplit(workspace.database_url)
        return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
    except ValueError:
        return "a URL that cannot be read"


def _of_files(workspace: Workspace) -> Iterator[Setting]:
    for section, model in MODELS.items():
        found = read_section(model, section, workspace.root)
        settings = checked(model, section, found.values)
        if isinstance(settings, RunDefaults):
            settings = load_run_defaults(workspace.root)
        for key in model.model_fields:
            value = getattr(settings, key)
            if isinstance(settings, NotifyConfig) and key == "url":
                value = shown_target(key, settings)
            yield Setting(f"{section}.{key}", value, found.places.get(key, DEFAULT))
