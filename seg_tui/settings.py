"""What a person likes, kept in the workspace as `tui.toml`: theme, columns, refresh, curves, images.

The file is read when the dashboard starts and written when a setting is changed there; keys that this version
does not know stay as they are.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.host.input_files import InputFileError, read_toml
from engine.store import StoreError
from engine.workspace import Workspace
from seg_tui.palette import CURVE_PALETTES
from seg_tui.widgets.columns import BY_KEY

FILE_NAME = "tui.toml"
IMAGES = ("halfcell", "kitty", "sixel")
SLOWEST_REFRESH = 60.0
FASTEST_REFRESH = 0.5

COLUMN_KEYS = tuple(BY_KEY)


class SettingsError(EngineError):
    """The file of settings is not to be written over; the message is one line."""


@dataclass(frozen=True)
class Settings:
    """`theme` "" follows the terminal; `refresh` is seconds between two looks at the database, from 0.5."""

    theme: str = ""
    columns: tuple[str, ...] = COLUMN_KEYS
    refresh: float = FASTEST_REFRESH
    curves: str = "okabe-ito"
    images: str = "halfcell"
    active_first: bool = True
    pane: bool = True


def load_settings(workspace: Workspace) -> tuple[Settings, str]:
    """The settings of a workspace, and a line on what is wrong with the file, "" when nothing is.

    What cannot be read counts as not said; the rest of the file still does.
    """
    path = workspace.root / FILE_NAME
    if not os.path.lexists(path):
        return Settings(), ""
    try:
        values = read_toml(path)
    except InputFileError as error:
        return Settings(), f"{error}; using the defaults"
    problems = [problem for key, value in values.items() if (problem := problem_with(key, value))]
    fine: dict[str, Any] = {key: value for key, value in values.items() if not problem_with(key, value)}
    if "columns" in fine:
        fine["columns"] = tuple(dict.fromkeys(fine["columns"]))
    settings = replace(Settings(), **fine)
    if not problems:
        return settings, ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return settings, f"{path}: {problems[0]}{more}; using the default"


def problem_with(key: str, value: Any) -> str:
    """Why a setting cannot be that, "" when it can."""
    known = [field.name for field in fields(Settings)]
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        return f"{key}: is not a setting; " + (
            f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        )
    if key in ("active_first", "pane"):
        return "" if isinstance(value, bool) else f"{key}: must be true or false"
    if key == "refresh":
        fine = isinstance(value, int | float) and FASTEST_REFRESH <= value <= SLOWEST_REFRESH
        return "" if fine else f"refresh: must be from {FASTEST_REFRESH:g} to {SLOWEST_REFRESH:g} seconds"
    if key == "columns":
        if not (isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value)):
            return "columns: must be a list such as " + '["status", "name", "best"]'
        from engine.requests.views import check_columns

        try:
            check_columns([name for name in value if name not in COLUMN_KEYS])
        except StoreError as error:
            return f"columns: {error}; there are {', '.join(COLUMN_KEYS)}, and all names that filters know"
        return ""
    allowed: Mapping[str, tuple[str, ...]] = {"curves": tuple(CURVE_PALETTES), "images": IMAGES}
    if key in allowed:
        return "" if value in allowed[key] else f"{key}: must be one of {', '.join(allowed[key])}"
    return "" if isinstance(value, str) else f"{key}: must be text"


def save_settings(workspace: Workspace, settings: Settings, changed: Iterable[str]) -> None:
    """Write those that were `changed` where they differ from the usual; comments and all other keys of the
    file stay, as another dashboard may have written them since this one read it. Raises OSError, and
    SettingsError for a file that is no TOML: what somebody wrote there would be lost."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    from engine.run.files import replacing

    path = workspace.root / FILE_NAME
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        document = tomlkit.document()
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML ({error}); mend or remove it") from error
    usual = Settings()
    for name in changed:
        value = getattr(settings, name)
        if value != getattr(usual, name):
            document[name] = list(value) if isinstance(value, tuple) else value
        elif name in document:
            del document[name]
    with replacing(path) as stream:
        stream.write(tomlkit.dumps(document).encode())


def rings(workspace: Workspace) -> bool:
    """Whether the terminal tells of what ends. Raises EngineError for settings that cannot be read."""
    if not any((workspace.root / name).exists() for name in ("seg.toml", "notify.toml")):
        return True
    from engine.config.notify import load_notify_config  # its models take long to make

    return load_notify_config(workspace.root).terminal


def settings_path(workspace: Workspace) -> Path:
    return workspace.root / FILE_NAME
