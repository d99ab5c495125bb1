"""The configs of runs side by side: what makes two of them the same, and the keys in which they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from engine.config.described import config_keys, format_value
from engine.config.run_config import RunConfig
from engine.store import RunRow
from engine.tasks import learns_classes

SEED = "seed"

SCORED_ON = (
    *("data.root", "data.classes", "data.size", "data.split"),
    *("data.val_fraction", "data.split_seed", "data.split_rule"),
)
"""Keys that decide which pixels a run is scored on."""

CLASS_SET = "data.class_set"

_NAMES = ("recipe", "executor")
_PATHS = ("data.root", "data.classes")


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A config key in which entries differ, with each one's value as it would be typed; None: no such key."""

    key: str
    values: tuple[str | None, ...]


def flat_config(config: Mapping[str, Any]) -> dict[str, str]:
    """A config as the database has it, by dotted key and as it would be typed.

    A key that the program knows and the stored config does not has its default, so that runs of an earlier
    version compare with new ones; a config that this version cannot read is taken as it is. A class set that
    is written out is one line.
    """
    try:
        known = RunConfig.of_stored(config)
    except ValueError:
        return dict(_leaves(config, ""))
    flat = dict(_leaves(known.model_dump(mode="json", exclude={"data": {"class_set"}}), ""))
    if known.data.class_set is not None:
        flat[CLASS_SET] = known.data.class_set.told
    return flat


def comparable_config(row: RunRow) -> dict[str, str]:
    """The config without names, its paths cut down to what they mean: the last part and what was there."""
    flat = {
        key: value
        for key, value in flat_config(row.config).items()
        if key not in _NAMES and not key.startswith("slurm.")
    }
    for key in _PATHS:
        flat[key] = PurePath(flat.get(key, "")).name
    if flat.get("data.split") == "official" and flat.get("data.label_fraction") == "1":
        flat.pop("data.split_rule", None)  # it has nothing to rule
    if row.train_images is not None:
        flat["data.root"] += f" {row.train_images}/{row.val_images}"
    flat["data.classes"] += " " + ",".join(row.classes)
    return flat


def differing_keys(groups: Sequence[Sequence[RunRow]], folded: bool) -> tuple[KeyRow, ...]:
    """The keys in which groups differ, a value for each group: that of its first run, when `folded` the
    seeds of all."""
    meanings = [comparable_config(group[0]) for group in groups]
    shown = [flat_config(group[0].config) for group in groups]
    if folded:
        for group, meaning, values in zip(groups, meanings, shown, strict=True):
            meaning[SEED] = values[SEED] = " ".join(map(str, sorted(row.seed for row in group)))
    known = list(dict.fromkeys(key for meaning in meanings for key in meaning))
    order = {key: place for place, key in enumerate(config_keys())}
    known.sort(key=lambda key: order.get(key, len(order)))
    return tuple(
        KeyRow(key, tuple(values.get(key) for values in shown))
        for key in known
        if _differ(key, meanings) and _differ(key, shown)
    )


def _differ(key: str, configs: Sequence[Mapping[str, str]]) -> bool:
    values = {config.get(key) for config in configs}
    if key == CLASS_SET:
        values.discard(None)  # of an earlier version, which did not write it out
    return len(values) > 1


def pretraining_epochs(row: RunRow) -> int:
    """Epochs of the pre-training run whose weights this run began with, 0 without one."""
    pretraining = row.config.get("pretrain") if learns_classes(row.task, row.classes) else None
    return int(pretraining.get("epochs", 0)) if isinstance(pretraining, Mapping) else 0


def is_external(split: str, trained: RunRow, scored: RunRow) -> bool:
    """Whether the images of an evaluation took part neither in the training nor in choosing its best epoch.

    So it is with a test split, another data set and, when the training held out a part of the training
    folder, the folder for validation.
    """
    own, others = trained.config["data"], scored.config["data"]
    if split == "test" or own["root"] != others["root"]:
        return True
    return bool(split == "val" and own["split"] == "random" and others["split"] == "official")


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", format_value(value)
