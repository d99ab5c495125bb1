"""What each task wants of its data, looked at before a run exists: a fault is told at once, not in the night.

Each check opens every file once, which fills the cache, and raises DataError for what cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.config.run_config import RunConfig
from engine.data.cases import open_material
from engine.data.dataset import open_dataset
from engine.data.membership import Trained
from engine.data.pairs import Pairs, open_pairs, refuse_other_classes, refuse_unlabelled
from engine.data.search_images import open_search_images


@dataclass(frozen=True)
class Known:
    """What is known beforehand: `trained` of the run that goes on or whose network is looked at, with the
    `classes` of that network, none where they do not matter. `cache` is the folder of caches."""

    cache: Path
    trained: Trained | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Log:
    """Where a check tells how far it is, `progress(done, total)`, and what it waits for."""

    progress: Callable[[int, int], None] = lambda done, total: None
    waiting: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Checked:
    """What a check found: lines that a person should read, and the training images where there are any."""

    notes: tuple[str, ...] = ()
    train_images: int | None = None


def check_training(config: RunConfig, known: Known, log: Log) -> Checked:
    """The data set of a task that learns, split and decoded."""
    began_with = known.trained.membership if known.trained is not None else None
    data = open_dataset(config.data, known.cache, log.progress, log.waiting, config.needs_labels, began_with)
    if known.trained is not None:
        known.trained.refuse_other_counts(len(data.train), len(data.val))
    return Checked(data.notes, len(data.train))


def check_split(config: RunConfig, known: Known, log: Log) -> Checked:
    """A split that is to be scored: it is there, has the network's classes and a label somewhere."""
    about = config.scored
    assert about is not None
    pairs = open_pairs(config.data, about.split, known.cache, log.progress, known.trained)
    _refuse_strange(pairs, known)
    at_input = config.evaluate is not None and config.evaluate.at == "input"
    refuse_unlabelled(pairs, about.split, config.data.size if at_input else None, log.progress)
    return Checked(pairs.notes)


def check_material(config: RunConfig, known: Known, log: Log) -> Checked:
    """What an out-of-distribution evaluation is fitted on, calibrated with and judges."""
    about = config.ood
    assert about is not None
    material = open_material(config.data, about, known.cache, log.progress, known.trained)
    _refuse_strange(Pairs(material.root, material.class_set, material.training, ()), known)
    held_out = Pairs(material.root, material.class_set, material.calibrating, ())
    refuse_unlabelled(held_out, "the part held out, which calibrates,")
    return Checked(material.notes)


def check_crf_images(config: RunConfig, known: Known, log: Log) -> Checked:
    """The training images that a search for the parameters of a CRF is to use."""
    about = config.crf_search
    assert about is not None
    chosen = open_search_images(
        config.data, about.images, about.seed, known.cache, known.trained, log.progress
    )
    _refuse_strange(chosen.pairs, known)
    refuse_unlabelled(chosen.pairs, "the search", config.data.size if about.at == "input" else None)
    return Checked((*chosen.pairs.notes, *([chosen.note] if chosen.note else [])))


def check_nothing(config: RunConfig, known: Known, log: Log) -> Checked:
    """For a task that looks at each image when its turn comes."""
    return Checked()


def _refuse_strange(pairs: Pairs, known: Known) -> None:
    if known.classes and known.trained is not None:
        refuse_other_classes(pairs, known.classes, known.trained.run_id)
