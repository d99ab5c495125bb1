"""The configs of runs side by side: what makes two of them the same, and the keys in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from engine.config.described import config_keys, format_value
from engine.config.stored import CLASS_SET, flat_config, recorded
from engine.store import RunRow
from engine.tasks import learns_classes

SEED = "seed"
NONE = format_value(None)

_HELD_OUT = ("data.split", "data.val_fraction", "data.val_folders", "data.split_seed", "data.split_rule")
"""Keys that decide which images of the training folder are held out."""

SCORED_ON = ("data.root", "data.classes", "data.size", *_HELD_OUT)
"""Keys that decide which pixels a run that learns is scored on."""

_SPLIT, _AT = "evaluate.split", "evaluate.at"

_SAME_RESULT: tuple[str, ...] = (
    "device",
    "precision",
    "checkpoint.",
    "gallery.",
    "limits.",
    "runtime.",
    "data.cache",
)
_SAME_RESULT += ("data.workers", "data.skip_bad", "validation.batch_size", "seed")
_SAME_RESULT += ("executor", "slurm.", "report.")
"""Keys, and beginnings of keys, that make a run no other experiment than its recipe is, but for PARTS."""

PARTS = ("devices", "slurm.nodes", "runtime.micro_batch")
"""Keys that divide a batch: batch norm, and losses that are not means over pixels, see a part of it."""


def keeps_result(key: str) -> bool:
    """Whether a run with another value of this key is no other experiment."""
    return key.startswith(_SAME_RESULT) and key not in PARTS


_NAMES = ("recipe", "executor")
_NAMES_BELOW = ("slurm.", "report.")
"""Sections that say who starts a run and who is told of it, as in `engine.store.variant`."""
_PATHS = ("data.root", "data.classes")


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A config key in which entries differ, with each one's value as it would be typed; None: no such key."""

    key: str
    values: tuple[str | None, ...]


def comparable_config(row: RunRow, known: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The config without names, its paths cut down to what they mean: the last part and what was there.
    `known` as in `flat_config`."""
    # The sections of a report ask for the same rows again and again, and seldom know such defaults.
    return _comparable(row, known) if known else dict(_remembered(_Snapshot(row)))


class _Snapshot:
    """A row as a key that equals itself alone: rows never change, and comparing all they hold takes long."""

    __slots__ = ("row",)

    def __init__(self, row: RunRow) -> None:
        self.row = row

    def __hash__(self) -> int:
        return id(self.row)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Snapshot) and self.row is other.row


@lru_cache(maxsize=1024)
def _remembered(snapshot: _Snapshot) -> dict[str, str]:
    return _comparable(snapshot.row, None)


def _comparable(row: RunRow, known: Mapping[str, Any] | None) -> dict[str, str]:
    flat = {
        key: value
        for key, value in flat_config(row.stored_config, known).items()
        if key not in _NAMES and not key.startswith(_NAMES_BELOW)
    }
    for key in _PATHS:
        flat[key] = PurePath(flat.get(key, "")).name
    if "plugins" in flat:
        flat["plugins"] = " ".join(sorted(file["sha256"] for file in row.stored_config["plugins"]))
    if flat.get("data.split") in ("official", "folders") and flat.get("data.label_fraction") == "1":
        flat.pop("data.split_rule", None)  # it has nothing to rule
    if row.train_images is not None:
        flat["data.root"] += f" {row.train_images}/{row.val_images}"
    flat["data.classes"] += " " + ",".join(row.classes)
    return flat


def differing_keys(groups: Sequence[Sequence[RunRow]], folded: bool) -> tuple[KeyRow, ...]:
    """The keys in which groups differ, a value for each group: that of its first run, when `folded` the
    seeds of all."""
    known = recorded(group[0].stored_config for group in groups)
    meanings = [comparable_config(group[0], known) for group in groups]
    shown = [flat_config(group[0].stored_config, known) for group in groups]
    if folded:
        for group, meaning, values in zip(groups, meanings, shown, strict=True):
            meaning[SEED] = values[SEED] = " ".join(map(str, sorted(row.seed for row in group)))
    keys = list(dict.fromkeys(key for meaning in meanings for key in meaning))
    order = {key: place for place, key in enumerate(config_keys())}
    keys.sort(key=lambda key: order.get(key, len(order)))
    return tuple(
        KeyRow(key, tuple(values.get(key) for values in shown))
        for key in keys
        if _differ(key, meanings) and _differ(key, shown)
    )


def _differ(key: str, configs: Sequence[Mapping[str, str]]) -> bool:
    # A key that is not there, a section that is none and one with nothing in it say the same.
    values = {"" if (value := config.get(key, "")) == NONE else value for config in configs}
    if key == CLASS_SET:
        values.discard("")  # of an earlier version, which did not write it out
    return len(values) > 1


def scored_otherwise(rows: Sequence[RunRow]) -> list[str]:
    """The keys in which runs differ that decide which pixels each is scored on. A run that looks at another's
    network counts no training images; those of one on the same folder are taken for it."""
    configs = [comparable_config(row) for row in rows]
    counted = {
        row.config["data"]["root"]: config["data.root"]
        for row, config in zip(rows, configs, strict=True)
        if row.train_images is not None
    }
    for row, config in zip(rows, configs, strict=True):
        if row.train_images is None:
            config["data.root"] = counted.get(row.config["data"]["root"], config["data.root"])
    scored = list(map(_of_pixels, configs))
    return [
        key
        for key in (*SCORED_ON, _SPLIT, _AT)
        if _differ(key, [of_run for of_run in scored if key in of_run])
    ]


def _of_pixels(config: Mapping[str, str]) -> dict[str, str]:
    """What of a config decides which pixels a run is scored on: of one that learns the images that it holds
    out, at the input size; of an evaluation the split and the size that it has chosen."""
    split, at = config.get(_SPLIT, "val"), config.get(_AT, "input")
    decides = {key: config.get(key, "") for key in SCORED_ON} | {_SPLIT: split, _AT: at}
    if split == "test":  # of which nothing is held out
        decides = {key: value for key, value in decides.items() if key not in _HELD_OUT}
    if at == "original":  # the labels' own size, whatever the network sees
        del decides["data.size"]
    return decides


def pretraining_epochs(row: RunRow) -> int:
    """Epochs of the pre-training run whose weights this run began with, 0 without one."""
    pretraining = row.config.get("pretrain") if learns_classes(row.task, row.classes) else None
    return int(pretraining.get("epochs", 0)) if isinstance(pretraining, Mapping) else 0


def other_weights(trained: RunRow, scored: RunRow) -> str:
    """Which weights of a checkpoint with an average an evaluation scored, in words; "" for those that the
    training validated."""
    own, its = (row.config.get("ema", {}) for row in (trained, scored))
    if not own.get("decay") or own.get("use") == its.get("use"):
        return ""
    return "raw weights" if its.get("use") == "raw" else "average of the weights"


def is_external(split: str, trained: RunRow, scored: RunRow) -> bool:
    """Whether the images of an evaluation took part neither in the training nor in choosing its best epoch.

    So it is with a test split, another data set and, when the training held out a part of the training
    folder, the folder for validation.
    """
    own, others = trained.config["data"], scored.config["data"]
    if split == "test" or own["root"] != others["root"]:
        return True
    return bool(split == "val" and own["split"] != "official" and others["split"] == "official")
