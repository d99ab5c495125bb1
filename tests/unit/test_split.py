"""The split rules: the same on every machine, whatever the order of the files."""

from __future__ import annotations

import hashlib
import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.classes import CITYSCAPES
from engine.config.sections import DataConfig
from engine.data.catalog import Catalog, DataError, Sample
from engine.data.split import SplitRule, labelled_part, split_random, split_samples

STUDY_SEED = 2147483647


def samples_named(*names: str) -> tuple[Sample, ...]:
    return tuple(Sample(name, Path(f"{name}.png"), Path(f"{name}_label.png")) for name in names)


def numbered(count: int) -> tuple[Sample, ...]:
    return samples_named(*(f"train/city/city_{i:06d}_000019" for i in range(count)))


def test_the_study_sizes_and_a_fixed_membership() -> None:
    training, validating = split_random(numbered(2975), 0.2, STUDY_SEED, "rank")
    assert (len(training), len(validating)) == (2380, 595)
    names = "\n".join(sample.name for sample in validating)
    assert (
        hashlib.sha256(names.encode()).hexdigest()
        == "db8e39ba54b0d9703e69569feaadf8e019aad68e0625029e89ca12a55c1eda31"
    )


def test_by_hand() -> None:
    by_hand = sorted("abcd", key=lambda name: hashlib.sha256(f"7:{name}".encode()).hexdigest())
    training, validating = split_random(samples_named("d", "a", "c", "b"), 0.5, 7, "rank")
    assert [sample.name for sample in training] == sorted(by_hand[:2])
    assert [sample.name for sample in validating] == sorted(by_hand[2:])


@given(
    names=st.lists(st.text(max_size=8), min_size=2, max_size=40, unique=True),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**63 - 1),
    data=st.data(),
)
def test_every_sample_once_and_the_order_does_not_matter(
    names: list[str], fraction: float, seed: int, data: st.DataObject
) -> None:
    samples = samples_named(*names)
    try:
        training, validating = split_random(samples, fraction, seed, "rank")
    except DataError:
        assert abs(len(names) * fraction - len(names) * round(fraction)) <= 0.5  # one side rounds to nothing
        return
    assert sorted(training + validating, key=lambda s: s.name) == sorted(samples, key=lambda s: s.name)
    assert abs(len(validating) - len(names) * fraction) <= 0.5
    assert list(training) == sorted(training, key=lambda s: s.name)
    assert list(validating) == sorted(validating, key=lambda s: s.name)
    shuffled = data.draw(st.permutations(samples))
    assert split_random(shuffled, fraction, seed, "rank") == (training, validating)


def test_another_seed_is_another_split() -> None:
    assert split_random(numbered(100), 0.2, 1) != split_random(numbered(100), 0.2, 2)


@pytest.mark.parametrize(
    ("count", "fraction", "validating"),
    [(5, 0.1, 1), (5, 0.3, 2), (100, 0.145, 15), (10, 0.25, 3), (10, 0.24, 2), (2, 0.5, 1)],
)
def test_the_number_validating_rounds_halves_up(count: int, fraction: float, validating: int) -> None:
    assert len(split_random(numbered(count), fraction, 0, "rank")[1]) == validating


@pytest.mark.parametrize("rule", ["rank", "threshold"])
def test_a_file_name_that_is_no_utf8_can_be_split(rule: SplitRule) -> None:
    samples = samples_named("a\udcff", "b", "c", "d", "e", "f")
    training, validating = split_random(samples, 0.5, 0, rule)
    assert {s.name for s in training + validating} == {"a\udcff", *"bcdef"}


@pytest.mark.parametrize("rule", ["rank", "threshold"])
@pytest.mark.parametrize(("count", "fraction"), [(1, 0.5), (2, 0.001), (3, 0.1), (3, 0.999), (0, 0.2)])
def test_a_side_without_samples_is_refused(count: int, fraction: float, rule: SplitRule) -> None:
    with pytest.raises(DataError, match=f"{count} samples? cannot be split.*each needs at least one"):
        split_random(numbered(count), fraction, 1, rule)


@pytest.mark.parametrize("rule", ["rank", "threshold"])
@pytest.mark.parametrize(
    ("count", "fraction"),
    [(2, 0.01), (3, 0.1), (4, 0.99), (10, 0.02), (400, 1e-7), (400, 0.9999999)],
)
def test_the_advice_of_a_refusal_works(count: int, fraction: float, rule: SplitRule) -> None:
    with pytest.raises(DataError) as refusal:
        split_random(numbered(count), fraction, 5, rule)
    found = re.search(r"data\.(split_seed|val_fraction)=([\d.e-]+) ", str(refusal.value))
    assert found is not None, refusal.value
    seed = int(found[2]) if found[1] == "split_seed" else 5
    mended = float(found[2]) if found[1] == "val_fraction" else fraction
    assert all(split_random(numbered(count), mended, seed, rule))


@given(
    before=st.sets(st.integers(0, 10_000), min_size=1, max_size=60),
    change=st.sets(st.integers(0, 10_000), max_size=60),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**63 - 1),
)
def test_no_image_moves_when_others_come_and_go(
    before: set[int], change: set[int], fraction: float, seed: int
) -> None:
    def sides(numbers: set[int]) -> dict[str, bool]:
        training, validating = split_random(samples_named(*map(str, numbers)), fraction, seed)
        return {s.name: False for s in training} | {s.name: True for s in validating}

    try:
        first, then = sides(before), sides(before ^ change)
    except DataError:
        return  # one side is empty
    assert all(then[name] == side for name, side in first.items() if name in then)


