"""Which classes the labels of a run have at its size, and whether a network can learn anything from them.

Free of torch, so that a front end can refuse a lesson without content before a run exists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.classes import VOID, ClassSet
from engine.config.sections import DataConfig
from engine.data.cache import cache_key
from engine.data.catalog import DataError, Sample
from engine.data.decode import labels_in, map_in_order, resize_labels, train_id_table
from engine.data.faults import listed
from engine.data.image_files import FileFault
from engine.host.access import reason
from engine.host.input_files import shown
from engine.run.files import write_json

Labels = NDArray[np.uint8]

BACKGROUND = "name the background as a class of its own in classes.toml"


def refuse_one_class(class_set: ClassSet, root: Path) -> None:
    """Raise DataError for a class set that cannot teach: softmax over one class is 1 everywhere."""
    if len(class_set) > 1:
        return
    if class_set.held_out:
        held_out = ", ".join(c.name for c in class_set.held_out)
        told, help_ = f"data.hold_out={held_out} leaves one class", "hold out fewer classes"
    else:
        told, help_ = f"the class set {class_set.name} has one class", BACKGROUND
    name = class_set.names[0]
    raise DataError(f"{shown(root)}: {told}, {name}; a network needs at least two classes: {help_}")


def problems_of_folders(class_set: ClassSet, seen: Mapping[str, Collection[int]]) -> list[str]:
    """What stands in the way of learning from a whole data set, a line each; `seen` are the train ids that
    occur in each split folder."""
    problems = []
    if len(class_set) == 1:
        name = class_set.names[0]
        problems.append(f"the class set has one class, {name}; a network needs at least two: {BACKGROUND}")
    elif "train" in seen and len(seen["train"]) == 1:
        name = class_set.names[min(seen["train"])]
        problems.append(f"train: all labelled pixels are of one class, {name}; {BACKGROUND}")
    if "train" in seen and not seen["train"]:
        problems.append("train: every label is void, so there is nothing to learn")
    if "val" in seen and not seen["val"]:
        problems.append("val: every label is void, so data.split=official has nothing to validate on")
    return problems


class Lessons:
    """What the labels of training and validation samples hold at the size of a run.

    `train` are the samples whose labels are used, `unused` those that data.label_fraction leaves out. `seen`
    gives the classes of samples at that size.
    """

    def __init__(
        self,
        config: DataConfig,
        class_set: ClassSet,
        root: Path,
        train: Sequence[Sample],
        unused: Sequence[Sample],
        val: Sequence[Sample],
        seen: Callable[[Sequence[Sample]], frozenset[int]],
    ) -> None:
        self.config, self.class_set, self.root = config, class_set, root
        self.train, self.unused, self.val, self._seen = train, unused, val, seen

    def check(self) -> list[str]:
        """What to say of classes without a pixel to learn from.

        Raises DataError, one line with what would help, when no validation pixel is of a class, or all
        training pixels are of one class or of none.
        """
        taught = self._seen(self.train)
        if len(taught) < 2:
            raise DataError(self._nothing_to_learn(taught))
        if not self._seen(self.val):
            raise DataError(self._nothing_to_validate())
        absent = [name for index, name in enumerate(self.class_set.names) if index not in taught]
        if not absent:
            return []
        size, classes = "x".join(map(str, self.config.size)), len(self.class_set)
        told = f"no training pixel at {size} is of {listed(absent)}"
        return [f"{told}: {len(absent)} of {classes} classes cannot be learned"]

    def _nothing_to_learn(self, taught: frozenset[int]) -> str:
        size = "x".join(map(str, self.config.size))
        if taught:
            name = self.class_set.names[min(taught)]
            told = f"all training pixels with a label are of one class, {name}, at {size}"
        else:
            told = f"the labels of all {len(self.train)} training images are void at {size}"
        return f"{shown(self.root)}: {told}, so there is nothing to learn; {self._help(taught)}"

    def _help(self, taught: frozenset[int]) -> str:
        """What has been tried and would add a class to those in training."""
        if self.unused and self._seen(self.unused) - taught:
            return f"a data.label_fraction above {self.config.label_fraction:g} has more classes"
        if self._at_full_size(self.train) - taught:
            return "a larger data.size keeps small objects, which vanish when labels are downsampled"
        held_out = [i for c in self.class_set.held_out for i in c.ids]
        if held_out and present(labels_of(self.train, self.class_set), 256) & set(held_out):
            return f"data.hold_out={self.config.hold_out} makes everything else void; hold out fewer classes"
        if self.config.split == "random" and self._seen(self.val) - taught:
            return "another data.split_seed selects other training images"
        return f"if all else is background, {BACKGROUND}"

    def _nothing_to_validate(self) -> str:
        size = "x".join(map(str, self.config.size))
        told = f"the labels of all {len(self.val)} validation images are void at {size}"
        if self._at_full_size(self.val):
            help_ = "a larger data.size keeps small objects, which vanish when labels are downsampled"
        elif self.config.split == "official":
            help_ = "label them, or use data.split=random, which holds out part of the training images"
        elif self.config.split == "folders":
            help_ = "hold out other folders (data.val_folders)"
        else:
            help_ = "try another data.split_seed or a larger data.val_fraction"
        return f"{shown(self.root)}: {told}, so nothing can be scored; {help_}"

    def _at_full_size(self, samples: Sequence[Sample]) -> frozenset[int]:
        table = train_id_table(self.class_set)
        return present((table[labels] for labels in labels_of(samples, self.class_set)), len(self.class_set))


def present(labels: Iterable[Labels], enough: int) -> frozenset[int]:
    """The train ids that occur in some labels, void left out; looks no further than at `enough` of them."""
    found: set[int] = set()
    for some in labels:
        counts = Image.fromarray(some).histogram()  # several times as fast as numpy's bincount of bytes
        found.update(value for value, count in enumerate(counts) if count and value != VOID)
        if len(found) >= enough:
            break
    return frozenset(found)


def present_in_files(
    samples: Sequence[Sample], size: tuple[int, int], class_set: ClassSet, root: Path, cache_dir: Path
) -> frozenset[int]:
    """The train ids of samples that are not cached. What took reading all label files is kept in
    `cache_dir`."""
    memory = cache_dir / f"{cache_key(samples, size, class_set, root)}.classes.json"
    try:
        return frozenset(int(index) for index in json.loads(memory.read_bytes()))
    except (OSError, ValueError, TypeError):
        pass  # not looked at yet
    table = train_id_table(class_set)
    with closing(labels_of(samples, class_set)) as reading:
        found = present((table[resize_labels(labels, size)] for labels in reading), len(class_set))
    if len(found) < len(class_set):
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            write_json(memory, sorted(found))
        except OSError as error:
            raise DataError(f"{cache_dir}: cannot be written: {reason(error)}") from error
    return found


def labels_of(samples: Sequence[Sample], class_set: ClassSet) -> Generator[Labels, None, None]:
    """The source ids of samples, one after the other; what cannot be read is left to those who use it."""

    def read(sample: Sample) -> Labels | None:
        try:
            return None if sample.label is None else labels_in(sample, class_set)
        except FileFault:
            return None

    with closing(map_in_order(read, samples)) as reading:
        yield from (labels for labels in reading if labels is not None)
