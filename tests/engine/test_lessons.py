"""Data that can teach nothing is refused before a run exists, in a line that says what would help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.config.sections import DataConfig
from engine.data.catalog import DataError
from engine.data.dataset import Dataset, open_dataset
from engine.data.pairs import open_pairs, refuse_unlabelled
from seg_tui.launch.draft import Draft
from seg_tui.launch.queueing import looker
from tests.engine.conftest import Command

COLORS = ("#804080", "#4682b4", "#dc143c")
SIDE = 64

Make = Callable[..., Path]


def labels_of(*values: int) -> np.ndarray:
    """Stripes of label values."""
    labels = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for index, value in enumerate(values):
        labels[index * SIDE // len(values) :] = value
    return labels


def speck(value: int) -> np.ndarray:
    """A pixel that no smaller size shows."""
    labels = labels_of(0)
    labels[0, 0] = value
    return labels


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a data set of folders: label images by split, classes of the ids 1, 2, ..., void 0 and 255."""

    def make(classes: Sequence[str], **splits: Sequence[np.ndarray]) -> Path:
        root = tmp_path / "data"
        for split, images in splits.items():
            for index, labels in enumerate(images):
                place = f"{split}/{index}.png" if split != "all" else f"{index}.png"
                for folder, pixels in (("images", np.dstack([labels * 40] * 3)), ("labels", labels)):
                    path = root / folder / place
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(path)
        table = "name = 'mine'\nvoid = [0, 255]\n"
        for index, (name, color) in enumerate(zip(classes, COLORS, strict=False), start=1):
            table += f"[[class]]\nname = '{name}'\ncolor = '{color}'\nids = [{index}]\n"
        (root / "classes.toml").write_text(table)
        return root

    return make


def open_it(root: Path, cache: bool = True, **options: object) -> Dataset:
    values = {"split": "official", "size": (16, 16), **options}
    config = DataConfig(root=str(root), cache=cache, **values)  # type: ignore[arg-type]
    return open_dataset(config, root.parent / "cache")


BOTH, ONE, TWO, VOID = labels_of(1, 2), labels_of(1), labels_of(2), labels_of(0)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize(
    ("train", "val", "options", "told"),
    [
        (
            [BOTH] * 3,
            [VOID] * 2,
            {},
            "all 2 validation images are void at 16x16, so nothing can be scored; label them, or",
        ),
        (
            [BOTH] * 3,
            [speck(1)],
            {},
            "validation images are void at 16x16, so nothing can be scored; a larger data.size",
        ),
        (
            [VOID] * 3,
            [BOTH],
            {},
            "all 3 training images are void at 16x16, so there is nothing",
        ),
        (
            [ONE] * 3,
            [BOTH],
            {},
            "of one class, a, at 16x16, so there is nothing to learn; if all else is",
        ),
        ([speck(1) + 2 * speck(0)] * 3, [BOTH], {}, "a larger data.size keeps small objects"),
        (
            [labels_of(1, 3)] * 3,
            [BOTH],
            {"hold_out": "c"},
            "at 16x16, so there is nothing to learn; data.hold_out=c makes everything else void",
        ),
    ],
)
def test_labels_that_teach_nothing_are_refused(
    make: Make,
    cache: bool,
    train: list[np.ndarray],
    val: list[np.ndarray],
    options: dict[str, object],
    told: str,
) -> None:
    root = make(["a", "b", "c"], train=train, val=val)
    for _ in range(2):  # the second time from what the first has kept
        with pytest.raises(DataError) as refusal:
            open_it(root, cache, **options)
        assert told in str(refusal.value)
        assert str(refusal.value).startswith(f"{root}: ")
        assert "\n" not in str(refusal.value)


def test_a_label_fraction_that_leaves_one_class_is_refused_with_what_helps(make: Make) -> None:
    root = make(["a", "b"], train=[ONE] * 9 + [TWO], val=[BOTH])
    open_it(root)
    refused = []
    for fraction in (0.6, 0.4, 0.3, 0.2):
        try:
            open_it(root, label_fraction=fraction)
        except DataError as refusal:
            refused.append((fraction, str(refusal)))
    assert refused
    for fraction, line in refused:
        assert line.endswith(f"a data.label_fraction above {fraction:g} has more classes")


def test_a_random_split_that_holds_out_void_alone_is_refused_with_what_helps(make: Make) -> None:
    root = make(["a", "b"], all=[BOTH] + [VOID] * 9)
    refused = []
    for seed in range(12):
        try:
            open_it(root, split="random", split_seed=seed, val_fraction=0.3)
        except DataError as refusal:
            refused.append(str(refusal))
    assert any("another data.split_seed or a larger data.val_fraction" in line for line in refused)
    assert any("another data.split_seed selects other training images" in line for line in refused)