def test_the_shares_are_about_those_wanted_and_labels_are_chosen_apart_from_the_split() -> None:
    training, validating = split_random(numbered(4000), 0.2, 3)
    assert len(validating) == pytest.approx(800, abs=100)
    for part in (training, validating):  # a share of the labels has nothing to do with the side
        assert len(labelled_part(part, 0.5, 3)) == pytest.approx(len(part) / 2, rel=0.1)


@pytest.mark.parametrize("rule", ["rank", "threshold"])
def test_a_smaller_part_of_the_labels_lies_within_a_larger_one(rule: SplitRule) -> None:
    parts = [labelled_part(numbered(200), fraction, 1, rule) for fraction in (0.05, 0.1, 0.5, 1.0)]
    for smaller, larger in itertools.pairwise(parts):
        assert set(smaller) < set(larger)
    assert parts[-1] == numbered(200)


def test_labels_stay_chosen_when_images_are_added() -> None:
    assert set(labelled_part(numbered(100), 0.3, 1)) <= set(labelled_part(numbered(150), 0.3, 1))


@pytest.mark.parametrize("rule", ["rank", "threshold"])
def test_a_part_of_the_labels_that_is_none_names_one_that_works(rule: SplitRule) -> None:
    with pytest.raises(DataError, match=r"leaves none; data\.label_fraction=[0-9.]+ leaves one") as refusal:
        labelled_part(numbered(10), 0.001, 0, rule)
    enough = float(str(refusal.value).rpartition("=")[2].split()[0])
    assert labelled_part(numbered(10), enough, 0, rule)


def test_the_threshold_rule_by_hand() -> None:
    samples = samples_named("d", "a", "c", "b", "e", "f")
    shares = {
        s.name: int(hashlib.sha256(f"{s.name}:7".encode()).hexdigest()[16:32], 16) / 2**64 for s in samples
    }
    training, validating = split_random(samples, 0.5, 7)
    assert [s.name for s in validating] == sorted(name for name, share in shares.items() if share < 0.5)
    assert [s.name for s in training] == sorted(name for name, share in shares.items() if share >= 0.5)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, 1.5, float("nan")])
def test_a_fraction_out_of_bounds_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match="must lie between 0 and 1"):
        split_random(numbered(10), fraction, 0)


def catalog_of(**splits: tuple[Sample, ...]) -> Catalog:
    return Catalog(Path("root"), "cityscapes", CITYSCAPES, splits, ())


def test_random_uses_the_train_folder_alone() -> None:
    catalog = catalog_of(train=numbered(10), val=samples_named("val/x"))
    config = DataConfig(split_seed=3, split_rule="threshold")
    assert split_samples(catalog, config) == split_random(numbered(10), 0.2, 3)


def test_official_uses_the_folders() -> None:
    catalog = catalog_of(train=numbered(10), val=samples_named("val/x"))
    assert split_samples(catalog, DataConfig(split="official")) == (numbered(10), samples_named("val/x"))


@pytest.mark.parametrize(
    ("split", "there", "missing"),
    [("official", "train", "val"), ("official", "val", "train"), ("random", "val", "train")],
)
def test_a_missing_folder_is_named_with_those_there(split: str, there: str, missing: str) -> None:
    config = DataConfig.model_validate({"split": split})
    with pytest.raises(DataError, match=rf"{split} split needs .* in {missing}; there are: {there} \(10\)"):
        split_samples(catalog_of(**{there: numbered(10)}), config)


SEQUENCES = samples_named(
    *("train/b/1", "train/b/2", "train/a/1", "train/fog/c/1"), "train/fog/d/1", "train/1", "train/ab/1"
)


@pytest.mark.parametrize(
    ("folders", "validating"),
    [("b", "b/1 b/2"), ("a,b", "a/1 b/1 b/2"), ("fog", "fog/c/1 fog/d/1"), ("d", "fog/d/1")],
)
def test_whole_folders_are_held_out(folders: str, validating: str) -> None:
    config = DataConfig(split="folders", val_folders=folders)
    training, held_out = split_samples(catalog_of(train=SEQUENCES, val=samples_named("val/b/9")), config)
    assert [sample.name for sample in held_out] == [f"train/{name}" for name in validating.split()]
    assert list(training) == sorted(set(SEQUENCES) - set(held_out), key=lambda sample: sample.name)


@pytest.mark.parametrize(
    ("samples", "folders", "told"),
    [
        (SEQUENCES, "b,e,f", r"data\.val_folders: .* have no folder e, f; there are: a, ab, b, c, d$"),
        (samples_named("1", "2"), "a", "have no folder a; its images lie in no folders$"),
        (samples_named("train/a/1", "train/b/1"), "a,b", r"data\.val_folders=a,b leaves no image"),
    ],
)
def test_folders_that_cannot_be_held_out_are_one_line(
    samples: tuple[Sample, ...], folders: str, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        split_samples(catalog_of(train=samples), DataConfig(split="folders", val_folders=folders))


def test_folders_belong_to_their_split() -> None:
    with pytest.raises(ValueError, match=r"data\.val_folders: is empty; with data\.split=folders it"):
        DataConfig(split="folders")
    with pytest.raises(ValueError, match=r"data\.val_folders: ulm has no effect with data\.split=official"):
        DataConfig(split="official", val_folders="ulm")
