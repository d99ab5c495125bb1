"""Dotted keys of a RunConfig as people see them: what each is called, may be and means."""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any, Literal, TypeVar, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine.components.parts import PartRegistry
from engine.components.registry import NamedRegistry
from engine.components.sections import Registry
from engine.config.fields import LEAST_SIDE, Section, Size
from engine.config.old_keys import new_name
from engine.config.run_config import RunConfig, registries, variant_sections
from engine.data.layouts.builtin import LAYOUTS
from engine.tasks import TASKS
from engine.tasks.registry import TaskRegistry

R = TypeVar("R")


@dataclass(frozen=True)
class ConfigKey:
    """One dotted key as people see it. `allowed` is a phrase such as "> 0, <= 100" or "sgd | adamw";
    `default` is that of new configs, `absent` what a frozen config of an earlier version means that lacks the
    key, where that is something else.

    `variants` are the values of its section's `name` that have the key; none: it is always there.
    `variant_defaults` are its defaults by that name, where the section has one, and `forms` all that each
    says of it. `field` is what Python calls it. `commas`: one value may hold several words, joined by commas.
    `part_of` is the key without which this one has no effect, "" for none.
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
    variant_defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    forms: Mapping[str, ConfigKey] = dataclasses.field(default_factory=dict)
    suggested_by: str = ""
    told_by: str = ""
    part_of: str = ""

    @property
    def suggestions(self) -> tuple[str, ...]:
        """Words that a text may be, for completion: too many to be choices, or not the only ones."""
        return tuple(_named(self.suggested_by)()) if self.suggested_by else ()

    def told(self, value: str) -> str:
        """What is known of a value, such as the size of a network, in a line; "" for nothing."""
        return str(_named(self.told_by)(value)) if self.told_by else ""

    def of(self, variant: str) -> ConfigKey:
        """The key as one variant of its section has it."""
        return self.forms.get(variant, self)

    @property
    def when_absent(self) -> Any:
        """What a stored config means that lacks the key, where its section has no variants."""
        return self.default if self.absent is None else self.absent

    @property
    def story(self) -> str:
        """The help, and whose key it is."""
        return f"{self.help} ({', '.join(self.variants)} only)" if self.variants else self.help


@cache
def config_keys() -> dict[str, ConfigKey]:
    """Every dotted key of a RunConfig, in the order in which they are declared."""
    return {key.key: key for key in _walk(RunConfig, "")}


for _registry_of_keys in (*registries().values(), TASKS, LAYOUTS):
    _registry_of_keys.on_change(config_keys.cache_clear)


def chooses_variant(key: str) -> bool:
    """Whether the value of a key decides which other keys there are, as that of `model.name` does."""
    section, _, leaf = key.partition(".")
    return leaf == "name" and section in variant_sections()


CALLED_OTHERWISE = {
    "data.scale": "data.size is the size of the images and augment.crop that of crops, such as "
    "data.size=1024x2048 augment.crop=512x1024",
    "name": "--name calls a run; model.name, optimizer.name and schedule.name are keys",
    **{option: f"the option --{option} says it" for option in ("experiment", "tag", "note")},
}
"""What is no key, or is called by another word in other programs: key -> what to write instead."""

ELSEWHERE = {
    **dict.fromkeys(("image_size", "img_size", "input_size", "resolution"), "data.size"),
    **dict.fromkeys(("dataset", "dir", "path"), "data.root"),
    **dict.fromkeys(("amp", "bf16", "fp16", "dtype"), "precision"),
    **dict.fromkeys(("gpus", "num_gpus", "ngpus"), "devices"),
    **dict.fromkeys(("scheduler", "lr_scheduler"), "schedule.name"),
    "bs": "batch_size",
    "crop_size": "augment.crop",
    "learning_rate": "optimizer.lr",
    "wd": "optimizer.weight_decay",
}
"""The last part of a key in other programs -> the key here. Their letters would lead to other keys."""


def unknown_key(key: str) -> str:
    """The line that says a key does not exist, with the nearest one that does."""
    if key in CALLED_OTHERWISE:
        return f"{key}: no such key; {CALLED_OTHERWISE[key]}"
    keys = list(config_keys())
    if f"{key}.name" not in keys and any(k.startswith(f"{key}.") for k in keys):
        return f"{key}: no such key, but a group of keys; `seg-engine config {key}` lists them"
    leaf = key.rpartition(".")[2]
    near = [k for k in keys if k in (f"{key}.name", ELSEWHERE.get(leaf))]
    near += [k for k in keys if k.rpartition(".")[2] == leaf]
    near += difflib.get_close_matches(new_name(key), keys, n=1, cutoff=0.5)
    leaves = {k.rpartition(".")[2]: k for k in reversed(keys)}
    near += [leaves[match] for match in difflib.get_close_matches(leaf, list(leaves), n=1, cutoff=0.6)]
    hint = f"did you mean {near[0]}?" if near else "`seg-engine config` lists them all"
    return f"{key}: no such key; {hint}"


def format_value(value: Any) -> str:
    """A config value as it would be typed on the command line; "-" for None, a key that a config lacks.

    A number keeps all its digits; a size may be the list that JSON makes of it. Other lists, such as one of
    two strengths, are joined by commas.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        is_size = len(value) == 2 and all(isinstance(part, int) and part >= LEAST_SIDE for part in value)
        return ("x" if is_size else ",").join(map(format_value, value))
    # One of NumPy's is a float, too, and says so in its repr.
    return float.__repr__(value).removesuffix(".0") if isinstance(value, float) else str(value)


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


