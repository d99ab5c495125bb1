"""Finding pairs: the layouts people have, and what is said when something is not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from engine.classes import CITYSCAPES
from engine.data.catalog import Catalog, DataError, Fault, describe_faults, scan

CLASSES = """
name = "two"
void = [255]
[[class]]
name = "ground"
color = "#804080"
ids = [0]
[[class]]
name = "thing"
color = "#0000ff"
ids = [1, 2]
"""


def touch(root: Path, *paths: str) -> None:
    """Scanning opens no image, so empty files will do."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def cityscapes_pair(root: Path, name: str, encoding: str = "labelIds") -> None:
    touch(root, f"leftImg8bit/{name}_leftImg8bit.png", f"gtFine/{name}_gtFine_{encoding}.png")


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    root = tmp_path / "data" / "cityscapes"
    for name in ("train/b/b_0_19", "train/a/a_1_19", "train/a/a_0_19", "val/c/c_0_19"):
        cityscapes_pair(root, name)
    touch(root, "gtFine/train/a/a_0_19_gtFine_instanceIds.png", "gtFine/train/a/a_0_19_gtFine_color.png")
    touch(root, "gtFine/train/a/a_0_19_gtFine_polygons.json", "README", "license.txt")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    touch(root, "images/a.png", "images/b.JPG", "images/deep/er/c.bmp", "images/notes.txt")
    touch(root, "labels/a.png", "labels/b.png", "labels/deep/er/c.png")
    (root / "classes.toml").write_text(CLASSES)
    return root


def names(catalog: Catalog) -> dict[str, list[str]]:
    return {split: [sample.name for sample in samples] for split, samples in catalog.splits.items()}


def kinds(catalog: Catalog) -> list[tuple[str, str]]:
    return [(fault.kind, fault.path) for fault in catalog.faults]


def test_cityscapes_as_downloaded(cityscapes: Path) -> None:
    catalog = scan(cityscapes)
    assert catalog.layout == "cityscapes"
    assert catalog.class_set == CITYSCAPES
    assert names(catalog) == {
        "train": ["train/a/a_0_19", "train/a/a_1_19", "train/b/b_0_19"],
        "val": ["val/c/c_0_19"],
    }
    assert catalog.faults == ()
    sample = catalog.splits["train"][0]
    assert sample.image == cityscapes / "leftImg8bit/train/a/a_0_19_leftImg8bit.png"
    assert sample.label == cityscapes / "gtFine/train/a/a_0_19_gtFine_labelIds.png"


def test_the_name_of_the_files_decides_the_encoding(tmp_path: Path) -> None:
    cityscapes_pair(tmp_path, "train/a/a_0_19", "labelTrainIds")
    catalog = scan(tmp_path)
    assert catalog.class_set == CITYSCAPES.as_train_ids()
    assert catalog.splits["train"][0].label.name == "a_0_19_gtFine_labelTrainIds.png"


def test_label_ids_are_preferred_when_both_are_there(cityscapes: Path) -> None:
    for name in ("train/b/b_0_19", "train/a/a_1_19", "train/a/a_0_19", "val/c/c_0_19"):
        touch(cityscapes, f"gtFine/{name}_gtFine_labelTrainIds.png")
    catalog = scan(cityscapes)
    assert catalog.class_set == CITYSCAPES
    assert all(s.label.name.endswith("_labelIds.png") for s in catalog.splits["train"])


def test_two_encodings_in_one_data_set_are_faults_of_the_fewer(cityscapes: Path) -> None:
    cityscapes_pair(cityscapes, "train/a/a_2_19", "labelTrainIds")
    catalog = scan(cityscapes)
    assert catalog.class_set == CITYSCAPES
    assert kinds(catalog) == [("missing_label", "leftImg8bit/train/a/a_2_19_leftImg8bit.png")]
    assert "labelTrainIds only" in catalog.faults[0].problem


