"""Merging classes, holding unpaired images against each other, and what a generalisation goes on with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine.classes import CITYSCAPES, VOID
from engine.config.keys import ConfigError
from engine.inference.generalise import _kept
from engine.inference.scoring import contents_array
from engine.metrics.bootstrap import paired_differences, unpaired_differences
from engine.metrics.image_confusions import ImageConfusions, confusion_of
from engine.metrics.merging import Merging
from engine.requests.class_map import CATEGORIES, class_map
from engine.requests.generalise import split_keys

CLASSES = ("road", "car", "bus", "sky")
COLORS = ("#111111", "#222222", "#333333", "#444444")


def test_merging_matrices_is_merging_labels() -> None:
    """Of random labels the matrix of merged classes is that of labels whose ids were merged before."""
    generator = np.random.default_rng(0)
    target = generator.choice(np.array([0, 1, 2, 3, VOID], np.uint8), (40, 50))
    predicted = generator.integers(0, 4, (40, 50), dtype=np.uint8)
    merging = Merging.of(CLASSES, COLORS, {"vehicle": ("car", "bus")}, ("sky",))
    assert merging.classes == ("road", "vehicle")
    assert merging.colors == ("#111111", "#222222")
    ids = np.full(256, VOID, np.uint8)
    ids[:4] = (0, 1, 1, VOID)
    expected = confusion_of(ids[predicted], ids[target], 2)
    assert np.array_equal(merging.matrix(confusion_of(predicted, target, 4)), expected)
    expected[1] = 0
    assert merging.never_labelled(expected) == ("vehicle",)


def shares(right: list[int]) -> ImageConfusions:
    """Images of 10 pixels of road and 10 of car, of whose road so many are found."""
    made = ImageConfusions(("road", "car"))
    for place, count in enumerate(right):
        made.add(f"{place}", np.array([[count, 10 - count, 0], [0, 10, 0]]))
    return made


def test_intervals_of_other_images_are_wider_than_those_of_the_same() -> None:
    generator = np.random.default_rng(1)
    clean = [int(right) for right in generator.integers(3, 11, 40)]
    worse = shares([right - 1 for right in clean])
    paired, unpaired = (
        differ(worse, shares(clean), draws=500)[0] for differ in (paired_differences, unpaired_differences)
    )
    assert paired.difference == unpaired.difference
    assert None not in (paired.low, paired.high, unpaired.low, unpaired.high)
    assert paired.low <= paired.high < 0  # type: ignore[operator]
    assert unpaired.low < paired.low < paired.high < unpaired.high  # type: ignore[operator]
    (few, *_) = unpaired_differences(shares([5, 6, 7]), shares(clean), draws=500)
    assert few.baseline == paired.baseline


def test_built_in_maps_cover_cityscapes() -> None:
    categories = class_map("categories", CITYSCAPES.names)
    assert categories.groups == CATEGORIES
    grouped = Merging.of(CITYSCAPES.names, ["#000000"] * 19, CATEGORIES)
    assert len(grouped.classes) == 7
    assert (
        len(
            Merging.of(
                CITYSCAPES.names, ["#000000"] * 19, class_map("camvid", CITYSCAPES.names).groups or {}
            ).classes
        )
        == 11
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('merge.a = ["road", "moon"]', "moon: is no class of the network"),
        ('merge.a = ["road"]\nmerge.b = ["road"]', "road: is named twice"),
        ('merge.sky = ["road"]', "merge.sky: is a class that is not among those that it merges"),
        ('merge.a = "road"', "merge.a: must be a list of classes"),
        ('leave_out.classes = ["road", "car", "bus", "sky"]', "leaves out all classes"),
        ("[groups]", "groups: has only [merge] and [leave_out]"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        class_map(str(path), CLASSES)
    assert told in str(error.value)


def test_a_folder_is_told_from_its_keys() -> None:
    assert split_keys("a,b,split=test,name=x y") == (Path("a,b"), {"split": "test", "name": "x y"})
    with pytest.raises(ConfigError, match="size: is no key of a data set"):
        split_keys("a,size=3")


def test_the_next_attempt_goes_on_with_the_images_of_the_same_checkpoint(tmp_path: Path) -> None:
    warnings: list[str] = []
    job: Any = SimpleNamespace(warn=warnings.append)

    def split_of(there: str, labels: str = "as they were") -> Any:
        contents = {name: (f"image {name}", labels) for name in there}
        return SimpleNamespace(samples=[SimpleNamespace(name=name) for name in there], contents=contents)

    def kept(checkpoint: str, there: str = "ab", labels: str = "as they were") -> ImageConfusions:
        network: Any = SimpleNamespace(classes=("road", "car"), sha256=checkpoint)
        return _kept(job, split_of(there, labels), network, tmp_path / "00.npz")

    first = kept("sha")
    first.add("a", np.array([[3, 1, 0], [0, 2, 0]]))
    first.save(tmp_path / "00.npz", {"contents": contents_array(first.names, split_of("ab"))})
    assert (kept("sha").names, warnings) == (["a"], [])
    assert kept("other").names == []
    assert kept("sha", there="b").names == []
    assert kept("sha", labels="redrawn").names == []
    assert warnings == [
        "the checkpoint has changed; the images of 00.npz are scored again",
        "1 sample (a) scored before and no longer there; the images of 00.npz are scored again",
        "the files of 1 sample (a) scored before have changed; the images of 00.npz are scored again",
    ]
