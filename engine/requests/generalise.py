"""Which environments a network is to be scored in: from what people type to the section of a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from engine.classes import ClassSet
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.data.corruptions import CORRUPTIONS, STRENGTHS
from engine.data.environments import corrupted_name, own_name
from engine.data.frozen_classes import OF_DATA, freeze_classes, usual_classes
from engine.data.layouts.builtin import LAYOUTS
from engine.requests.class_map import class_map
from engine.requests.derive import classes_of
from engine.run.files import absolute

KEYS = ("name", "layout", "classes", "split")
"""What can be said of a data set behind its folder."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Unseen:
    """What to score a network in. `data` are folders, each with its keys: DIR[,KEY=VALUE...] of KEYS.
    `corruptions` are names joined by commas, "all" or "none"."""

    data: Sequence[str] = ()
    class_map: str = ""
    corruptions: str = "none"
    strengths: Sequence[int] = (3,)
    split: str = "val"


def unseen_section(trained: RunConfig, wanted: Unseen) -> dict[str, Any]:
    """The keys of the task's section, for the network of a run of this config. Raises ConfigError."""
    learned = classes_of(trained)
    environments = [_environment(trained, text, learned) for text in wanted.data]
    if strange := [strength for strength in wanted.strengths if strength not in STRENGTHS]:
        raise ConfigError([f"--strength {strange[0]}: is not allowed; it must be from 1 to {STRENGTHS[-1]}"])
    corruptions, strengths = _corruptions(wanted.corruptions), tuple(dict.fromkeys(wanted.strengths))
    names = [own_name(wanted.split), *(corrupted_name(*each) for each in product(corruptions, strengths))]
    for environment in environments:
        name, number = environment["name"], 1
        while environment["name"] in names:  # folders may have the same name
            number += 1
            environment["name"] = f"{name} {number}"
        names.append(environment["name"])
    return {
        "split": wanted.split,
        "environments": environments,
        "corruptions": corruptions,
        "strengths": strengths,
        **class_map(wanted.class_map, learned.names).keys,
    }


def _corruptions(text: str) -> tuple[str, ...]:
    if text in ("all", "none"):
        return tuple(CORRUPTIONS) if text == "all" else ()
    names = tuple(dict.fromkeys(text.split(",")))
    if strange := [name for name in names if name not in CORRUPTIONS]:
        known = ", ".join(CORRUPTIONS)
        raise ConfigError([f"--corruptions {strange[0]!r}: is none; it must be all, none or some of {known}"])
    return names


def _environment(trained: RunConfig, text: str, learned: ClassSet) -> dict[str, Any]:
    """A data set as it is typed, with its class set written out."""
    folder, given = split_keys(text)
    root = absolute(folder)
    layout, split = given.get("layout", "auto"), given.get("split", "val")
    if split not in SPLITS:
        raise ConfigError([f"--data {text}: split: {split!r} is not allowed; it must be train, val or test"])
    if layout != "auto" and layout not in LAYOUTS.all():
        known = ", ".join(LAYOUTS.all())
        raise ConfigError([f"--data {text}: layout: there is none called {layout!r}; there are {known}"])
    values = {"data.root": str(root), "data.layout": layout, "data.split": "official", "data.val_folders": ""}
    own = trained.data.classes
    named = given.get("classes") or (usual_classes(root, layout, learned) if own in OF_DATA else "")
    if named:
        values["data.classes"] = named
    data = freeze_classes(with_values(trained, values)).data
    class_set = None if data.class_set is None else data.class_set.model_dump(by_alias=True)
    return {
        "name": given.get("name") or root.name or str(root),
        "root": str(root),
        "layout": layout,
        "classes": data.classes,
        "split": split,
        "class_set": class_set,
    }


def split_keys(text: str) -> tuple[Path, Mapping[str, str]]:
    """The folder and the keys in DIR[,KEY=VALUE...]; a folder's name may hold commas. Raises ConfigError."""
    parts, given = text.split(","), {}
    while len(parts) > 1 and "=" in parts[-1]:
        key, _, value = parts.pop().partition("=")
        if key not in KEYS:
            raise ConfigError([f"--data {text}: {key}: is no key of a data set; there are {', '.join(KEYS)}"])
        if not value:
            raise ConfigError([f"--data {text}: {key}: is empty"])
        given[key] = value
    return Path(",".join(parts)), given
