"""Settings of a workspace in files: `seg.toml` has a section for each subject.

A section may also stand in a file of its own, `agent.toml` or `notify.toml`. What both have are the settings;
a key that stands in both is refused, as nobody could say which of them counts.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from engine.config.fields import Section
from engine.errors import EngineError
from engine.host.input_files import InputFileError, read_toml_with_lines, shown
from engine.host.processes import shown as short

FILE_NAME = "seg.toml"

SECTIONS = ("run", "agent", "notify")
"""Those of seg.toml."""

OWN_FILES = {"agent": "agent.toml", "notify": "notify.toml"}


class SettingsError(EngineError):
    """Settings that cannot be used; the message is one line that says what would be right."""


@dataclass(frozen=True)
class InFiles:
    """What files say of a section: values by key, and FILE:LINE of each."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)


_Model = TypeVar("_Model", bound=Section)


def checked(model: type[_Model], section: str, values: Mapping[str, Any]) -> _Model:
    """The settings with these values by key. Raises SettingsError."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        told = (_problem(model, section, detail) for detail in error.errors(include_url=False))
        raise SettingsError("; ".join(told)) from error


def load(model: type[_Model], section: str, root: Path, given: Mapping[str, Any] | None = None) -> _Model:
    """The settings of the workspace in a folder, whose files may be missing; what is `given` has its way.
    Raises SettingsError."""
    return checked(model, section, {**read_section(model, section, root).values, **(given or {})})


def files_of(section: str, root: Path) -> list[Path]:
    """The files that may have the section, whether they are there or not."""
    names = [FILE_NAME, *([OWN_FILES[section]] if section in OWN_FILES else [])]
    return [root / name for name in names]


def read_section(model: type[Section], section: str, root: Path) -> InFiles:
    """What the files of a workspace say of a section. Raises SettingsError with file, line and key."""
    found = InFiles()
    for path in files_of(section, root):
        if not os.path.lexists(path):
            continue
        one = _read(model, section, path, SECTIONS if path.name == FILE_NAME else (section,))
        for key, place in one.places.items():
            if key in found.places:
                raise SettingsError(
                    f"{place}: {section}.{key}: also stands in {found.places[key]}; keep one of the two"
                )
        found.values.update(one.values)
        found.places.update(one.places)
    return found


def _read(model: type[Section], section: str, path: Path, allowed: tuple[str, ...]) -> InFiles:
    try:
        content, line_of = read_toml_with_lines(path)
    except InputFileError as error:
        raise SettingsError(str(error)) from error

    def place(*names: str) -> str:
        return f"{shown(path)}:{line_of(names)}"

    for name, value in content.items():
        if name not in allowed or not isinstance(value, Mapping):
            raise SettingsError(f"{place(name)}: {_strange(name, value, allowed)}")
    table = content.get(section, {})
    try:
        model.model_validate(table, strict=True)
    except ValidationError as error:
        told = (
            f"{place(section, str(detail['loc'][0]))}: {_problem(model, section, detail)}"
            for detail in error.errors(include_url=False)
        )
        raise SettingsError("; ".join(told)) from error
    return InFiles(dict(table), {key: place(section, key) for key in table})


def _strange(name: str, value: object, allowed: tuple[str, ...]) -> str:
    """Why something at the top of a file cannot be there."""
    if len(allowed) == 1:
        return f"{name}: must be a key in the section [{allowed[0]}]"
    known = ", ".join(f"[{one}]" for one in allowed)
    if not isinstance(value, Mapping):
        return f"{name}: must be a key in a section; there are {known}"
    near = difflib.get_close_matches(name, allowed, n=1)
    return f"[{name}]: no such section; " + (f"did you mean [{near[0]}]?" if near else f"there are {known}")


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
