"""Class maps: which classes count as one, and which not at all, where data sets draw the line differently.

A map has a name, if it is one of those here, or is a TOML file:

    [merge]
    rider = ["rider", "motorcycle", "bicycle"]

    [leave_out]
    classes = ["train"]

Classes that it does not name stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.config.keys import ConfigError
from engine.host.input_files import InputFileError, read_toml
from engine.run.files import absolute

CAMVID = {
    "building": ("building", "wall"),
    "traffic sign": ("traffic sign", "traffic light"),
    "vegetation": ("vegetation", "terrain"),
    "rider": ("rider", "motorcycle", "bicycle"),
    "car": ("car", "truck", "bus", "train"),
}
"""The 19 classes of Cityscapes as the 11 that SegNet's authors grouped CamVid's 32 into (Badrinarayanan et
al., PAMI 2017): there a cyclist includes the bicycle, signs include traffic lights, a car is any vehicle but
those, and low plants are trees."""

CATEGORIES = {
    "flat": ("road", "sidewalk"),
    "construction": ("building", "wall", "fence"),
    "object": ("pole", "traffic light", "traffic sign"),
    "nature": ("vegetation", "terrain"),
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
}
"""The categories of Cityscapes (Cordts et al., CVPR 2016, table 1); the seventh is sky."""

BUILT_IN: Mapping[str, Mapping[str, tuple[str, ...]]] = {"camvid": CAMVID, "categories": CATEGORIES}


@dataclass(frozen=True)
class ClassMap:
    """`groups` are classes that count as one, by what they are called together. `source` is the map's name,
    or the absolute path of its file; "" for no map."""

    source: str = ""
    groups: Mapping[str, tuple[str, ...]] | None = None
    left_out: tuple[str, ...] = ()

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of a task's section."""
        groups = [{"name": name, "members": members} for name, members in (self.groups or {}).items()]
        return {"class_map": self.source, "groups": groups, "left_out": self.left_out}


def class_map(wanted: str, classes: Sequence[str]) -> ClassMap:
    """The map that is called `wanted` or lies in a file of that name, for a network of these classes; no map
    for "". A built-in map leaves out classes that the network does not have. Raises ConfigError."""
    if not wanted:
        return ClassMap()
    if wanted in BUILT_IN:
        groups = {
            name: known
            for name, members in BUILT_IN[wanted].items()
            if (known := tuple(member for member in members if member in classes))
        }
        if not groups:
            raise ConfigError(
                [f"--class-map {wanted}: is for the classes of Cityscapes, and the network has none of them"]
            )
        return ClassMap(wanted, groups)
    path = absolute(wanted)
    try:
        table = read_toml(path)
    except InputFileError as error:
        built_in = " or ".join(BUILT_IN)
        raise ConfigError([f"--class-map {error}; it must be a TOML file, or {built_in}"]) from error
    where = f"--class-map {path}"
    if strange := table.keys() - {"merge", "leave_out"}:
        raise ConfigError([f"{where}: {', '.join(sorted(strange))}: has only [merge] and [leave_out]"])
    merged = table.get("merge", {})
    if not isinstance(merged, dict):
        raise ConfigError([f'{where}: merge: must be a table such as rider = ["rider", "bicycle"]'])
    groups = {name: _names(members, f"{where}: merge.{name}") for name, members in merged.items()}
    without = table.get("leave_out", {})
    names = without.get("classes", []) if isinstance(without, dict) else without
    left_out = _names(names, f"{where}: leave_out.classes", may_be_empty=True)
    _refuse_contradictions(where, groups, left_out, classes)
    return ClassMap(str(path), groups, left_out)


def _names(value: object, where: str, may_be_empty: bool = False) -> tuple[str, ...]:
    is_list = isinstance(value, list) and all(isinstance(name, str) for name in value)
    if not is_list or not (value or may_be_empty):
        raise ConfigError([f'{where}: must be a list of classes such as ["rider", "bicycle"], got {value!r}'])
    return tuple(value)  # type: ignore[arg-type]


def _refuse_contradictions(
    where: str, groups: Mapping[str, Sequence[str]], left_out: Sequence[str], classes: Sequence[str]
) -> None:
    named = [*(member for members in groups.values() for member in members), *left_out]
    once = list(dict.fromkeys(named))
    problems = [f"{where}: {name}: is no class of the network" for name in once if name not in classes]
    problems += [f"{where}: {name}: is named twice" for name in once if named.count(name) > 1]
    problems += [
        f"{where}: merge.{name}: is a class that is not among those that it merges"
        for name, members in groups.items()
        if name in classes and name not in members
    ]
    if not problems and set(left_out) == set(classes):
        problems = [f"{where}: leaves out all classes"]
    if problems:
        raise ConfigError(problems)
