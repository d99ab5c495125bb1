"""Configs in files: TOML, which people write, and JSON, which lies in a run's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.components.stored import reading_stored
from engine.config.described import config_keys, value_of
from engine.config.keys import ConfigError, validate
from engine.config.old_keys import GivenTwice, warn, with_new_keys
from engine.config.problems import problems_of
from engine.config.run_config import RunConfig, variant_sections
from engine.host.input_files import InputFileError, read_toml


def load_config(path: Path) -> RunConfig:
    """Read a RunConfig from TOML, the format `seg-engine recipes show` prints. Raises ConfigError.

    A key that the file does not have takes the default of new configs.
    """
    try:
        table = read_toml(path)
    except InputFileError as error:
        raise ConfigError([str(error)]) from error

    def tell(note: str) -> None:
        warn(f"{path}: {note}")

    try:
        return validate(_with_new_defaults(_without_former_keys(table, tell)), tell)
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems], error.more) from error


def new_config() -> RunConfig:
    """The config of a run that says nothing."""
    return validate(_with_new_defaults({}))


def _without_former_keys(table: Mapping[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
    """A file's table without the keys that earlier versions wrote and that have no effect; `tell` gets a note
    on each."""
    kept = dict(table)
    for name, registry in variant_sections().items():
        section = table.get(name)
        if not isinstance(section, Mapping):
            continue
        former = registry.former_keys(section)
        for key in former:
            variant = section.get("name", registry.default)
            tell(f"{name}.{key}: has no effect with {name}.name={variant} and can be left out")
        kept[name] = {key: value for key, value in section.items() if key not in former}
    return kept


def _with_new_defaults(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the keys that it lacks and whose default is for the configs of earlier versions only."""
    filled = dict(table)
    for key, about in config_keys().items():
        section, _, leaf = key.rpartition(".")
        own = filled.get(section, {})
        if about.absent is not None and isinstance(own, Mapping):  # another kind is refused by its name
            filled[section] = {leaf: about.default, **own}
    return filled


def config_from_json(content: bytes) -> RunConfig:
    """The config in a run's folder, each value of the very type that JSON says. Raises ConfigError."""
    try:
        with reading_stored():
            return RunConfig.model_validate_json(_with_new_keys(content), strict=True)
    except GivenTwice as error:
        raise ConfigError([str(error)]) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        is_json = first["type"] != "json_invalid"
        raise (ConfigError(*problems_of(error)) if is_json else ConfigError([str(first["msg"])])) from error


def _with_new_keys(content: bytes) -> bytes:
    """A config as JSON with the keys of this version; what is not of an earlier one stays as it is."""
    try:
        table = json.loads(content)
        new = with_new_keys(table)
    except (ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, GivenTwice):
            raise
        return content  # whoever validates it says what is wrong
    return content if new == table else json.dumps(new).encode()


def to_toml(config: RunConfig) -> str:
    """A RunConfig as TOML with each key's help as a comment; `load_config` reads it back unchanged."""
    import tomlkit

    document = tomlkit.document()
    table = config.model_dump(mode="json")
    for key, about in config_keys().items():
        if value_of(config, key) is None:
            continue
        *path, leaf = key.split(".")
        value: Any = table
        section: Any = document
        for name in path:
            value = value[name]
            if name not in section:
                section[name] = tomlkit.table()
            section = section[name]
        if about.forms:
            about = about.of(getattr(config, path[0]).name)
        item = tomlkit.item(value[leaf])
        limits = f" ({about.allowed})" if about.allowed else ""
        unit = f" [{about.unit}]" if about.unit else ""
        item.comment(f"{about.help}{unit}{limits}")
        section.add(leaf, item)
    if config.data.class_set is not None:
        classes = tomlkit.item({"class_set": table["data"]["class_set"]})
        classes["class_set"].comment(
            "the class set as data.classes gave it when the run was created; without it, it is read again"
        )
        data: Any = document["data"]
        data.add("class_set", classes["class_set"])
    return tomlkit.dumps(document)
