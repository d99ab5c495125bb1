"""Dotted keys of a RunConfig: their descriptions, changing them by text, errors a person can act on."""

from __future__ import annotations

import difflib
import tomllib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from engine.config import RunConfig, Size


class ConfigError(ValueError):
    """A config that cannot be used. `problems` holds one line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class ConfigKey:
    """One dotted key as people see it. `allowed` is a phrase such as "> 0, <= 100" or "sgd | adamw"."""

    key: str
    kind: str
    default: Any
    allowed: str
    choices: tuple[str, ...]
    unit: str
    help: str


@cache
def config_keys() -> dict[str, ConfigKey]:
    """Every dotted key of a RunConfig, in the order in which they are declared."""
    return {key.key: key for key in _walk(RunConfig, "")}


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """`["optimizer.lr=0.1", "seed=3"]` as a mapping. Raises ConfigError for unknown keys and missing `=`."""
    values: dict[str, str] = {}
    problems = []
    for text in assignments:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals:
            problems.append(f"{text!r}: is not key=value, such as epochs=20")
        elif key not in config_keys():
            problems.append(unknown_key(key))
        else:
            values[key] = value.strip()
    if problems:
        raise ConfigError(problems)
    return values


def with_values(base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """`base` with dotted keys changed; text is converted to the key's type.

    Raises ConfigError, one line a problem: the key, the value, what is allowed.
    """
    table = base.model_dump()
    for key, value in values.items():
        *path, leaf = key.split(".")
        section = table
        for name in path:
            section = section[name]
        section[leaf] = _plain(key, value)
    return validate(table)


def load_config(path: Path) -> RunConfig:
    """Read a RunConfig from TOML, the format `seg-engine recipes show` prints. Raises ConfigError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not valid TOML: {error}"]) from error
    try:
        return validate(table)
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from error


def validate(table: Mapping[str, Any]) -> RunConfig:
    """A RunConfig from nested mappings. Raises ConfigError, one line a problem."""
    try:
        return RunConfig.model_validate(table)
    except ValidationError as error:
        problems = [_problem(detail) for detail in error.errors(include_url=False)]
        raise ConfigError(list(dict.fromkeys(problems))) from error


def unknown_key(key: str) -> str:
    """The line that says a key does not exist, with the nearest one that does."""
    keys = list(config_keys())
    leaf = key.rpartition(".")[2]
    near = [k for k in keys if k.rpartition(".")[2] == leaf]
    near += difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    leaves = {k.rpartition(".")[2]: k for k in reversed(keys)}
    near += [leaves[match] for match in difflib.get_close_matches(leaf, list(leaves), n=1, cutoff=0.6)]
    hint = f"did you mean {near[0]}?" if near else "`seg-engine config` lists them all"
    return f"{key}: no such key; {hint}"


def format_value(value: Any) -> str:
    """A config value as it would be typed on the command line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "x".join(str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def differences(one: RunConfig, other: RunConfig) -> dict[str, tuple[Any, Any]]:
    """The dotted keys in which two configs differ, with both values."""
    return {
        key: (value, value_of(other, key))
        for key in config_keys()
        if (value := value_of(one, key)) != value_of(other, key)
    }


def value_of(config: RunConfig, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def to_toml(config: RunConfig) -> str:
    """A RunConfig as TOML with each key's help as a comment; `load_config` reads it back unchanged."""
    import tomlkit

    document = tomlkit.document()
    table = config.model_dump(mode="json")
    for key, about in config_keys().items():
        *path, leaf = key.split(".")
        value: Any = table
        section: Any = document
        for name in path:
            value = value[name]
            if name not in section:
                section[name] = tomlkit.table()
            section = section[name]
        item = tomlkit.item(value[leaf])
        limits = f" ({about.allowed})" if about.allowed else ""
        unit = f" [{about.unit}]" if about.unit else ""
        item.comment(f"{about.help}{unit}{limits}")
        section.add(leaf, item)
    return tomlkit.dumps(document)


def _walk(model: type[BaseModel], prefix: str) -> Iterable[ConfigKey]:
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _walk(kind, f"{prefix}{name}.")
        else:
            yield _describe(f"{prefix}{name}", info)


def _describe(key: str, info: FieldInfo) -> ConfigKey:
    extra = info.json_schema_extra
    unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
    choices = (
        tuple(str(c) for c in get_args(info.annotation)) if get_origin(info.annotation) is Literal else ()
    )
    bounds = []
    for entry in info.metadata:
        for sign, attribute in ((">", "gt"), (">=", "ge"), ("<", "lt"), ("<=", "le")):
            limit = getattr(entry, attribute, None)
            if limit is not None:
                bounds.append(f"{sign} {_bound(limit)}")
        if isinstance(entry, annotated_types.MinLen):
            bounds.append("not empty")
    if _is_size(info):
        bounds.append("each 16 to 8192")
    allowed = " | ".join(choices) or ", ".join(bounds)
    return ConfigKey(key, _kind(info), info.default, allowed, choices, unit, info.description or "")


def _bound(limit: Any) -> str:
    return "2^63" if limit == 2**63 else f"{limit:g}" if isinstance(limit, float) else str(limit)


def _is_size(info: FieldInfo) -> bool:
    return bool(info.annotation == get_args(Size)[0])


def _kind(info: FieldInfo) -> str:
    if get_origin(info.annotation) is Literal:
        return "choice"
    if _is_size(info):
        return "size"
    names = {bool: "true/false", int: "whole number", float: "number", str: "text"}
    kind = info.annotation
    return (
        names.get(kind, "value")
        if isinstance(kind, type) and not isinstance(kind, types.GenericAlias)
        else "value"
    )


def _plain(key: str, value: Any) -> Any:
    """Text from a command line: lists are read as TOML, all else is left to the field's own type."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ConfigError([f"{key}: {value!r} is not a list such as [256, 512]"]) from error
    return value


def _problem(detail: Any) -> str:
    """One pydantic error as a line: key, value, what is allowed."""
    location = [str(part) for part in detail["loc"]]
    if detail["type"] == "value_error" and ".".join(location) not in config_keys():
        return str(detail["ctx"]["error"])
    if detail["type"] == "extra_forbidden":
        return unknown_key(".".join(location))
    while location and ".".join(location) not in config_keys() and location[-1].isdigit():
        location.pop()
    key = ".".join(location)
    about = config_keys().get(key)
    if about is None:
        return f"{key or 'config'}: must be a table of keys, got {detail['input']!r}"
    wanted = {
        "size": "a size HEIGHTxWIDTH such as 256x512",
        "choice": "one of",
        "text": "text",
        "true/false": "true or false",
    }.get(about.kind, f"a {about.kind}")
    if about.key == "device":
        wanted = "auto, cpu, cuda or cuda:N"
    allowed = (
        f" {about.allowed}" if about.kind == "choice" else f" ({about.allowed})" if about.allowed else ""
    )
    near = difflib.get_close_matches(str(detail["input"]), about.choices, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    unit = f", in {about.unit}" if about.unit else ""
    return f"{key}: {_shown(detail['input'])} is not allowed; it must be {wanted}{allowed}{unit}{hint}"


def _shown(value: Any) -> str:
    return (
        repr(value)
        if isinstance(value, str)
        else format_value(value)
        if isinstance(value, tuple)
        else str(value)
    )
