"""The environments that a network is scored in: the images that its run held out, those images corrupted, and
other data sets of the same classes. Free of torch, so that a front end can refuse one before a run exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.config.run_config import RunConfig
from engine.config.sections import DataConfig
from engine.config.task_sections import EnvironmentConfig, GeneraliseConfig
from engine.data.checks import Checked, Known, Log
from engine.data.corruptions import CLEAN
from engine.data.layouts.recognise import found_layout
from engine.data.membership import Trained
from engine.data.pairs import Pairs, find_pairs, open_pairs, refuse_other_classes, refuse_unlabelled
from engine.run.directory import RunDir

Kind = Literal["own", "corruption", "data"]


@dataclass(frozen=True)
class Environment:
    """Labelled images, corrupted or as they are. `layout` is that of another data set, "" for the run's."""

    name: str
    kind: Kind
    split: Literal["train", "val", "test"]
    pairs: Pairs
    layout: str = ""
    corruption: str = CLEAN
    strength: int = 0


def own_name(split: str) -> str:
    """What the run's own images are called, against which the others are held: mostly those that it held
    out."""
    return "validation" if split == "val" else split


def corrupted_name(corruption: str, strength: int) -> str:
    return f"{corruption} {strength}"


def open_environments(
    config: RunConfig,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
    trained: Trained | None = None,
) -> list[Environment]:
    """All of them, the run's own images first; every file is opened once. Raises DataError."""
    about = _about(config)
    own = open_pairs(config.data, about.split, cache_dir, on_progress, trained)
    found = [Environment(own_name(about.split), "own", about.split, own)]
    for corruption in about.corruptions:
        for strength in about.strengths:
            name = corrupted_name(corruption, strength)
            found.append(
                Environment(name, "corruption", about.split, own, corruption=corruption, strength=strength)
            )
    for environment, data in _other_data(config.data, about):
        pairs = open_pairs(data, environment.split, cache_dir, on_progress, trained)
        layout = found_layout(pairs.root, data.layout)
        named = layout.name if layout is not None else data.layout
        found.append(Environment(environment.name, "data", environment.split, pairs, named))
    return found


def notes_of(environments: list[Environment]) -> list[str]:
    """What a person should know of how each was put together, a line each."""
    own = environments[0].pairs.notes
    others = (
        f"{each.name}: {note}" for each in environments if each.kind == "data" for note in each.pairs.notes
    )
    return list(dict.fromkeys((*own, *others)))


def check_environments(config: RunConfig, known: Known, log: Log) -> Checked:
    """The environments are there, have the network's classes and a label somewhere. Raises DataError."""
    found = open_environments(config, known.cache, log.progress, known.trained)
    for each in found:
        if each.kind == "corruption":
            continue
        if known.classes:
            who = known.trained.run_id if known.trained is not None else "the network"
            refuse_other_classes(each.pairs, known.classes, who)
        refuse_unlabelled(each.pairs, each.split, None, log.progress)
    return Checked(tuple(notes_of(found)))


def find_environments(config: RunConfig, run: RunDir) -> None:
    """Raise DataError when a run that is to go on would fail at once, as some of its data is gone."""
    about, trained = _about(config), Trained.find(RunDir(run.path.parent / config.source))
    find_pairs(config.data, about.split, trained)
    for environment, data in _other_data(config.data, about):
        find_pairs(data, environment.split, trained)


def data_of(data: DataConfig, environment: EnvironmentConfig) -> DataConfig:
    """The data section of a run on another data set, of which no part is divided."""
    changes = {
        "root": environment.root,
        "layout": environment.layout,
        "classes": environment.classes,
        "class_set": environment.class_set,
        "split": "official",
        "val_folders": "",
    }
    return data.model_copy(update=changes)


def _other_data(data: DataConfig, about: GeneraliseConfig) -> Iterator[tuple[EnvironmentConfig, DataConfig]]:
    """Each other data set with its section."""
    return ((environment, data_of(data, environment)) for environment in about.environments)


def _about(config: RunConfig) -> GeneraliseConfig:
    assert config.generalise is not None
    return config.generalise
