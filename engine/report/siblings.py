"""What tells a run from its siblings: the config keys in which runs of one experiment differ.

Siblings share experiment, task and recipe. It works on the tables that are stored, without a check of them,
as lists of runs are to come fast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from engine.config.old_keys import GivenTwice, stored_with_new_keys
from engine.store import RunSummary, Sibling

Family = tuple[str, str, str]
"""Experiment, task and recipe."""

_SAY_NOTHING = (
    *("task", "recipe", "seed", "executor", "device", "slurm", "report"),
    *("plugins", "component_defaults"),
)
"""Sections that say nothing of what a run learns, and those in which runs of one variant may differ."""
_LONG = ("data.class_set",)
"""Tables that no cell has room for; `data.classes` names them."""


class Siblings:
    """Families of runs. `learn` takes the config of each variant once; a run's `text` follows from all of
    them."""

    def __init__(self) -> None:
        self._configs: dict[Family, dict[str, dict[str, str]]] = {}
        self._seeds: dict[Family, set[int]] = {}
        self._texts: dict[Family, dict[str, str]] = {}

    def knows(self, run: RunSummary | Sibling) -> bool:
        """Whether the config of the run's variant is among those learned."""
        return run.variant in self._configs.get(_family(run), ())

    def learn(self, siblings: Iterable[Sibling]) -> None:
        for one in siblings:
            family = _family(one)
            self._seeds.setdefault(family, set()).add(one.seed)
            if one.variant not in self._configs.setdefault(family, {}):
                self._configs[family][one.variant] = _flat(one.stored_config)
                self._texts.pop(family, None)

    def text(self, run: RunSummary | Sibling) -> str:
        """The keys in which the run differs, "lr=0.01 width=64 seed=2"; "" where it has what most have, and
        where nothing is known of it."""
        family = _family(run)
        if family not in self._texts:
            self._texts[family] = _texts(self._configs.get(family, {}))
        text = self._texts[family].get(run.variant, "")
        seeds = self._seeds.get(family, set())
        return f"{text} seed={run.seed}".lstrip() if len(seeds | {run.seed}) > 1 else text


def _family(run: RunSummary | Sibling) -> Family:
    return run.experiment, run.task, run.recipe


def _texts(configs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What to say of each of some configs."""
    keys = dict.fromkeys(key for config in configs.values() for key in config)
    sections = list(dict.fromkeys(map(_section, keys)))
    said = {key: _said(configs, key) for key in sorted(keys, key=lambda key: sections.index(_section(key)))}
    names = _short(key for key, values in said.items() if values)
    return {
        variant: " ".join(
            f"{names[key]}={values[variant]}" for key, values in said.items() if variant in values
        )
        for variant in configs
    }


def _said(configs: Mapping[str, Mapping[str, str]], key: str) -> Mapping[str, str]:
    """The value of a key of each config in which it tells something.

    Where a section has one of several forms, as `model.name` says, a key is compared among configs of one
    form: that a DeepLab lacks a U-Net's keys follows from its name, as what its own keys are by default does.
    """
    values = {variant: _value(config, key) for variant, config in configs.items()}
    if len(set(values.values())) == 1:
        return {}
    choice = f"{_section(key)}.name"
    forms: dict[str, list[str]] = {}
    for variant, config in configs.items():
        forms.setdefault(config.get(choice, ""), []).append(variant)
    if key == choice or len(forms) == 1:
        return _unusual(values)
    said: dict[str, str] = {}
    for form, variants in forms.items():
        of_form = {variant: values[variant] for variant in variants}
        differs = len(set(of_form.values())) > 1
        usual = None if differs else _default(key, form)
        said |= _unusual(of_form) if differs else {v: value for v, value in of_form.items() if value != usual}
    return said


def _unusual(values: Mapping[str, str]) -> Mapping[str, str]:
    """The values but the one that most have, where there is one."""
    usual, most = Counter(values.values()).most_common(1)[0]
    if len(values) > 2 and 3 * most >= 2 * len(values):
        return {variant: value for variant, value in values.items() if value != usual}
    return values


def _section(key: str) -> str:
    return key.partition(".")[0]


def _value(config: Mapping[str, str], key: str) -> str:
    """The value of a key that some of the configs have; one of an earlier version has the default."""
    return config[key] if key in config else _default(key, config.get(f"{_section(key)}.name", ""))


def _default(key: str, form: str) -> str:
    """What a config means that lacks a key, "-" where its form of the section has no such key."""
    from engine.config.described import config_keys  # takes longer than all else here; seldom needed

    about = config_keys().get(key)
    if about is None or (about.variant_defaults and form not in about.variant_defaults):
        return "-"
    return _told(about.variant_defaults[form] if about.variant_defaults else about.when_absent)


def _short(keys: Iterable[str]) -> dict[str, str]:
    """The last part of each key, for `model.name` its section; the whole key where two of them end alike."""
    last = {key: key.removesuffix(".name").rpartition(".")[2] for key in keys}
    counts = Counter(last.values())
    return {key: name if counts[name] == 1 else key for key, name in last.items()}


def _flat(stored: Mapping[str, Any]) -> dict[str, str]:
    try:
        table = stored_with_new_keys(stored)
    except GivenTwice:
        table = dict(stored)
    return dict(_leaves({key: value for key, value in table.items() if key not in _SAY_NOTHING}, ""))


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in _LONG:
            yield from _leaves(value, f"{key}.")
        elif key not in _LONG:
            yield key, _told(value)


def _told(value: Any) -> str:
    """A value in as few letters as tell it: of a path its last part."""
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ("x" if all(isinstance(part, int) for part in value) else ",").join(
                map(_told, value)
            ) or "-"
        case str() if "/" in value:
            return PurePath(value).name
        case _:
            return str(value) or '""'
