"""Config keys of earlier versions: what they are called now, wherever a key or a whole config is read.

Free of pydantic: filters of runs ask here, and lists of runs are to come fast.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.errors import EngineError

RENAMED = {
    "evaluation": "validation",
    "init.from": "init.weights",
    "data.kind": "data.layout",
}
"""The old name of a key or of a section, and the new one, which is a key of the same section."""

REPLACED: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "loss.name": {
        "cross_entropy": {"loss.cross_entropy": 1.0, "loss.dice": 0.0},
        "cross_entropy_dice": {"loss.cross_entropy": 0.5, "loss.dice": 0.5},
    },
}
"""Keys that became several of the same section: what each of their values means now."""

WITHOUT_EFFECT = frozenset(f"latency.{key}" for key in ("window", "stride", "tta", "label_resize"))
"""Keys that earlier versions wrote and that never had an effect."""

_OLD = RENAMED.keys() | REPLACED.keys() | WITHOUT_EFFECT


class OldKey(FutureWarning):
    """A key of an earlier version was used; the message says what it is called now."""


class GivenTwice(EngineError, ValueError):
    """A key was given by its old name and by its new one; the message is one line that names both."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(f"{old}: is now {new}, which is given too; give only {new}")


def new_name(key: str) -> str:
    """What a dotted key is called now; a key that was never renamed stays as it is."""
    for old, new in RENAMED.items():
        if key == old or key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return key


def meaning_of(key: str, value: object = None) -> dict[str, Any]:
    """A key and its value as this version says it: under one key or, where several replaced it, those."""
    several = REPLACED.get(key, {}).get(value) if isinstance(value, str) else None
    return {new_name(key): value} if several is None else dict(several)


def note_on(key: str, value: object = None) -> str:
    """The line that says what an old key, given with this value, is now; empty for any other key."""
    if key in WITHOUT_EFFECT:
        return f"{key}: has no effect and can be left out"
    meaning = meaning_of(key, value)
    if key in meaning:
        return ""
    if new_name(key) != key:
        return f"{key} is now {new_name(key)}"
    return f"{key}={value} is now {' '.join(f'{name}={weight:g}' for name, weight in meaning.items())}"


def warn(note: str) -> None:
    """Tell whoever wrote an old key, equal notes once."""
    warnings.warn(note, OldKey, stacklevel=1)


def with_new_keys(
    table: Mapping[str, Any], tell: Callable[[str], None] = lambda note: None, section: str = ""
) -> dict[str, Any]:
    """The nested table of a config with each key under its new name, and without those that never had an
    effect; `tell` gets a note on each old one.

    `section` is where the table stands, with a dot behind it. Raises GivenTwice for a key with both names.
    """
    new: dict[str, Any] = {}
    given_as: dict[str, str] = {}
    for name, value in table.items():
        key = f"{section}{name}"
        if key not in _OLD and name not in new:  # nearly all; reports read configs by the hundred
            new[name] = with_new_keys(value, tell, f"{key}.") if isinstance(value, Mapping) else value
            given_as[name] = key
            continue
        if note := note_on(key, value):
            tell(note)
        if key in WITHOUT_EFFECT:
            continue
        for now, meant in meaning_of(key, value).items():
            leaf = now.removeprefix(section)
            inner = with_new_keys(meant, tell, f"{now}.") if isinstance(meant, Mapping) else meant
            if leaf in new:
                inner = _one_section(_old_of(key, given_as[leaf], now), now, new[leaf], inner)
            new[leaf], given_as[leaf] = inner, key
    return new


def stored_with_new_keys(stored: Mapping[str, Any]) -> dict[str, Any]:
    """`with_new_keys` for the config of a run. It has every key that its version knew, so that a missing
    `model.normalisation` means what runs did before there was that key."""
    table = with_new_keys(stored)
    model = table.get("model")
    if not isinstance(model, Mapping) or model.get("name") != "smp":
        return table
    from engine.models.smp.encoders import with_former_normalisation  # not asked for by most lists of runs

    return {**table, "model": with_former_normalisation(model)}


def _one_section(old: str, new: str, one: Any, other: Any) -> dict[str, Any]:
    """A section of which some keys stand under its old name and the others under its new one."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        raise GivenTwice(old, new)
    if shared := next((name for name in one if name in other), None):
        raise GivenTwice(f"{old}.{shared}", f"{new}.{shared}")
    return {**one, **other}


def _old_of(one: str, other: str, new: str) -> str:
    return one if one != new else other


def typed_with_new_keys(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Dotted keys and values as typed, under their new names; of a key that is given twice the last value
    counts. Warns of old keys. Raises GivenTwice for a key with both names."""
    values: dict[str, str] = {}
    typed_as: dict[str, str] = {}
    for key, text in pairs:
        if note := note_on(key, text):
            warn(note)
        for now, meant in meaning_of(key, text).items():
            if (before := typed_as.setdefault(now, key)) != key:
                raise GivenTwice(_old_of(before, key, now), now)
            values[now] = meant if isinstance(meant, str) else f"{meant:g}"
    return values
