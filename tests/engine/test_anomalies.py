"""Where anomalies lie, what their masks mean, and classes that are held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.classes import CITYSCAPES, VOID, ClassSetError
from engine.config.keys import ConfigError, with_values
from engine.config.recipes import get_recipe
from engine.config.sections import DataConfig
from engine.config.task_sections import OodConfig
from engine.data import image_files
from engine.data.anomalies import IGNORED, IN, OUT, find_scenes, pseudo_mask_table
from engine.data.cases import open_material
from engine.data.catalog import DataError, scan
from engine.data.decode import train_id_table
from engine.data.image_files import FileFault
from engine.data.layouts.builtin import LAYOUTS
from engine.data.pairs import open_pairs
from engine.data.synthetic import synthesize
from engine.host.input_files import InputFileError, read_regular


def picture(path: Path, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(path)


def mask(path: Path, values: tuple[int, ...] = (0, 1, 255), size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.resize(np.array(values, dtype=np.uint8), size[::-1])
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("image", "label", "name"),
    [
        ("images/a.jpg", "masks/a.png", "a"),
        ("images/deep/a.webp", "masks/deep/a.png", "deep/a"),
        ("images/a.png", "labels_masks/a_labels_semantic.png", "a"),
        ("images/a.png", "labels_masks/a.png", "a"),
        ("original/0001_a.png", "labels/0001_a.png", "0001_a"),
        ("leftImg8bit/test/04_x/04_x_000_leftImg8bit.png", "0007_04_x_000_labels.png", "04_x_000"),
    ],
)
def test_every_layout_is_found(image: str, label: str, name: str, tmp_path: Path) -> None:
    picture(tmp_path / image)
    mask(tmp_path / label)
    (scene,) = find_scenes(tmp_path).scenes
    assert (scene.name, scene.image, scene.mask) == (name, tmp_path / image, tmp_path / label)
    _, values = scene.read()
    assert values is not None
    assert set(np.unique(values)) == {IN, OUT, IGNORED}


def test_an_image_without_a_mask_is_judged_whole(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / "images" / f"{name}.png")
    mask(tmp_path / "masks" / "b.png")
    assert [scene.mask is None for scene in find_scenes(tmp_path).scenes] == [True, False]
    picture(tmp_path / "elsewhere" / "c.png")
    (alone,) = find_scenes(tmp_path / "elsewhere").scenes
    assert alone.read()[1] is None


def test_masks_that_cannot_be_right_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png", values=(0, 7))
    (scene,) = find_scenes(tmp_path).scenes
    with pytest.raises(FileFault, match=r"holds the value 7; a mask has 0 \(in\), 1 \(out\) and 255"):
        scene.read()
    mask(tmp_path / "masks" / "a.png", size=(4, 4))
    with pytest.raises(FileFault, match="is 4x4, its image 6x8"):
        scene.read()
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "other.png")
    with pytest.raises(DataError, match=r"no mask belongs to an image; a.png needs a.png"):
        find_scenes(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        find_scenes(tmp_path / "nowhere")


def test_void_stands_for_the_unknown_but_for_the_camera_itself() -> None:
    table = pseudo_mask_table(CITYSCAPES, held_out=False)
    assert (table[7], table[24]) == (IN, IN)
    assert (table[4], table[9], table[0]) == (OUT, OUT, OUT)
    assert [int(table[i]) for i in (1, 2, 3)] == [IGNORED] * 3
    with pytest.raises(DataError, match=r"no class was held out of training \(data.hold_out\)"):
        pseudo_mask_table(CITYSCAPES, held_out=True)
    ade = LAYOUTS["ade20k"].cityscapes_classes(Path()).without(["train"])
    with pytest.raises(DataError, match="no label value of ade20k as cityscapes means train, held out of"):
        pseudo_mask_table(ade, held_out=True)
    gta = pseudo_mask_table(LAYOUTS["gta5"].class_set(Path()).without(["rider"]), held_out=False)
    assert [int(gta[i]) for i in (1, 2, 3, 4)] == [IGNORED] * 3 + [OUT], "its labels hold Cityscapes' ids"
    assert pseudo_mask_table(CITYSCAPES.as_train_ids(), held_out=False)[[1, 255]].tolist() == [IN, OUT]


def test_a_class_held_out_is_void_in_training_and_the_unknown_afterwards() -> None:
    fewer = CITYSCAPES.without(["rider", "sky"])
    assert len(fewer) == 17
    assert "rider" not in fewer.names
    assert train_id_table(fewer)[[25, 23]].tolist() == [255, 255]
    assert train_id_table(fewer)[26] == fewer.names.index("car")
    table = pseudo_mask_table(fewer, held_out=True)
    assert (table[25], table[23], table[26], table[4]) == (OUT, OUT, IN, IGNORED)
    assert pseudo_mask_table(fewer, held_out=False)[25] == IGNORED
    with pytest.raises(ClassSetError, match="hovercraft: is no class of cityscapes"):
        CITYSCAPES.without(["hovercraft"])
    with pytest.raises(ClassSetError, match="none would be left"):
        CITYSCAPES.without(CITYSCAPES.names)


def test_classes_are_held_out_by_name_in_either_notation(tmp_path: Path) -> None:
    base = get_recipe("quick")
    for told in (
        "rider,traffic light",
        "[rider, traffic light]",
        '["rider", "traffic light"]',
        " rider , traffic light, rider",
    ):
        assert with_values(base, {"data.hold_out": told}).data.held_out == ("rider", "traffic light")
    assert base.data.held_out == ()
    with pytest.raises(ConfigError, match=r"data\.hold_out"):
        with_values(base, {"data.hold_out": "[1, 2]"})
    synthesize(tmp_path / "data", images=4, size=(64, 64), seed=0)
    with pytest.raises(DataError, match=r"data\.hold_out: hovercraft: is no class"):
        scan(tmp_path / "data", hold_out=["hovercraft"])


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("street") / "data"
    synthesize(root, images=20, size=(64, 80), seed=1)
    return root


def section(**about: object) -> OodConfig:
    return OodConfig.model_validate({"source": "s", "checkpoint": "c", **about})


def test_no_image_that_trained_or_calibrated_is_judged(street: Path, tmp_path: Path) -> None:
    picture(tmp_path / "out" / "x.png")
    config = DataConfig(root=str(street), val_fraction=0.5)
    material = open_material(config, section(in_root=str(street), out_root=str(tmp_path / "out")), tmp_path)
    parts = [{s.name for s in material.training}, {s.name for s in material.calibrating}]
    parts += [{c.name for c in material.cases if c.origin == "in"}]
    assert [len(part) for part in parts] == [8, 4, 4]
    assert len(set.union(*parts)) == 16
    assert [case.name for case in material.cases if case.origin == "out"] == ["x.png"]
    read = material.cases[0].read()
    assert read.target is not None
    assert (read.mask, read.target.shape) == (None, (64, 80))


def test_another_data_set_gives_the_split_that_was_named(street: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    synthesize(other, images=10, size=(64, 80), seed=2)
    config = DataConfig(root=str(street), val_fraction=0.5)
    material = open_material(config, section(in_root=str(other), pseudo="void"), tmp_path)
    assert len(material.cases) == 2
    assert all(case.masked for case in material.cases)
    for name in "ab":
        picture(tmp_path / "plain" / f"{name}.png")
    material = open_material(
        config, section(in_root=str(tmp_path / "plain"), out_root=str(tmp_path / "plain")), tmp_path
    )
    assert [(case.name, case.origin) for case in material.cases][:2] == [("a.png", "in"), ("b.png", "in")]
    with pytest.raises(DataError, match="has no labels to take pseudo-outliers from"):
        open_material(config, section(in_root=str(tmp_path / "plain"), pseudo="void"), tmp_path)


def test_another_data_set_need_not_have_the_classes_that_were_held_out(street: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"other/images/val/{name}.png")
        mask(tmp_path / f"other/labels/val/{name}.png", (0, 1))
    table = "".join(
        f'[[class]]\nname = "{n}"\ncolor = "#00000{i}"\nids = [{i}]\n' for i, n in enumerate("ab")
    )
    (tmp_path / "other/classes.toml").write_text(table)
    picture(tmp_path / "out" / "x.png")
    config = DataConfig(root=str(street), val_fraction=0.5, hold_out="sky")
    other = str(tmp_path / "other")
    material = open_material(config, section(in_root=other, out_root=str(tmp_path / "out")), tmp_path)
    assert [case.origin for case in material.cases] == ["in", "in", "out"]
    assert any("its classes differ from the run's" in note for note in material.notes)
    with pytest.raises(DataError, match=r"other: has none of the classes held out of training \(sky\)"):
        open_material(config, section(in_root=other, pseudo="held-out"), tmp_path)


def test_a_folder_of_several_layouts_is_read_as_the_one_that_suits_the_network(
    street: Path, tmp_path: Path
) -> None:
    root = tmp_path / "vistas"
    for part in ("training", "validation"):
        picture(root / part / "images/a.jpg")
        mask(root / part / "v1.2/labels/a.png", (13, 65))
        mask(root / part / "v2.0/labels/a.png", (0,))
    config = DataConfig(root=str(street), val_fraction=0.5)
    material = open_material(config, section(in_root=str(root), pseudo="void"), tmp_path)
    (case,) = material.cases
    assert sorted(np.unique(case.read().target)) == [0, VOID], "road and void of version 1.2"


@pytest.mark.parametrize("way", ["link", "x/../data", "data/leftImg8bit/val"])
def test_images_that_calibrated_are_not_judged_by_another_name(
    way: str, street: Path, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "data").symlink_to(street)
    (tmp_path / "link").symlink_to(street)
    picture(tmp_path / "out" / "x.png")
    config = DataConfig(root=str(street), split="official")
    about = section(in_root=str(tmp_path / way), out_root=str(tmp_path / "out"))
    material = open_material(config, about, tmp_path)
    judged = {Path(case.name).name.partition("_leftImg8bit")[0] for case in material.cases}
    assert (len(material.calibrating), len(judged - {"x.png"})) == (2, 2)
    assert not judged & {Path(sample.name).name for sample in material.calibrating}


def test_only_images_that_trained_are_no_in_distribution_images(street: Path, tmp_path: Path) -> None:
    config = DataConfig(root=str(street), split="official")
    picture(tmp_path / "x.png")
    about = section(in_root=str(street / "leftImg8bit" / "train"), out_root=str(tmp_path))
    with pytest.raises(
        DataError, match="all 16 images were used to train the network or to calibrate its thresholds"
    ):
        open_material(config, about, tmp_path)


def test_thresholds_need_two_images_that_were_held_out(street: Path, tmp_path: Path) -> None:
    config = DataConfig(root=str(street), val_fraction=0.06)
    with pytest.raises(DataError, match="two images must be held out of training"):
        open_material(config, section(in_root=str(street), pseudo="void"), tmp_path)


# --- What a check can know ----------------------------------------------------------------------


def refused(config: DataConfig, street: Path, out: Path, cache: Path, **about: object) -> str:
    with pytest.raises(DataError) as caught:
        open_material(config, section(in_root=str(street), out_root=str(out), **about), cache)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_masks_that_mark_nothing_are_refused(street: Path, tmp_path: Path) -> None:
    config, out = DataConfig(root=str(street), val_fraction=0.5), tmp_path / "out"
    for name in "ab":
        picture(out / "images" / f"{name}.png")
        mask(out / "masks" / f"{name}.png", values=(0, 255))
    told = refused(config, street, out, tmp_path)
    assert "no mask marks a pixel as out-of-distribution (1)" in told
    assert "write 1 where 255 stands for an anomaly" in told
    mask(out / "masks" / "b.png", values=(0, 0))
    mask(out / "masks" / "a.png", values=(0, 0))
    assert "255" not in refused(config, street, out, tmp_path)
    mask(out / "masks" / "a.png", values=(0, 1, 255))
    material = open_material(config, section(in_root=str(street), out_root=str(out)), tmp_path)
    assert material.notes == ()


def test_every_mask_is_read_before_anything_is_judged(street: Path, tmp_path: Path) -> None:
    config, out = DataConfig(root=str(street), val_fraction=0.5), tmp_path / "out"
    for index in range(12):
        picture(out / "images" / f"{index:02d}.png")
        mask(out / "masks" / f"{index:02d}.png")
    mask(out / "masks" / "11.png", values=(0, 2))
    mask(out / "masks" / "05.png", size=(4, 4))
    told = refused(config, street, out, tmp_path)
    assert "05.png: is 4x4, its image 6x8" in told
    assert "and 1 more like it" in told
    (out / "masks" / "05.png").unlink()
    (out / "masks" / "stray.png").touch()
    assert "11.png: holds the value 2" in refused(config, street, out, tmp_path)
    lenient = DataConfig(root=str(street), val_fraction=0.5, skip_bad=True)
    material = open_material(lenient, section(in_root=str(street), out_root=str(out)), tmp_path)
    assert sum(case.origin == "out" for case in material.cases) == 11
    told = "\n".join(material.notes)
    assert "1 image without a mask, each scored as a whole: images/05.png" in told
    assert "1 file left out, masks without an image: masks/stray.png" in told
    assert "1 image left out (data.skip_bad)" in told


def test_a_mask_that_could_not_be_read_is_opened_again(
    street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A permission that is given later changes neither length nor time of a file."""
    config, out = DataConfig(root=str(street), val_fraction=0.5), tmp_path / "out"
    for name in "ab":
        picture(out / "images" / f"{name}.png")
        mask(out / "masks" / f"{name}.png", values=(0, 1))

    def read(path: Path) -> bytes:
        if path == out / "masks" / "b.png":
            raise InputFileError(path, "cannot be read: Permission denied")
        return read_regular(path)

    with monkeypatch.context() as within:
        within.setattr(image_files, "read_regular", read)
        assert "b.png: cannot be read: Permission denied" in refused(config, street, out, tmp_path)
    material = open_material(config, section(in_root=str(street), out_root=str(out)), tmp_path)
    assert [case.name for case in material.cases if case.origin == "out"] == ["a", "b"]


