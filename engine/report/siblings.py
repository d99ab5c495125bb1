"""What tells a run from its siblings: the config keys in which runs of one experiment differ.

Siblings share experiment, task and recipe. It works on the tables that are stored, without a check of them,
as lists of runs are to come fast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from engine.config.old_keys import GivenTwice, with_new_keys
from engine.store import RunSummary, Sibling

Family = tuple[str, str, str]
"""Experiment, task and recipe."""

_SAY_NOTHING = ("task", "recipe", "seed", "executor", "device", "slurm", "plugins", "component_defaults")
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
    keys = list(dict.fromkeys(key for config in configs.values() for key in config))
    filled = {variant: {key: _value(config, key) for key in keys} for variant, config in configs.items()}
    differing = {}
    for key in keys:
        counts = Counter(config[key] for config in filled.values())
        if len(counts) > 1:
            value, most = counts.most_common(1)[0]
            differing[key] = value if len(configs) > 2 and 3 * most >= 2 * len(configs) else None
    names = _short(differing)
    return {
        variant: " ".join(
            f"{names[key]}={config[key]}" for key, usual in differing.items() if config[key] != usual
        )
        for variant, config in filled.items()
    }


def _value(config: Mapping[str, str], key: str) -> str:
    """The value of a key that some of the configs have; one of an earlier version has the default."""
    if key in config:
        return config[key]
    from engine.config.described import config_keys  # takes longer than all else here; seldom needed

    about = config_keys().get(key)
    return "-" if about is None or about.variant_defaults else _told(about.when_absent)


def _short(keys: Iterable[str]) -> dict[str, str]:
    """The last part of each key; the whole key where two of them end alike."""
    last = {key: key.rpartition(".")[2] for key in keys}
    counts = Counter(last.values())
    return {key: name if counts[name] == 1 else key for key, name in last.items()}


def _flat(stored: Mapping[str, Any]) -> dict[str, str]:
    try:
        table = with_new_keys(stored)
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
