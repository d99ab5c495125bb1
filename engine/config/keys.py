"""Dotted keys of a RunConfig: their descriptions, changing them by text, errors a person can act on."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from engine.components import PartRegistry, Registry, reading_stored
from engine.config.fields import Section, Size
from engine.config.old_keys import (
    REPLACED,
    GivenTwice,
    meaning_of,
    new_name,
    typed_with_new_keys,
    warn,
    with_new_keys,
)
from engine.config.run_config import RunConfig, registries, variant_sections
from engine.errors import EngineError
from engine.host.input_files import InputFileError, parse_toml, read_toml
from engine.tasks import TASKS
from engine.tasks.registry import TaskRegistry

R = TypeVar("R")

MOST_PROBLEMS = 100
"""Problems of a config that are put into words: a file may have any number, and each costs a search."""


class ConfigError(EngineError, ValueError):
    """A config that cannot be used. `problems` holds a line for each thing that is wrong but `more`."""


@dataclass(frozen=True)
class ConfigKey:
    """One dotted key as people see it. `allowed` is a phrase such as "> 0, <= 100" or "sgd | adamw";
    `default` is that of new configs, `absent` what a frozen config of an earlier version means that lacks the
    key, where that is something else.

    `variants` are the values of its section's `name` that have the key; none: it is always there. `field` is
    what Python calls it. `commas`: one value may hold several words, joined by commas.
    """

    key: str
    field: str
    kind: str
    default: Any
    allowed: str
    choices: tuple[str, ...]
    unit: str
    help: str
    variants: tuple[str, ...] = ()
    commas: bool = False
    absent: Any = None

    @property
    def story(self) -> str:
        """The help, and whose key it is."""
        return f"{self.help} ({', '.join(self.variants)} only)" if self.variants else self.help


@cache
def config_keys() -> dict[str, ConfigKey]:
    """Every dotted key of a RunConfig, in the order in which they are declared."""
    return {key.key: key for key in _walk(RunConfig, "")}


for _registry_of_keys in (*registries().values(), TASKS):
    _registry_of_keys.on_change(config_keys.cache_clear)


def chooses_variant(key: str) -> bool:
    """Whether the value of a key decides which other keys there are, as that of `model.name` does."""
    section, _, leaf = key.partition(".")
    return leaf == "name" and section in variant_sections()


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
        if not equals:
            problems.append(f"{text!r}: is not key=value, such as epochs=20")
        elif new_name(key) not in config_keys() and key not in REPLACED:
            problems.append(unknown_key(key))
        pairs.append((key, value))
    if problems:
        raise ConfigError(problems)
    return pairs


def with_values(base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """`base` with dotted keys changed; text is converted to the key's type.

    Another `model.name` brings that model's defaults; keys that both models have keep their value. The same
    goes for every section that has variants. A class set that is written out is given up where the keys that
    it came from change. Keys of an earlier version count as the new ones. Raises ConfigError, one line a
    problem: the key, the value, what is allowed.
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


def _names_other_classes(base: RunConfig, changed: RunConfig, values: Mapping[str, Any]) -> bool:
    if "data.classes" in values:
        return True
    of_data = base.data.classes == "auto"  # then it lies with the data
    return of_data and (base.data.root, base.data.kind) != (changed.data.root, changed.data.kind)


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
        return validate(_with_new_defaults(_without_former_keys(table)), tell)
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems], error.more) from error


def new_config() -> RunConfig:
    """The config of a run that says nothing."""
    return validate(_with_new_defaults({}))


def _without_former_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """A file's table without the keys that earlier versions wrote and that have no effect; a note on each."""
    kept = dict(table)
    for name, registry in variant_sections().items():
        section = table.get(name)
        if not isinstance(section, Mapping):
            continue
        former = registry.former_keys(section)
        for key in former:
            variant = section.get("name", registry.default)
            said = f"{name}.{key}: has no effect with {name}.name={variant} and can be left out"
            warn(said)
        kept[name] = {key: value for key, value in section.items() if key not in former}
    return kept


