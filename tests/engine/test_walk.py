"""Which files count: links, hidden and strange files, names that almost fit; what does not count is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.data.anomalies import find_scenes
from engine.data.catalog import Catalog, DataError, scan, scan_images
from engine.data.walk import IMAGE_SUFFIXES, walk
from engine.requests.predict import find_images
from engine.requests.queueing import make_run
from engine.requests.refusals import Refused
from engine.run.directory import RunCard
from engine.workspace import Workspace


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def pairs(root: Path, *names: str) -> None:
    for name in names:
        touch(root, f"images/{name}.png", f"labels/{name}.png")


def catalog_of(root: Path) -> Catalog:
    return scan(root, classes="cityscapes")


def names(catalog: Catalog) -> dict[str, list[str]]:
    return {split: [sample.name for sample in samples] for split, samples in catalog.splits.items()}


@pytest.mark.parametrize("link", ["test", "a", "zzz"])
def test_of_a_folder_and_a_link_to_it_the_folder_counts(link: str, tmp_path: Path) -> None:
    pairs(tmp_path, "train/1", "train/2", "val/3")
    for side in ("images", "labels"):
        (tmp_path / side / link).symlink_to("val")
    catalog = catalog_of(tmp_path)
    assert names(catalog) == {"train": ["train/1", "train/2"], "val": ["val/3"]}
    assert catalog.notes == tuple(
        f"{side}/{link}: is a link to val, which has already been read; the link is left out"
        for side in ("images", "labels")
    )


def test_links_that_lead_back_are_left_out_and_links_to_elsewhere_are_read(tmp_path: Path) -> None:
    touch(tmp_path, "data/a/1.png", "far/2.png", "far/deep/3.png")
    (tmp_path / "data/a/up").symlink_to("../..")
    (tmp_path / "data/b").symlink_to("../far")
    (tmp_path / "data/c").symlink_to("../far/deep")
    (tmp_path / "far/back").symlink_to(tmp_path / "far")
    (tmp_path / "data/circle").symlink_to("circle")
    found = walk(tmp_path / "data")
    assert found.files == ["a/1.png", "b/2.png", "b/deep/3.png", "circle"]
    assert set(found.links) == {"a/up", "b/back", "c"}
    assert "a folder that it lies in" in found.links["a/up"]
    assert found.links["c"] == "is a link to b/deep, which has already been read"
    assert len(found.notes("images")) == 3


def test_a_thousand_folders_in_each_other_are_walked(tmp_path: Path) -> None:
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1000):
            os.mkdir("d")
            os.chdir("d")
        Path("a.png").touch()
    finally:
        os.chdir(here)
    try:
        assert walk(tmp_path).files == ["d/" * 1000 + "a.png"]
        assert len(find_images([str(tmp_path)]).images) == 1
        with pytest.raises(Refused, match="folders lie too deep for a pattern"):
            find_images([str(tmp_path / "**" / "*.png")])
    finally:
        for _ in range(20):  # what is too deep for rmtree is made shallow
            top = tmp_path / "d"
            inner = top / "/".join("d" * 60)
            if inner.is_dir():
                inner.rename(tmp_path / "rest")
                os.removedirs(top / "/".join("d" * 59))
                tmp_path.mkdir(exist_ok=True)
                (tmp_path / "rest").rename(top)


@pytest.mark.parametrize(
    ("called", "right"),
    [
        ("Train", "train"),
        ("TRAIN", "train"),
        ("Val", "val"),
        ("train ", "train"),
        ("training_set", "train"),
        ("valid", "val"),
        ("Validation", "val"),
        ("Test", "test"),
    ],
)
@pytest.mark.parametrize("beside", ["train", "other"])
def test_a_split_under_another_name_is_refused(called: str, right: str, beside: str, tmp_path: Path) -> None:
    pairs(tmp_path, f"{called}/1", f"{beside}/2")
    with pytest.raises(
        DataError, match=rf"{called}: a split is called train, val, test; rename it to {right}"
    ):
        catalog_of(tmp_path)
    with pytest.raises(DataError, match=f"rename it to {right}"):
        scan_images(tmp_path, "folder")


def test_a_split_of_cityscapes_under_another_name_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "leftImg8bit/Train/a/a_0_0_leftImg8bit.png", "gtFine/Train/a/a_0_0_gtFine_labelIds.png")
    with pytest.raises(
        DataError, match=r"leftImg8bit/Train: a split is called .*rename it to train, in gtFine/"
    ):
        scan(tmp_path)


def test_what_takes_no_part_is_told_with_counts_and_names(tmp_path: Path) -> None:
    pairs(tmp_path, "train/1", "train/2", "val/3", "fold7/4", "fold7/5")
    touch(tmp_path, "images/.cache/x.png", "images/train/._1.png", "images/test/6.png", "labels/legend.txt")
    touch(tmp_path, *(f"images/train/{i}.tif" for i in range(12)))
    catalog = catalog_of(tmp_path)
    assert catalog.faults == ()
    told = "\n".join(catalog.notes)
    assert "images/fold7: is not a split (train, val, test are); its 2 images take no part" in told
    assert "2 hidden files and folders are left out: images/.cache, images/train/._1.png" in told
    assert "12 files left out, as they are not a supported file type" in told
    assert "images/train/0.tif, images/train/1.tif, images/train/10.tif" in told
    assert "images/train/7.tif and 2 more" in told
    assert "images/test: has no labels; its 1 image left out" in told
    assert "1 file left out, as they are not PNG, which labels must be: labels/legend.txt" in told
    pairs(tmp_path / "flat", "1", "2")
    assert catalog_of(tmp_path / "flat").notes == ()
    pairs(tmp_path / "flat", "monday/1")
    (note,) = catalog_of(tmp_path / "flat").notes
    assert "has no folder train, val or test: all of it is the training folder, with monday" in note


@pytest.mark.parametrize(
    ("image", "label", "says"),
    [
        ("a.tif", "a.png", "images/a.tif is there, but an image must end in .png, .jpg, .jpeg, .bmp, .webp"),
        ("a.png", "a.jpg", "labels/a.jpg is there, but a label must be a PNG"),
        (
            "A.png",
            "a.png",
            "labels/a.png is there, but its name differs in upper and lower case; rename one of the two",
        ),
        ("cafe\u0301.png", "caf\u00e9.png", "uses another Unicode normal form (NFC, the other NFD)"),
        ("Cafe\u0301.png", "caf\u00e9.png", "its name differs in upper and lower case"),
    ],
)
def test_a_partner_that_is_there_in_another_form_is_not_called_missing(
    image: str, label: str, says: str, tmp_path: Path
) -> None:
    pairs(tmp_path, "other")
    touch(tmp_path, f"images/{image}", f"labels/{label}")
    faults = catalog_of(tmp_path).faults
    assert any(says in fault.problem for fault in faults)
    assert not any("missing" in fault.problem for fault in faults)


def test_two_files_of_one_name_leave_the_sample_out(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b", "c")
    touch(tmp_path, "images/a.jpg", "labels/b.PNG")
    catalog = catalog_of(tmp_path)
    assert [(fault.kind, fault.path) for fault in catalog.faults] == [
        ("duplicate", "images/a.png"),
        ("duplicate", "labels/b.png"),
    ]
    assert names(catalog) == {"train": ["c"]}


def test_a_link_that_was_left_out_is_why_a_label_has_no_image(tmp_path: Path) -> None:
    pairs(tmp_path, "train/1", "val/2")
    touch(tmp_path, "labels/test/2.png")
    (tmp_path / "images/test").symlink_to("val")
    (fault,) = catalog_of(tmp_path).faults
    assert fault.problem == (
        "has no image; images/test is a link to val, which has already been read and is left out"
    )


def test_a_name_that_is_no_utf8_is_a_fault_of_its_own(tmp_path: Path) -> None:
    pairs(tmp_path, "a")
    for folder in (b"images/", b"labels/"):
        with open(os.path.join(os.fsencode(tmp_path), folder, b"stra\xdfe.png"), "wb"):
            pass
    catalog = catalog_of(tmp_path)
    assert names(catalog) == {"train": ["a"]}
    assert [(fault.kind, fault.path) for fault in catalog.faults] == [
        ("name", r"images/stra\xdfe.png"),
        ("name", r"labels/stra\xdfe.png"),
    ]
    assert "is not valid UTF-8" in catalog.faults[0].problem
    assert [fault.path for fault in scan_images(tmp_path, "folder").faults][:1] == [r"images/stra\xdfe.png"]


def test_prediction_finds_what_training_finds(tmp_path: Path) -> None:
    touch(tmp_path, *(f"ph/{i}{suffix}" for i, suffix in enumerate(IMAGE_SUFFIXES)), "far/z.PNG")
    touch(tmp_path, "ph/notes.txt", "ph/.hidden.png")
    (tmp_path / "ph/linked").symlink_to("../far")
    (tmp_path / "ph/again").symlink_to("linked")
    (tmp_path / "ph/broken.png").symlink_to("/nowhere/b.png")
    os.mkfifo(tmp_path / "ph/pipe.png")
    (tmp_path / "ph/folder.png").mkdir()
    with open(os.fsencode(tmp_path / "ph") + b"/\xff.png", "wb"):
        pass
    found = find_images([str(tmp_path / "ph")])
    there = {str(path.relative_to(tmp_path / "ph")) for path in found.images}
    assert there == {*(f"{i}{suffix}" for i, suffix in enumerate(IMAGE_SUFFIXES)), "again/z.PNG"}
    told = "\n".join(found.notes)
    for part in (
        "linked: is a link to again, which has already been read",
        "broken.png",
        "is a broken link to /nowhere/b.png",
        "is not a regular file but a FIFO",
        "is not a regular file but a folder",
        "its name is not valid UTF-8",
        r"\xff.png",
        "1 file left out (of no type that is read",
        "1 hidden file or folder is left out",
    ):
        assert part in told, told


def test_a_file_that_is_named_for_prediction_and_can_be_none_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt", "only/notes.txt")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "broken.png").symlink_to("/nowhere/b.png")
    for name, says in (
        ("notes.txt", "is no PNG or JPEG or BMP or WEBP image"),
        ("pipe.png", "is not a regular file but a FIFO"),
        ("broken.png", "is a broken link to /nowhere/b.png"),
        ("only", "has no images; they end in .png, .jpg, .jpeg, .bmp, .webp; 1 file left out"),
        ("*.txt", "matches no image"),
        ("nothing", "there is no such file or folder"),
    ):
        with pytest.raises(Refused) as caught:
            find_images([str(tmp_path / name)])
        assert says in caught.value.problems[0]
        assert caught.value.problems[0].count(f"{tmp_path / name}: ") == 1
    with pytest.raises(Refused, match="an empty name is no image"):
        find_images([""])
    with pytest.raises(Refused, match="holds a null byte"):
        find_images(["a\0b"])


def test_a_folder_whose_path_is_no_utf8_is_refused_before_a_run(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/non\xdf"))
    pairs(root, "a", "b")
    for look in (lambda: catalog_of(root), lambda: scan_images(root), lambda: find_scenes(root)):
        with pytest.raises(DataError, match=r"non\\xdf: its path is not valid UTF-8"):
            look()
    config = with_values(get_recipe("quick"), {"data.root": str(tmp_path)})
    strange = config.model_copy(
        update={"init": config.init.model_copy(update={"weights": os.fsdecode(b"\xdf.pt")})}
    )
    workspace = Workspace(tmp_path)
    with (
        workspace.open_store() as store,
        pytest.raises(Refused, match=r"^init\.\w+: \\xdf\.pt is not valid UTF-8"),
    ):
        make_run(workspace, store, RunCard("abcdefgh", "a", "b", 0.0), strange)
    assert not workspace.run_dir("abcdefgh").path.exists()