def test_nothing_to_compare_with_is_refused(street: Path, tmp_path: Path) -> None:
    void = DataConfig(root=str(street), val_fraction=0.5)
    material = open_material(void, section(in_root=str(street), pseudo="void"), tmp_path)
    assert any("image scores are omitted" in note for note in material.notes)
    whole = tmp_path / "whole"
    picture(whole / "images" / "a.png")
    mask(whole / "masks" / "a.png", values=(1, 1))
    about = section(in_root=str(whole), out_root=str(whole))
    with pytest.raises(DataError, match="no image and no pixel is in-distribution"):
        open_material(void, about, tmp_path)


def test_images_that_are_unlike_their_labels_are_found_before_a_run(street: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    synthesize(data, images=10, size=(64, 80), seed=3)
    label = sorted(data.glob("gtFine/val/*/*_labelIds.png"))[0]
    Image.fromarray(np.full((32, 80), 7, np.uint8)).save(label)
    with pytest.raises(DataError, match="is 32x80 but its image is 64x80") as caught:
        open_pairs(DataConfig(root=str(data), split="official"), "val", tmp_path / "cache")
    assert "data.skip_bad=true skips these samples" in str(caught.value)
    lenient = DataConfig(root=str(data), split="official", skip_bad=True)
    assert len(open_pairs(lenient, "val", tmp_path / "cache")) == 1
