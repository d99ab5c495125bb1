"""The training images on which a task searches for parameters: neither validation nor test images."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.config.sections import DataConfig
from engine.data.catalog import DataError
from engine.data.dataset import checked
from engine.data.membership import Trained, contents_of
from engine.data.pairs import Pairs, find_pairs, open_pairs


@dataclass(frozen=True)
class SearchImages:
    """The pairs of the chosen images. `learned`: the network was trained on them; it is surer of what it sees
    there than on images that are new to it."""

    pairs: Pairs
    learned: bool

    @property
    def note(self) -> str:
        """What a person should know of the choice; "" where there is nothing."""
        if not self.learned:
            return ""
        return (
            "the network was trained on the images of the search, as data.label_fraction left none aside; it "
            "is surer of them than of new ones"
        )


def open_search_images(
    config: DataConfig,
    count: int,
    seed: int,
    cache_dir: Path,
    trained: Trained | None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SearchImages:
    """Choose `count` images, or all where there are fewer, by the `seed`.

    They are labelled training images that the run left aside (data.label_fraction) where those are enough,
    else images that it was trained on. Every image of the part is opened once. Raises DataError as
    `open_pairs` does, and for other data than that of the run, whose parts are not known.
    """
    pairs = open_pairs(config, "train", cache_dir, on_progress, trained)
    place = find_pairs(config, "train", trained)
    if not place.own:
        raise DataError(
            f"{pairs.root}: is not the data that the run was trained on, so its training images are not known"
        )
    unused = place.member.unused if place.member is not None else frozenset()
    aside = [sample for sample in place.catalog.splits["train"] if sample.name in unused]
    if len(aside) >= count:
        faults = checked(aside, config.size, pairs.class_set, pairs.root, cache_dir)
        aside = [sample for sample in aside if sample.name not in faults]
    learned = len(aside) < count
    chosen = sorted(pairs.samples if learned else aside, key=lambda sample: sample.name)
    if len(chosen) > count:
        chosen = sorted(random.Random(seed).sample(chosen, count), key=lambda sample: sample.name)
    contents = contents_of(chosen, pairs.root, cache_dir)
    return SearchImages(Pairs(pairs.root, pairs.class_set, tuple(chosen), (), pairs.notes, contents), learned)