@pytest.mark.parametrize("cache", [True, False])
def test_classes_that_no_training_pixel_is_of_are_known(make: Make, cache: bool) -> None:
    root = make(["a", "b", "c"], train=[BOTH] * 2, val=[labels_of(1, 3)])
    told = "no training pixel at 16x16 is of c: 1 of 3 classes cannot be learned"
    assert open_it(root, cache).notes == (told,)
    assert open_it(root, cache).notes == (told,)
    Image.fromarray(labels_of(3)).save(root / "labels" / "train" / "0.png")
    assert open_it(root, cache).notes == ()


def test_one_class_is_refused_everywhere(make: Make, seg: Command) -> None:
    root = make(["cell"], train=[ONE] * 4, val=[ONE] * 2)
    help_ = "name the background as a class of its own in classes.toml"
    with pytest.raises(DataError, match=f"the class set mine has one class, cell; .*: {help_}"):
        open_it(root)
    for line in (
        f"run quick --data {root}",
        f"run quick --queue --data {root}",
        f"sweep quick seed=0..1 --yes --data {root}",
        f"study paper --yes --data {root}",
    ):
        done = seg(line)
        assert done.status == 2, line
        assert done.err.strip().splitlines() == [done.err.strip()], line
        assert help_ in done.err, line
    checked = seg(f"data check {root}")
    assert checked.status == 1
    assert help_ in checked.out
    assert "next:" not in checked.out
    assert seg(f"data check {root} --json").json["problems"] == [
        f"the class set has one class, cell; a network needs at least two: {help_}"
    ]
    assert "no runs here yet" in seg("runs").err
    draft = Draft.of_recipe("quick")
    draft.data = str(root)
    look = looker(draft)(draft.data)
    assert (help_ in look.line, look.usable) == (True, False)


def test_a_class_held_out_may_not_leave_one(make: Make, seg: Command) -> None:
    root = make(["a", "b"], train=[BOTH] * 4, val=[BOTH] * 2)
    with pytest.raises(DataError, match=r"hold_out=b leaves one class, a; .*: hold out fewer classes"):
        open_it(root, hold_out="b")
    assert "hold out fewer classes" in seg(f"run quick data.hold_out=b --data {root}").err
    draft = Draft.of_recipe("quick")
    draft.type("data.hold_out", "b")
    assert not looker(draft)(str(root)).usable
    draft.type("data.hold_out", "")
    assert looker(draft)(str(root)).usable


@pytest.mark.parametrize(
    ("train", "val", "problem"),
    [
        ([VOID], [BOTH], "train: every label is void, so there is nothing to learn"),
        ([TWO], [BOTH], "train: all labelled pixels are of one class, b; name the background as a class"),
        ([BOTH], [VOID], "val: every label is void, so data.split=official has nothing to validate on"),
    ],
)
def test_the_check_of_a_data_set_says_what_a_run_would(
    make: Make, seg: Command, train: list[np.ndarray], val: list[np.ndarray], problem: str
) -> None:
    root = make(["a", "b"], train=train * 3, val=val * 2)
    done = seg(f"data check {root}")
    assert done.status == 1
    assert problem in " ".join(done.out.split())
    test = make(["a", "b"], test=[VOID])
    assert "test:" not in seg(f"data check {test}").out  # labels of a test split are often kept back


def test_the_check_of_a_data_set_without_a_usable_pair_speaks_of_no_labels(make: Make, seg: Command) -> None:
    root = make(["a", "b"], train=[BOTH] * 3, val=[BOTH])
    for image in (root / "images/train").iterdir():
        image.write_bytes(b"")
    done = seg(f"data check {root}")
    assert done.status == 1
    assert "train: none of its 3 pairs can be used" in done.out
    assert "void" not in done.out.partition("3 faults")[2]
    assert "--skip-bad" not in done.out


def test_labels_that_vanish_at_the_input_size_are_not_scored_there(make: Make, tmp_path: Path) -> None:
    root = make(["a", "b"], train=[BOTH] * 2, val=[speck(1)])
    pairs = open_pairs(DataConfig(root=str(root), split="official"), "val", tmp_path / "cache")
    refuse_unlabelled(pairs, "val")
    with pytest.raises(DataError, match="void at 16x16, where small objects vanish; --at original keeps"):
        refuse_unlabelled(pairs, "val", (16, 16))


def test_a_step_that_batch_norm_refuses_is_told_before_a_run_is_made(make: Make, seg: Command) -> None:
    root = make(["a", "b"], train=[BOTH] * 6, val=[BOTH] * 2)
    base = f"data.split=official data.size=16x16 device=cpu --data {root}"
    for line in (
        f"run quick batch_size=5 {base}",
        f"run quick --queue batch_size=5 {base}",
        f"run quick batch_size=6 runtime.micro_batch=1 {base}",
        f"run quick batch_size=6 devices=5 {base}",
        f"run quick task=pretrain batch_size=1 {base}",
        f"run quick pretrain.epochs=1 batch_size=5 {base}",
        f"sweep quick batch_size=6,5 --yes {base}",
    ):
        done = seg(line)
        assert done.status == 2, line
        (told,) = done.err.strip().splitlines()
        assert "at 16x16 one image gives a norm layer of unet one value" in told, line
        assert "data.size=32x32" in told
    assert "no runs here yet" in seg("runs").err
