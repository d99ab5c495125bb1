"""Settings of a workspace in a TOML file of one section, such as `[agent]` in `agent.toml`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from engine.config.fields import Section
from engine.errors import EngineError
from engine.host.input_files import InputFileError, read_toml, shown
from engine.host.processes import shown as short


class SettingsError(EngineError):
    """Settings that cannot be used; the message is one line that says what would be right."""


_Model = TypeVar("_Model", bound=Section)


def checked(model: type[_Model], section: str, values: Mapping[str, Any], strict: bool = False) -> _Model:
    """The settings with these values by key; `strict` takes no text for a number. Raises SettingsError."""
    try:
        return model.model_validate(dict(values), strict=strict)
    except ValidationError as error:
        problems = (_problem(model, section, detail) for detail in error.errors(include_url=False))
        raise SettingsError("; ".join(problems)) from error


def load(model: type[_Model], section: str, path: Path, given: Mapping[str, Any]) -> _Model:
    """The settings in a file, which may be missing; what is `given` has its way. Raises SettingsError."""
    try:
        content = read_toml(path) if os.path.lexists(path) else {}
    except InputFileError as error:
        raise SettingsError(str(error)) from error
    strange = [name for name in content if name != section]
    table = content.get(section, {})
    if strange or not isinstance(table, Mapping):
        name = (*strange, section)[0]
        raise SettingsError(f"{shown(path)}: {name}: must be a key in the section [{section}]")
    try:
        checked(model, section, table, strict=True)
    except SettingsError as error:
        raise SettingsError(f"{shown(path)}: {error}") from error
    return checked(model, section, {**table, **given})


def _problem(model: type[Section], section: str, detail: Any) -> str:
    """One pydantic error as a line: key, value, what is allowed."""
    name = str(detail["loc"][0])
    known = model.model_fields
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {section}.{near[0]}?" if near else f"there are {', '.join(known)}"
        return f"{section}.{name}: no such key; {hint}"
    if detail["type"] == "value_error":
        return f"{section}.{name}: {detail['ctx']['error']}"
    extra = known[name].json_schema_extra
    assert isinstance(extra, dict)
    return f"{section}.{name}: {short(detail['input'])} is not allowed; it must be {extra['form']}"