def test_files_without_a_partner_are_faults_that_name_the_partner(cityscapes: Path) -> None:
    (cityscapes / "gtFine/train/a/a_0_19_gtFine_labelIds.png").unlink()
    (cityscapes / "leftImg8bit/val/c/c_0_19_leftImg8bit.png").unlink()
    touch(cityscapes, "leftImg8bit/astray_leftImg8bit.png")
    catalog = scan(cityscapes)
    assert names(catalog) == {"train": ["train/a/a_1_19", "train/b/b_0_19"]}
    assert [(f.kind, f.path, f.problem) for f in catalog.faults] == [
        (
            "missing_image",
            "gtFine/val/c/c_0_19_gtFine_labelIds.png",
            "has no image; leftImg8bit/val/c/c_0_19_leftImg8bit.png is missing",
        ),
        (
            "misplaced",
            "leftImg8bit/astray_leftImg8bit.png",
            "is in no split; move it to leftImg8bit/<split>/<city>/",
        ),
        (
            "missing_label",
            "leftImg8bit/train/a/a_0_19_leftImg8bit.png",
            "has no label; gtFine/train/a/a_0_19_gtFine_labelIds.png is missing",
        ),
    ]


def test_a_test_split_is_kept_with_labels_and_left_out_without(cityscapes: Path) -> None:
    touch(cityscapes, "leftImg8bit/test/d/d_0_19_leftImg8bit.png")
    assert set(scan(cityscapes).splits) == {"train", "val"}
    assert scan(cityscapes).faults == ()
    cityscapes_pair(cityscapes, "test/d/d_0_19")
    assert names(scan(cityscapes))["test"] == ["test/d/d_0_19"]


def test_val_without_any_label_is_not_left_out_in_silence(cityscapes: Path) -> None:
    shutil.rmtree(cityscapes / "gtFine/val")
    assert kinds(scan(cityscapes)) == [("missing_label", "leftImg8bit/val/c/c_0_19_leftImg8bit.png")]


