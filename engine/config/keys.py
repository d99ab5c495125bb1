"""Changing a RunConfig by dotted keys and text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from engine.config.described import config_keys, unknown_key, variants_of
from engine.config.old_keys import (
    REPLACED,
    GivenTwice,
    meaning_of,
    new_name,
    typed_with_new_keys,
    with_new_keys,
)
from engine.config.problems import problems_of
from engine.config.run_config import RunConfig, variant_sections
from engine.errors import EngineError
from engine.host.input_files import parse_toml


class ConfigError(EngineError, ValueError):
    """A config that cannot be used. `problems` holds a line for each thing that is wrong but `more`."""


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """`["optimizer.lr=0.1", "seed=3"]` as a mapping; of a key that is given twice the last value counts.

    Keys of an earlier version come under their new names, with a warning. Raises ConfigError for unknown keys
    and a missing `=`.
    """
    try:
        values = typed_with_new_keys(split_assignments(assignments))
    except GivenTwice as error:
        raise ConfigError([str(error)]) from error
    if problems := [unknown_key(key) for key in values if key not in config_keys()]:
        raise ConfigError(problems)
    return values


def split_assignments(assignments: Iterable[str]) -> list[tuple[str, str]]:
    """Keys and values as they were typed, keys of an earlier version among them. Raises ConfigError as
    `parse_assignments` does."""
    pairs, problems = [], []
    for text in assignments:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key:
            problems.append(f"{text!r}: is not key=value, such as epochs=20, without spaces")
        elif new_name(key) not in config_keys() and key not in REPLACED:
            problems.append(unknown_key(key))
        pairs.append((key, value))
    if problems:
        raise ConfigError(problems)
    return pairs


def with_values(base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """`base` with dotted keys changed; text is converted to the key's type.

    Another `model.name` brings that model's defaults; keys that mean the same in both models keep their
    value. The same goes for every section that has variants. A class set that is written out is given up
    where the keys that it came from change. Keys of an earlier version count as the new ones. Raises
    ConfigError, one line a problem: the key, the value, what is allowed.
    """
    values = {now: meant for key, value in values.items() for now, meant in meaning_of(key, value).items()}
    table = base.model_dump()
    for section in variant_sections():
        if (name := values.get(f"{section}.name")) is not None:
            table[section] = _of_variant(table[section], section, str(name))
    for key, value in values.items():
        *path, leaf = key.split(".")
        place = table
        for part in path:
            place = place[part]
        place[leaf] = _plain(key, value)
    changed = validate(table)
    if base.data.class_set is None or not _names_other_classes(base, changed, values):
        return changed
    return validate({**table, "data": {**table["data"], "class_set": None}})


def with_variants(base: RunConfig, names: Mapping[str, str]) -> RunConfig:
    """`base` with other variants of some sections, as `with_values` has them for `{"model.name": NAME}`, but
    whether or not they suit the rest: something else may be changed, too, before the config is used."""
    sections = {}
    for key, name in names.items():
        section = key.partition(".")[0]
        variant = variants_of(RunConfig.model_fields[section])[name]
        kept = _of_variant(getattr(base, section).model_dump(), section, name)
        sections[section] = variant.model_construct(**{**kept, "name": name})
    return base.model_copy(update=sections)


def _names_other_classes(base: RunConfig, changed: RunConfig, values: Mapping[str, Any]) -> bool:
    if "data.classes" in values:
        return True
    of_data = base.data.classes in ("auto", "cityscapes")  # then the data set says what its labels mean
    return of_data and (base.data.root, base.data.layout) != (changed.data.root, changed.data.layout)


def validate(table: Mapping[str, Any], tell: Callable[[str], None] = lambda note: None) -> RunConfig:
    """A RunConfig from nested mappings; `tell` gets a note on each key of an earlier version. Raises
    ConfigError, one line a problem."""
    try:
        return RunConfig.model_validate(with_new_keys(table, tell))
    except GivenTwice as error:
        raise ConfigError([str(error)]) from error
    except ValidationError as error:
        raise ConfigError(*problems_of(error)) from error


def _of_variant(table: Mapping[str, Any], section: str, name: str) -> dict[str, Any]:
    """What a section's table keeps when it becomes another variant: the keys that mean the same there, unless
    they are at a default that is another there."""

    def means_the_same(key: str) -> bool:
        about = config_keys().get(f"{section}.{key}")
        if about is None or table["name"] == name:
            return True
        one, other = about.of(table["name"]), about.of(name)
        same = (one.help, one.allowed) == (other.help, other.allowed)
        return same and (one.default == other.default or table[key] != one.default)

    new = variants_of(RunConfig.model_fields[section]).get(name)
    kept = () if new is None else (key for key in table if key in new.model_fields and means_the_same(key))
    return {key: table[key] for key in kept}


_WORDS = re.compile(r"\[( *[A-Za-z][\w -]*)(,( *[A-Za-z][\w -]*))*\]")
"""A list of words without quotes, which a shell has taken away."""


def _plain(key: str, value: Any) -> Any:
    """Text from a command line: lists are read as TOML, all else is left to the field's own type."""
    if isinstance(value, str) and value.startswith("["):
        if _WORDS.fullmatch(value):
            return [word.strip() for word in value[1:-1].split(",")]
        try:
            return parse_toml(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ConfigError([f"{key}: {value!r} is not a list such as [256, 512]"]) from error
    return value