def _with_new_defaults(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the keys that it lacks and whose default is for the configs of earlier versions only."""
    data = table.get("data", {})
    if not isinstance(data, Mapping):
        return dict(table)
    return {**table, "data": {"split_rule": config_keys()["data.split_rule"].default, **data}}


def validate(table: Mapping[str, Any], tell: Callable[[str], None] = lambda note: None) -> RunConfig:
    """A RunConfig from nested mappings; `tell` gets a note on each key of an earlier version. Raises
    ConfigError, one line a problem."""
    try:
        return RunConfig.model_validate(with_new_keys(table, tell))
    except GivenTwice as error:
        raise ConfigError([str(error)]) from error
    except ValidationError as error:
        raise _config_error(error) from error


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
        raise (_config_error(error) if is_json else ConfigError([str(first["msg"])])) from error


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


def unknown_key(key: str) -> str:
    """The line that says a key does not exist, with the nearest one that does."""
    keys = list(config_keys())
    leaf = key.rpartition(".")[2]
    near = [k for k in keys if k.rpartition(".")[2] == leaf]
    near += difflib.get_close_matches(new_name(key), keys, n=1, cutoff=0.5)
    leaves = {k.rpartition(".")[2]: k for k in reversed(keys)}
    near += [leaves[match] for match in difflib.get_close_matches(leaf, list(leaves), n=1, cutoff=0.6)]
    hint = f"did you mean {near[0]}?" if near else "`seg-engine config` lists them all"
    return f"{key}: no such key; {hint}"


def format_value(value: Any) -> str:
    """A config value as it would be typed on the command line; "-" for None, a key that a config lacks.

    A number keeps all its digits; a size may be the list that JSON makes of it.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "x".join(str(part) for part in value)
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def differences(one: RunConfig, other: RunConfig) -> dict[str, tuple[Any, Any]]:
    """The dotted keys in which two configs differ, with both values; None where a config lacks the key."""
    return {
        key: (value, value_of(other, key))
        for key in config_keys()
        if (value := value_of(one, key)) != value_of(other, key)
    }


def value_of(config: RunConfig, key: str) -> Any:
    """The value of a dotted key; None when it belongs to another variant of its section than the config's."""
    path = key.split(".")[:-1]
    section: Any = config
    for name in path:
        section = getattr(section, name)
    about = config_keys()[key]
    return None if about.variants and section.name not in about.variants else getattr(section, about.field)


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
        item = tomlkit.item(value[leaf])
        limits = f" ({about.allowed})" if about.allowed else ""
        unit = f" [{about.unit}]" if about.unit else ""
        item.comment(f"{about.help}{unit}{limits}")
        section.add(leaf, item)
    if config.data.class_set is not None:
        classes = tomlkit.item({"class_set": table["data"]["class_set"]})
        classes["class_set"].comment(
            "what data.classes was when the run was made; without it, it is read anew"
        )
        data: Any = document["data"]
        data.add("class_set", classes["class_set"])
    return tomlkit.dumps(document)


def _walk(model: type[BaseModel], prefix: str) -> Iterable[ConfigKey]:
    for name, info in model.model_fields.items():
        kind = info.annotation
        if info.default is None:
            continue  # a section that a command fills in for its task
        parts = _registry(info, PartRegistry)
        if parts is not None:
            yield from _walk(parts.section(), f"{prefix}{name}.")
        elif variants := _variants(info):
            yield from _walk_variants(variants, f"{prefix}{name}.")
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _walk(kind, f"{prefix}{name}.")
        else:
            yield _describe(f"{prefix}{info.alias or name}", name, info)


def _walk_variants(variants: Mapping[str, type[Section]], prefix: str) -> Iterable[ConfigKey]:
    """The keys of a section that has one of several forms, each key once."""
    found: dict[str, ConfigKey] = {}
    for variant, model in variants.items():
        for about in _walk(model, prefix):
            same = found.get(about.key, about)
            choices = tuple(dict.fromkeys(same.choices + about.choices))
            allowed = " | ".join(choices) or same.allowed
            found[about.key] = replace(
                same, choices=choices, allowed=allowed, variants=(*same.variants, variant)
            )
    for about in found.values():
        yield replace(about, variants=() if len(about.variants) == len(variants) else about.variants)


def _variants(info: FieldInfo) -> dict[str, type[Section]]:
    """The forms of a section, by the value of its `name`; none for a plain field."""
    registry = _registry(info, Registry)
    return {} if registry is None else dict(registry.sections())


def _registry(info: FieldInfo, kind: type[R]) -> R | None:
    """The registry that a field's section comes from; None for a plain field."""
    return next((entry for entry in info.metadata if isinstance(entry, kind)), None)


def _of_variant(table: Mapping[str, Any], section: str, name: str) -> dict[str, Any]:
    """What a section's table keeps when it becomes another variant: the keys that the other has, too."""
    new = _variants(RunConfig.model_fields[section]).get(name)
    return {key: value for key, value in table.items() if new is not None and key in new.model_fields}


def _describe(key: str, field: str, info: FieldInfo) -> ConfigKey:
    extra = info.json_schema_extra
    unit, form = (str(extra[name]) if isinstance(extra, dict) else "" for name in ("unit", "form"))
    new = extra.get("new") if isinstance(extra, dict) else None
    choices = _choices(info)
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
    allowed = form or " | ".join(choices) or ", ".join(bounds)
    commas = isinstance(extra, dict) and extra.get("commas") is True
    default, absent = (info.default, None) if new is None else (new, info.default)
    help = info.description or ""
    return ConfigKey(
        key, field, _kind(info), default, allowed, choices, unit, help, commas=commas, absent=absent
    )


def _bound(limit: Any) -> str:
    return "2^63" if limit == 2**63 else f"{limit:g}" if isinstance(limit, float) else str(limit)


def _is_size(info: FieldInfo) -> bool:
    return bool(info.annotation == get_args(Size)[0])


def _choices(info: FieldInfo) -> tuple[str, ...]:
    """The words that a field takes; none for a field that takes others."""
    tasks = _registry(info, TaskRegistry)
    if tasks is not None:
        return tasks.names()
    return tuple(str(c) for c in get_args(info.annotation)) if get_origin(info.annotation) is Literal else ()


def _kind(info: FieldInfo) -> str:
    if _choices(info):
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


def _config_error(error: ValidationError) -> ConfigError:
    details = error.errors(include_url=False)
    problems = [_problem(detail) for detail in details[:MOST_PROBLEMS]]
    return ConfigError(list(dict.fromkeys(problems)), max(0, len(details) - MOST_PROBLEMS))


def _problem(detail: Any) -> str:
    """One pydantic error as a line: key, value, what is allowed."""
    location = [str(part) for part in detail["loc"]]
    given = detail["input"]
    if detail["type"] == "union_tag_invalid":  # a section whose name is that of no variant
        location.append("name")
        given = detail["ctx"]["tag"]
    variant = location.pop(1) if len(location) > 2 and _is_variant(*location[:2]) else ""
    if detail["type"] == "value_error" and ".".join(location) not in config_keys():
        return str(detail["ctx"]["error"])
    if detail["type"] == "extra_forbidden":
        key = ".".join(location)
        return _key_of_another(key, variant) if key in config_keys() else unknown_key(key)
    while location and ".".join(location) not in config_keys() and location[-1].isdigit():
        location.pop()
    key = ".".join(location)
    about = config_keys().get(key)
    wrong = detail["msg"].removeprefix("Input should be ")
    if about is None and wrong != detail["msg"] and detail["type"] != "model_type":
        return f"{key}: must be {wrong}, got {given!r}"  # of a section that a command fills in
    if about is None and detail["type"] in ("too_short", "too_long", "missing", "string_pattern_mismatch"):
        return f"{key}: {detail['msg'][0].lower()}{detail['msg'][1:]}"
    if about is None:
        return f"{key or 'config'}: must be a table of keys, got {given!r}"
    wanted = {
        "size": "a size HEIGHTxWIDTH such as 256x512",
        "choice": "one of",
        "text": "text",
        "true/false": "true or false",
    }.get(about.kind, f"a {about.kind}")
    allowed = (
        f" {about.allowed}" if about.kind == "choice" else f" ({about.allowed})" if about.allowed else ""
    )
    near = difflib.get_close_matches(str(given), about.choices, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    unit = f", in {about.unit}" if about.unit else ""
    return f"{key}: {_shown(given)} is not allowed; it must be {wanted}{allowed}{unit}{hint}"


def _is_variant(section: str, name: str) -> bool:
    about = config_keys().get(f"{section}.name")
    return about is not None and name in about.choices


def _key_of_another(key: str, variant: str) -> str:
    """The line that says a key belongs to another variant of its section than the config's."""
    section = key.rpartition(".")[0]
    owners = config_keys()[key].variants
    own = [
        about.key
        for about in config_keys().values()
        if about.key.startswith(f"{section}.") and variant in about.variants
    ]
    has = f", which has {', '.join(own)}" if own else ""
    return f"{key}: is a key of {section}.name={' or '.join(owners)}; here {section}.name is {variant}{has}"


def _shown(value: Any) -> str:
    return (
        repr(value)
        if isinstance(value, str)
        else format_value(value)
        if isinstance(value, tuple)
        else str(value)
    )