def test_cityscapes_layout_with_its_own_classes(cityscapes: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(CLASSES)
    assert scan(cityscapes, classes=str(tmp_path / "mine.toml")).class_set.names == ("ground", "thing")


def test_linked_folders_are_followed_and_hidden_files_are_not_images(
    cityscapes: Path, tmp_path: Path
) -> None:
    (cityscapes / "leftImg8bit/train").rename(tmp_path / "elsewhere")
    (cityscapes / "leftImg8bit/train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/a/loop").symlink_to(tmp_path / "elsewhere")
    touch(cityscapes, "leftImg8bit/train/a/._a_0_19_leftImg8bit.png")
    catalog = scan(cityscapes)
    assert len(catalog.splits["train"]) == 3
    assert catalog.faults == ()


def test_a_plain_folder_is_one_split(folder: Path) -> None:
    catalog = scan(folder)
    assert catalog.layout == "folder"
    assert catalog.class_set.names == ("ground", "thing")
    assert names(catalog) == {"train": ["a", "b", "deep/er/c"]}
    assert catalog.splits["train"][1].image == folder / "images/b.JPG"
    assert catalog.splits["train"][2].label == folder / "labels/deep/er/c.png"


def test_a_folder_with_splits(tmp_path: Path) -> None:
    for name in ("train/day/1", "train/night/1", "val/1"):
        touch(tmp_path, f"images/{name}.png", f"labels/{name}.png")
    touch(tmp_path, "images/astray.png", "labels/astray.png", "images/test/unlabelled.png")
    catalog = scan(tmp_path, classes="cityscapes")
    assert catalog.class_set == CITYSCAPES
    assert names(catalog) == {"train": ["train/day/1", "train/night/1"], "val": ["val/1"]}
    assert kinds(catalog) == [("misplaced", "images/astray.png")]


def test_faults_of_a_folder(folder: Path) -> None:
    touch(folder, "images/a.jpg", "images/d.png", "labels/e.png")
    assert kinds(scan(folder)) == [
        ("duplicate", "images/a.png"),
        ("missing_label", "images/d.png"),
        ("missing_image", "labels/e.png"),
    ]


def test_a_validation_folder_is_not_trained_on_in_silence(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/1.png", "images/validation/2.png", "labels/train/1.png")
    with pytest.raises(
        DataError, match=r"images/validation: a split is called .*rename it to val, in labels/"
    ):
        scan(tmp_path, classes="cityscapes")


def refusal(root: Path, layout: str = "auto", classes: str = "auto") -> str:
    with pytest.raises(DataError) as caught:
        scan(root, layout, classes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    touch(tmp_path, "cityscapes.zip")
    assert "no such folder" in refusal(tmp_path / "nowhere")
    assert "is a file; a data set is a folder (unpack archives first)" in refusal(tmp_path / "cityscapes.zip")


@pytest.mark.parametrize("level", ["leftImg8bit", "gtFine/train", "leftImg8bit/train/a", "..", "../.."])
def test_pointing_at_the_wrong_level_names_the_right_one(cityscapes: Path, level: str) -> None:
    assert f"did you mean {cityscapes.resolve()}?" in refusal(cityscapes / level)


def test_an_unknown_layout_says_what_was_looked_for_and_found(tmp_path: Path) -> None:
    touch(tmp_path, "pictures/a.png", "notes.txt")
    line = refusal(tmp_path)
    assert "looked for leftImg8bit/ and gtFine/ or images/ and labels/, found notes.txt, pictures/" in line
    assert refusal(tmp_path, layout="folder").count("leftImg8bit") == 0
    (tmp_path / "empty").mkdir()
    assert "found nothing" in refusal(tmp_path / "empty")


def test_the_two_archives_unpacked_apart(tmp_path: Path) -> None:
    touch(tmp_path, "leftImg8bit_trainvaltest/leftImg8bit/train/a/a_leftImg8bit.png")
    touch(tmp_path, "gtFine_trainvaltest/gtFine/train/a/a_gtFine_labelIds.png")
    line = refusal(tmp_path)
    assert "gtFine_trainvaltest: move both into one folder" in line


def test_nothing_to_pair(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    assert "has no images; looked for images/<name>.png" in refusal(tmp_path, classes="cityscapes")
    touch(tmp_path, "images/a.png")
    assert "has images (1) but no labels; looked for labels/" in refusal(tmp_path, classes="cityscapes")
    touch(tmp_path, "labels/a_mask.png")
    assert "none belong together" in refusal(tmp_path, classes="cityscapes")


def test_class_sets_that_cannot_be_had(folder: Path) -> None:
    assert "classes.toml: there is no such file" in refusal(folder, classes=str(folder / "no/classes.toml"))
    (folder / "classes.toml").write_text("name = ")
    assert "is not valid TOML" in refusal(folder)
    (folder / "classes.toml").unlink()
    assert "this layout needs one" in refusal(folder)


def test_both_layouts_in_one_folder_need_a_choice(cityscapes: Path, folder: Path) -> None:
    for name in ("images", "labels", "classes.toml"):
        (folder / name).rename(cityscapes / name)
    assert "choose data.layout=cityscapes or folder" in refusal(cityscapes)
    assert scan(cityscapes, layout="folder").layout == "folder"
    assert scan(cityscapes, layout="cityscapes").layout == "cityscapes"
    assert "there is no layout called 'coco': use auto, cityscapes, folder" in refusal(
        cityscapes, layout="coco"
    )
    assert refusal(cityscapes, layout="citiscapes").endswith("; did you mean cityscapes?")
    assert "the layout images has no labels" in refusal(cityscapes, layout="images")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read(cityscapes: Path) -> None:
    (cityscapes / "gtFine/train").chmod(0)
    try:
        assert "cannot be read: Permission denied" in refusal(cityscapes)
    finally:
        (cityscapes / "gtFine/train").chmod(0o755)


def test_describing_faults() -> None:
    assert describe_faults([], Path("data")) == ""
    faults = [Fault("missing_label", f"images/{i}.png", "has no label") for i in range(11)]
    faults.append(Fault("size", "labels/x.png", "is 1x1"))
    lines = describe_faults(faults, Path("my data")).splitlines()
    assert lines[0] == "my data: 12 faults: 11 missing label, 1 size"
    assert lines[1:3] == ["  images/0.png: has no label", "  images/1.png: has no label"]
    assert lines[11] == "  and 2 more"
    assert lines[12] == ("`seg-engine data check 'my data' --json` lists all; --skip-bad skips these samples")
    assert describe_faults(faults[:1], Path("data")).splitlines()[0] == "data: 1 fault: 1 missing label"


def test_real_data(shared_data: Path) -> None:
    catalog = scan(shared_data / "camvid_cityscapes")
    assert {split: len(samples) for split, samples in catalog.splits.items()} == {"train": 367, "val": 101}
    assert catalog.faults == ()
    catalog = scan(shared_data / "cityscapes_real")
    assert {split: len(samples) for split, samples in catalog.splits.items()} == {"train": 8}
    assert catalog.class_set == CITYSCAPES
