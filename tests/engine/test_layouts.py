"""Layouts as components: what a stranger's may do, and what is said of one that does it wrong."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.classes import CITYSCAPES
from engine.components.origin import ComponentError
from engine.config.described import config_keys
from engine.config.files import config_from_json
from engine.config.keys import ConfigError, validate
from engine.config.run_config import RunConfig
from engine.data.cache import FORMAT, cache_key
from engine.data.catalog import DataError, Sample, scan
from engine.data.decode import read_pair
from engine.data.frozen_classes import class_notes, freeze_classes
from engine.data.image_files import FileFault, read_colors, read_wide_labels
from engine.data.layouts.builtin import LAYOUTS
from engine.plugins import load_plugin
from engine.requests.predict import find_images
from engine.store import StoreError
from engine.store.filters import conditions

BESIDE = """
from engine.classes import ClassInfo, ClassSet
from engine.data import layouts

@layouts.register
class Beside(layouts.Layout):
    '''Images and labels in one folder.'''
    name = "beside"
    folders = ("mixed",)
    def find(self, root):
        images = layouts.side(root, "mixed", ".jpg", beside=("_L.png",))
        return layouts.Found(images, layouts.side(root, "mixed", "_L.png", beside=(".jpg",)))
    def class_set(self, root):
        return ClassSet("two", (ClassInfo("a", (1, 2, 3), (0,)), ClassInfo("b", (4, 5, 6), (1,))))
    def read_labels(self, path):
        from engine.data.image_files import read_colors
        return read_colors(path, {(1, 2, 3): 0, (4, 5, 6): 1})
"""


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data set, and the plugin of its layout, which no other test sees."""
    named, origins = dict(LAYOUTS._named), dict(LAYOUTS._origins)
    for name in ("train/a", "train/b", "val/c"):
        for ending, pixels in ((".jpg", (9, 9, 9)), ("_L.png", (4, 5, 6))):
            file = tmp_path / "data" / "mixed" / f"{name}{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 4), pixels).save(file)
    (tmp_path / "plugin.py").write_text(BESIDE)
    monkeypatch.setattr("engine.plugins._plugins", {})
    yield tmp_path
    LAYOUTS._named, LAYOUTS._origins = named, origins
    LAYOUTS._changed()


def test_a_plugins_layout_is_recognised_paired_and_decoded(plugged: Path) -> None:
    load_plugin(plugged / "plugin.py")
    catalog = scan(plugged / "data")
    assert (catalog.layout, catalog.faults, catalog.notes) == ("beside", (), ())
    assert {split: [s.name for s in of] for split, of in catalog.splits.items()} == {
        "train": ["train/a", "train/b"],
        "val": ["val/c"],
    }
    pair, _ = read_pair(catalog.splits["val"][0], catalog.class_set, catalog.root)
    assert pair is not None
    assert (pair[1] == 1).all()
    assert pair[1].shape == (4, 8)
    choices = config_keys()["data.layout"].choices
    assert (choices[:4], choices[-1]) == (("auto", "cityscapes", "folder", "images"), "beside")
    Image.new("RGB", (8, 4), (7, 7, 7)).save(plugged / "data/mixed/val/c_L.png")
    (fault,) = read_pair(catalog.splits["val"][0], catalog.class_set, catalog.root)[1]
    assert (fault.kind, fault.path) == ("label_value", "mixed/val/c_L.png")
    told = "holds colours that are no label: #070707 (32 pixels, nearest is #040506)"
    assert fault.problem == told


def test_faults_of_a_plugins_layout_are_those_of_its_split(plugged: Path) -> None:
    load_plugin(plugged / "plugin.py")
    (plugged / "data/mixed/train/a_L.png").unlink()
    (plugged / "data/mixed/val/c.jpg").unlink()
    catalog = scan(plugged / "data")
    assert [(f.kind, f.problem) for f in catalog.faults_of("train")] == [
        ("missing_label", "has no label; mixed/train/a_L.png is missing")
    ]
    assert [(f.kind, f.problem) for f in catalog.faults_of("val")] == [
        ("missing_image", "has no image; mixed/val/c.jpg is missing")
    ]


def test_its_class_set_stays_with_the_run_and_a_change_is_told(plugged: Path) -> None:
    load_plugin(plugged / "plugin.py")
    config = freeze_classes(validate({"data": {"root": str(plugged / "data")}}))
    assert config.data.class_set is not None
    assert config.data.class_set.class_set().names == ("a", "b")
    assert class_notes(config.data) == []
    other = config.data.class_set.model_copy(update={"void": (9,)})
    (note,) = class_notes(config.data.model_copy(update={"class_set": other}))
    assert note.startswith("the class set of the layout beside has changed since the run was made")


def test_a_run_whose_layout_is_gone_is_read_and_says_what_is_missing() -> None:
    stored = validate({}).model_dump_json().replace('"layout":"auto"', '"layout":"gone"')
    config = config_from_json(stored.encode())
    assert config.data.layout == "gone"
    assert config.missing()[0].startswith("data.layout=gone: no such layout here")
    with pytest.raises(ConfigError, match=r"data.layout: 'citiscapes' is .*; did you mean cityscapes\?"):
        validate({"data": {"layout": "citiscapes"}})


def test_a_config_of_an_earlier_version_names_its_layout() -> None:
    old = validate({}).model_dump_json().replace('"layout":"auto"', '"kind":"folder"')
    assert config_from_json(old.encode()).data.layout == "folder"
    assert RunConfig.of_stored({"data": {"kind": "folder"}}).data.layout == "folder"