def _walk(model: type[BaseModel], prefix: str) -> Iterable[ConfigKey]:
    for name, info in model.model_fields.items():
        kind = info.annotation
        if info.default is None:
            continue  # a section that a command fills in for its task
        parts = _registry(info, PartRegistry)
        if parts is not None:
            yield from _walk(parts.section(), f"{prefix}{name}.")
        elif variants := variants_of(info):
            yield from _walk_variants(variants, f"{prefix}{name}.")
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _walk(kind, f"{prefix}{name}.")
        else:
            yield _describe(f"{prefix}{info.alias or name}", name, info)


def _walk_variants(variants: Mapping[str, type[Section]], prefix: str) -> Iterable[ConfigKey]:
    """The keys of a section that has one of several forms, each key once."""
    found: dict[str, dict[str, ConfigKey]] = {}
    for variant, model in variants.items():
        for about in _walk(model, prefix):
            found.setdefault(about.key, {})[variant] = about
    for forms in found.values():
        yield _merged(forms, everywhere=len(forms) == len(variants))


def _merged(forms: Mapping[str, ConfigKey], everywhere: bool) -> ConfigKey:
    """A key of several variants, from what each says of it."""
    kinds = dict.fromkeys(about.kind for about in forms.values())
    chosen = tuple(dict.fromkeys(word for about in forms.values() for word in about.choices))
    choices = chosen if all(about.choices for about in forms.values()) else ()
    first = next(iter(forms.values()))
    return replace(
        first,
        kind=first.kind if len(kinds) == 1 else "number" if set(kinds) <= _NUMBERS else "text",
        choices=choices,
        allowed=" | ".join(choices) or _by_variant({name: about.allowed for name, about in forms.items()}),
        help=_by_variant({name: about.help for name, about in forms.items()}),
        variants=() if everywhere else tuple(forms),
        variant_defaults={name: about.default for name, about in forms.items()},
        forms=forms,
    )


def _by_variant(texts: Mapping[str, str]) -> str:
    """One text, or several with the variants that each is of."""
    names: dict[str, list[str]] = {}
    for name, text in texts.items():
        names.setdefault(text, []).append(name)
    if len(names) == 1:
        return next(iter(names))
    return "; ".join(f"{', '.join(of)}: {text}" for text, of in names.items())


_NUMBERS = {"whole number", "number"}


def variants_of(info: FieldInfo) -> dict[str, type[Section]]:
    """The forms of a section, by the value of its `name`; none for a plain field."""
    registry = _registry(info, Registry)
    return {} if registry is None else dict(registry.sections())


def _registry(info: FieldInfo, kind: type[R]) -> R | None:
    """The registry that a field's section comes from; None for a plain field."""
    return next((entry for entry in info.metadata if isinstance(entry, kind)), None)


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
    suggested_by, told_by, of = (
        str(extra.get(name) or "") if isinstance(extra, dict) else ""
        for name in ("suggestions", "told_by", "of")
    )
    return ConfigKey(
        key,
        field,
        _kind(info),
        default,
        allowed,
        choices,
        unit,
        help,
        commas=commas,
        absent=absent,
        suggested_by=suggested_by,
        told_by=told_by,
        part_of=f"{key.rpartition('.')[0]}.{of}" if of else "",
    )


def _named(dotted: str) -> Any:
    """The function of a name MODULE:FUNCTION."""
    module, _, function = dotted.partition(":")
    return getattr(import_module(module), function)


def _bound(limit: Any) -> str:
    return "2^63" if limit == 2**63 else f"{limit:g}" if isinstance(limit, float) else str(limit)


def _is_size(info: FieldInfo) -> bool:
    return bool(info.annotation == get_args(Size)[0])


def _choices(info: FieldInfo) -> tuple[str, ...]:
    """The words that a field takes; none for a field that takes others."""
    tasks = _registry(info, TaskRegistry)
    if tasks is not None:
        return tasks.names()
    named: NamedRegistry[Any] | None = _registry(info, NamedRegistry)
    if named is not None:
        return named.choices()
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
