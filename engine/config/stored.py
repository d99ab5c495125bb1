"""Configs of runs that exist, as the tables that are stored: a key at its default equals a missing key.

Whoever reads a stored config asks here, so that a new key with a default needs nothing else: `whole` fills in
the keys that a config of an earlier version lacks, `told` leaves out those that say nothing. Both work on
tables alone, without a check, so they also serve configs that this version cannot read, and runs whose
plugins are not loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import PurePath
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from engine.components.parts import PartRegistry
from engine.components.sections import Registry
from engine.config.class_set import ClassSetConfig
from engine.config.described import format_value
from engine.config.fields import Section
from engine.config.old_keys import GivenTwice, stored_with_new_keys
from engine.config.run_config import RunConfig, registries
from engine.tasks.imported import Imported

RECORD = "component_defaults"
"""The key under which a config records the defaults of components from outside."""

CLASS_SET = "data.class_set"

Table = Mapping[str, Any]


def whole(stored: Table, known: Table | None = None) -> dict[str, Any]:
    """A stored config with every key that this version knows, those that it lacks at their defaults.

    `known` is what `recorded` gives of other configs: defaults of components that are not loaded. Keys that
    this version does not know stay; those that never had an effect go.
    """
    table = _renamed(stored)
    for field, registry in registries().items():
        own = table.get(field, {})
        if known and isinstance(own, Mapping):
            name = _name(registry, own) if isinstance(registry, Registry) else ""
            table[field] = {**known.get(f"{field}.{name}", {}), **own}
    return _filled(RunConfig, table)


def told(stored: Table) -> dict[str, Any]:
    """What a stored config says: its keys that are not at their default.

    The defaults of a component from outside are those that the config has recorded, whether or not the
    component is loaded.
    """
    table = _renamed(stored)
    record = table.pop(RECORD, None)
    record = record if isinstance(record, Mapping) else {}
    said = _said(RunConfig, {key: value for key, value in table.items() if key not in registries()})
    for field, registry in registries().items():
        own = table.get(field, {})
        if isinstance(own, Mapping):
            of_field = record.get(field, {})
            if isinstance(registry, PartRegistry):
                own = _said_by_parts(registry, own, of_field)
            else:
                own = _said_by_one(registry, own, of_field)
        if own:
            said[field] = own
    return said


def outside_defaults(config: RunConfig) -> dict[str, dict[str, Any]] | None:
    """The defaults of the keys that components from outside have in a config, by section; None: there are
    none. Of a component that is not loaded they are those that the config has recorded."""
    record: dict[str, dict[str, Any]] = {}
    for field, registry in registries().items():
        section, before = getattr(config, field), (config.component_defaults or {}).get(field, {})
        if isinstance(registry, PartRegistry):
            loaded = _defaults(registry.section())
            known = {key: value for key, value in loaded.items() if not registry.is_built_in(key)}
            known |= {key: before[key] for key in section.model_extra or () if key in before}
        elif registry.is_built_in(section.name):
            known = {}
        else:
            form = registry.sections().get(section.name)
            known = dict(before) if form is None else _defaults(form)
            known.pop("name", None)
        if known:
            record[field] = known
    return record or None


def recorded(configs: Iterable[Table]) -> dict[str, dict[str, Any]]:
    """The defaults that some stored configs have recorded, by section and name of the component, as `whole`
    takes them; where two differ, the first counts."""
    known: dict[str, dict[str, Any]] = {}
    for config in configs:
        for field, defaults in (config.get(RECORD) or {}).items():
            registry = registries().get(field)
            name = _name(registry, config.get(field, {})) if isinstance(registry, Registry) else ""
            known[f"{field}.{name}"] = {**defaults, **known.get(f"{field}.{name}", {})}
    return known


def flat_config(config: Table, known: Table | None = None) -> dict[str, str]:
    """A stored config by dotted key and as it would be typed; `known` as in `whole`.

    A class set that is written out is one line, a plugin its file's name and the begin of its checksum.
    """
    return {key: format_value(value) for key, value in flat_values(config, known).items()}


def flat_values(config: Table, known: Table | None = None) -> dict[str, Any]:
    """`flat_config` with numbers, truth values and None as they are, for a table of runs; what is neither
    they nor text is a list, such as a size."""
    table = whole(config, known)
    table.pop(RECORD, None)
    plugins = table.pop("plugins", None)
    class_set = table["data"].pop("class_set", None) if isinstance(table.get("data"), dict) else None
    flat = dict(_leaves(table, ""))
    if config.get("task") == Imported.name:  # what its records do not tell has no default
        told_keys = dict(_leaves(config, ""))
        flat = {key: value for key, value in flat.items() if key in told_keys}
    if class_set is not None:
        flat[CLASS_SET] = _shown_class_set(class_set)
    if plugins:
        flat["plugins"] = " ".join(f"{PurePath(file['path']).name}@{file['sha256'][:8]}" for file in plugins)
    return flat


def _shown_class_set(table: Any) -> str:
    try:
        return ClassSetConfig.model_validate(table).told
    except ValueError:
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:8]


def _leaves(table: Table, prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _renamed(stored: Table) -> dict[str, Any]:
    try:
        return stored_with_new_keys(stored)
    except GivenTwice:
        return dict(stored)  # no program writes it; whoever works with the run refuses it


def _filled(section: type[Section], table: Table) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for key, info in _fields(section).items():
        if key not in table and info.is_required():
            continue
        value = table[key] if key in table else _default(info)
        form = _form(info, value)
        filled[key] = _filled(form, value) if form is not None else value
    strange = table.keys() - filled.keys() - set(section.former_keys)
    return filled | {key: value for key, value in table.items() if key in strange}


def _said(section: type[Section], table: Table) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for key, value in table.items():
        info = _fields(section).get(key)
        if key in section.former_keys or (info is not None and value == _default(info)):
            continue
        if info is not None and (form := _form(info, value)) is not None:
            value = _said(form, value)
            if not value and isinstance(info.default, Section):
                continue
        is_float = info is not None and info.annotation is float and isinstance(value, int)
        said[key] = float(value) if is_float else value
    return said


def _said_by_one(registry: Registry[Any], table: Table, record: Table) -> dict[str, Any]:
    """What the section of one of several components says; its name, where that is not the default one."""
    name, keys = _name(registry, table), {key: value for key, value in table.items() if key != "name"}
    built_in = registry.is_built_in(name)
    said = _said(registry.sections()[name], keys) if built_in else _not_in(record, keys)
    return said if name == registry.default else {**said, "name": table["name"]}


def _said_by_parts(registry: PartRegistry[Any], table: Table, record: Table) -> dict[str, Any]:
    own = {key: value for key, value in table.items() if registry.is_built_in(key)}
    outside = {key: value for key, value in table.items() if key not in own}
    return _said(registry.section(), own) | _not_in(record, outside)


def _not_in(record: Table, table: Table) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in record or record[key] != value}


def _name(registry: Registry[Any], table: Table) -> str:
    name = table.get("name", registry.default)
    return name if isinstance(name, str) else ""


@cache
def _fields(section: type[Section]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in section.model_fields.items()}


def _default(info: FieldInfo) -> Any:
    """The default of a field as JSON; of a section nothing, as each of its keys has its own."""
    if info.default_factory is not None or isinstance(info.default, Section):
        return {}
    return None if info.is_required() else to_jsonable_python(info.default)


def _defaults(section: type[Section]) -> dict[str, Any]:
    return {key: _default(info) for key, info in _fields(section).items()}


def _form(info: FieldInfo, value: Any) -> type[Section] | None:
    """The section that the value of a field is a table of; None: it is none, or this version does not know
    it."""
    if not isinstance(value, Mapping):
        return None
    for entry in info.metadata:
        if isinstance(entry, Registry):
            return entry.sections().get(_name(entry, value))
        if isinstance(entry, PartRegistry):
            return entry.section()
    kinds = get_args(info.annotation) or (info.annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)