def test_the_caches_of_built_in_layouts_keep_their_keys(tmp_path: Path) -> None:
    samples = [Sample("train/a", tmp_path / "a.png", tmp_path / "b.png")]
    for path in ("a.png", "b.png"):
        (tmp_path / path).write_bytes(b"1234")
        os.utime(tmp_path / path, ns=(5, 5))
    meaning = [FORMAT, [32, 64], CITYSCAPES.names, sorted(CITYSCAPES.train_ids().items())]
    entry = ["train/a", "a.png", 4, 5, "b.png", 4, 5]
    told = json.dumps(meaning) + json.dumps(entry)
    expected = hashlib.sha256(told.encode()).hexdigest()[:16]
    assert cache_key(samples, (32, 64), CITYSCAPES, tmp_path) == expected


def test_a_cache_of_labels_that_a_plugin_reads_is_that_of_its_file(plugged: Path) -> None:
    keys = set()
    for text in (BESIDE, BESIDE + "# a change\n"):
        (plugged / f"plugin{len(keys)}.py").write_text(text)
        LAYOUTS._named.pop("beside", None)
        LAYOUTS._origins.pop("beside", None)
        load_plugin(plugged / f"plugin{len(keys)}.py")
        catalog = scan(plugged / "data")
        keys.add(cache_key(catalog.splits["train"], (4, 8), catalog.class_set, catalog.root))
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("images = layouts.side", "images = layouts.sid", "AttributeError"),
        ('"mixed", ".jpg"', '"mixed", 3', "TypeError"),
        ('ClassInfo("a", (1, 2, 3), (0,))', "oops", "NameError: name 'oops' is not defined"),
    ],
)
def test_an_error_in_a_plugins_layout_is_one_line_with_its_place(
    plugged: Path, old: str, new: str, says: str
) -> None:
    assert old in BESIDE
    (plugged / "plugin.py").write_text(BESIDE.replace(old, new))
    load_plugin(plugged / "plugin.py")
    with pytest.raises(DataError) as caught:
        scan(plugged / "data")
    assert str(caught.value).startswith(f"{plugged / 'plugin.py'}:")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_of_another_kind_are_a_fault_of_their_file(plugged: Path) -> None:
    wrong = BESIDE.replace("return read_colors(", "return 1.0 * read_colors(")
    (plugged / "plugin.py").write_text(wrong)
    load_plugin(plugged / "plugin.py")
    catalog = scan(plugged / "data")
    (fault,) = read_pair(catalog.splits["val"][0], catalog.class_set, catalog.root)[1]
    assert fault.problem == "was read by the layout beside as float64 [4, 8]; uint8 [H, W] would be right"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "beside"', "pass", "needs a name"),
        ('name = "beside"', 'name = "auto"', "is not a usable name"),
        ('name = "beside"', 'name = "A b"', "is not a usable name"),
        ('name = "beside"', 'name = "folder"', "offers a name that seg-engine has taken"),
        ('folders = ("mixed",)', "pass", "to be recognised by"),
        ("def find", "def seek", "needs find"),
        ("(layouts.Layout)", "", "derives from Layout"),
    ],
)
def test_a_layout_that_breaks_its_contract_is_refused_when_it_is_registered(
    plugged: Path, old: str, new: str, says: str
) -> None:
    (plugged / "plugin.py").write_text(BESIDE.replace(old, new, 1))
    with pytest.raises(ComponentError, match=says):
        load_plugin(plugged / "plugin.py")
    assert "beside" not in LAYOUTS.choices()


def test_colours_and_wide_values_are_read_as_they_are(tmp_path: Path) -> None:
    wide = np.array([[0, 255, 256], [7, 65535, 1]], np.uint16)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (read_wide_labels(tmp_path / "wide.png") == wide).all()
    Image.fromarray(np.array([[3, 250]], np.uint8)).save(tmp_path / "narrow.png")
    assert read_wide_labels(tmp_path / "narrow.png").tolist() == [[3, 250]]
    palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 64, 128])
    palette.save(tmp_path / "palette.png")
    values = read_colors(tmp_path / "palette.png", {(0, 0, 0): 255, (128, 64, 128): 3})
    assert values.tolist() == [[255, 3], [3, 255]]
    assert values.dtype == np.uint8
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.jpg")
    with pytest.raises(FileFault, match="is no PNG or BMP image"):
        read_colors(tmp_path / "photo.jpg", {(0, 0, 0): 255})


def test_prediction_takes_the_images_of_a_data_set_and_not_its_labels(plugged: Path) -> None:
    load_plugin(plugged / "plugin.py")
    found = find_images([str(plugged / "data")])
    assert sorted(image.name for image in found.images) == ["a.jpg", "b.jpg", "c.jpg"]
    assert "is a data set (beside); its labels are not read" in found.notes[0]
    for name in ("images/a.png", "labels/a.png", "images/lonely.png"):
        (plugged / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(plugged / name)
    found = find_images([str(plugged)])
    assert [str(image.relative_to(plugged)) for image in found.images] == [
        "images/a.png",
        "images/lonely.png",
    ]


def test_runs_are_filtered_by_a_layout_that_is_gone_but_not_by_a_misspelt_one() -> None:
    conditions(["data.layout=gone"])
    with pytest.raises(StoreError, match=r"'citiscapes' is none of .*did you mean cityscapes\?"):
        conditions(["data.layout=citiscapes"])
