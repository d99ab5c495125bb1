"""The data sets of the field in the folders in which they are downloaded: miniatures drawn by code.

Each miniature has 16x32 images, and what is asserted are the facts that its authors publish: where files lie,
which images train, what a label value means, and which class of Cityscapes it is.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from engine.classes import CITYSCAPES, VOID, ClassSet
from engine.cli import exported
from engine.config.class_set import ClassSetConfig
from engine.config.files import config_from_json, load_config, to_toml
from engine.config.keys import validate, with_values
from engine.config.sections import DataConfig
from engine.config.task_sections import EnvironmentConfig
from engine.data.anomalies import find_scenes
from engine.data.cache import cache_key
from engine.data.catalog import Catalog, DataError, scan, scan_images
from engine.data.dataset import find_samples
from engine.data.decode import read_pair, train_id_table
from engine.data.environments import data_of
from engine.data.frozen_classes import class_notes, freeze_classes, usual_classes
from engine.data.image_files import read_colors, read_wide_labels
from engine.data.layouts.builtin import LAYOUTS
from engine.data.layouts.voc import voc_color
from engine.data.membership import Membership, Trained
from engine.data.pairs import Pairs, open_pairs, refuse_other_classes
from engine.exported.network import ExportedModel
from engine.requests.derive import classes_of
from engine.requests.generalise import Unseen, unseen_section
from engine.requests.predict import find_images, label_values
from engine.requests.refusals import Refused
from engine.store import RunRow
from tests.conftest import REPOSITORY
from tests.engine.conftest import Command

SIZE = (16, 32)
DATA_PAGE = REPOSITORY / "docs" / "data.md"


# --- Drawing ---------------------------------------------------------------------------------------


def halves(left: object, right: object, dtype: type = np.uint8) -> np.ndarray:
    """A label of two values (or colours), each in one half."""
    label = np.empty((*SIZE, *np.shape(left)), dtype)
    label[:, :16], label[:, 16:] = left, right
    return label


def save(root: Path, name: str, pixels: np.ndarray | None = None, palette: list[int] | None = None) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = np.full((*SIZE, 3), 90, np.uint8)
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    image.save(path, format="JPEG" if path.suffix.lower() == ".jpg" else "PNG")


def wide_png(first: np.ndarray, kind: int) -> bytes:
    """A PNG of 16 bits in several channels (2: RGB, 4: grey and alpha, 6: RGBA), of which the first is given
    and the others hold instances. Rows are filtered as encoders do."""
    channels = {2: 3, 4: 2, 6: 4}[kind]
    pixels = np.full((*first.shape, channels), 0x1234, ">u2")
    pixels[..., 0] = first
    rows = np.frombuffer(pixels.tobytes(), np.uint8).reshape(first.shape[0], -1)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    body = b"".join(b"\x02" + row.tobytes() for row in rows - above)  # the filter "Up"
    header = struct.pack(">IIBBBBB", first.shape[1], first.shape[0], 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# --- The miniatures --------------------------------------------------------------------------------


@dataclass
class Miniature:
    """A data set drawn by `draw`. `splits` are its labelled images by split; `first` is the name of one whose
    label is left `names[0]` and right `names[1]` ("" for void), and in Cityscapes `mapped`."""

    draw: Callable[[Path], None]
    splits: Mapping[str, list[str]]
    first: str
    names: tuple[str, str]
    mapped: tuple[str, str] | None
    classes: int
    notes: list[str] = field(default_factory=list)


def draw_camvid(root: Path) -> None:
    for name in ("0001TP_006690", "0001TP_008550", "0016E5_07959", "0016E5_08190", "Seq05VD_f00000"):
        save(root, f"701_StillsRaw_full/{name}.png")
        save(root, f"LabeledApproved_full/{name}_L.png", halves((128, 64, 128), (0, 0, 0)))
    (root / "701_StillsRaw_full/Thumbs.db").write_bytes(b"x")
    save(root, "701_StillsRaw_full/._0001TP_006690.png")


def draw_camvid_split(root: Path) -> None:
    for split in ("train", "val", "test"):
        save(root, f"{split}/{split}.png")
        save(root, f"{split}_labels/{split}_L.png", halves((0, 64, 64), (0, 128, 192)))
    (root / "class_dict.csv").write_text("name,r,g,b\n")


def draw_segnet(root: Path) -> None:
    for split in ("train", "val", "test"):
        save(root, f"{split}/{split}0.png")
        save(root, f"{split}annot/{split}0.png", halves(4, 11))
        (root / f"{split}.txt").write_text("/SegNet/CamVid/...")


def draw_voc(root: Path, folder: str = "SegmentationClass", train: str = "train") -> None:
    lists = {train: ["2007_000032", "2007_000039"], "val": ["2007_000033"], "test": ["2008_000001"]}
    for split, names in lists.items():
        path = root / f"ImageSets/Segmentation/{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\r\n".join(names) + "\r\n\r\n")
        for name in names:
            save(root, f"JPEGImages/{name}.jpg")
            if split != "test":
                palette = [channel for i in range(256) for channel in voc_color(i)]
                save(root, f"{folder}/{name}.png", halves(15, 255), palette)
    save(root, "JPEGImages/2012_004331.jpg")  # of another task of the challenge


def draw_ade(root: Path) -> None:
    for place, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        save(root, f"images/{place}/{name}.JPG")
        save(root, f"annotations/{place}/{name}.png", halves(7, 0))
    (root / "objectInfo150.txt").write_text("Idx")


def draw_bdd(
    root: Path, images: str = "images/10k", labels: str = "labels/sem_seg/masks", end: str = ""
) -> None:
    for split in ("train", "val", "test"):
        save(root, f"{images}/{split}/0000f77c.jpg")
        if split != "test":
            save(root, f"{labels}/{split}/0000f77c{end}.png", halves(13, 255))
    save(root, "labels/sem_seg/colormaps/train/0000f77c.png")


def draw_mapillary(root: Path, version: str = "", value: int = 13) -> None:
    for folder in ("training", "validation", "testing"):
        save(root, f"{folder}/images/{folder}-a.jpg")
        if folder != "testing":
            save(root, f"{folder}/{version}labels/{folder}-a.png", halves(value, 65), [7, 7, 7] * 256)


def draw_mapillary2(root: Path) -> None:
    draw_mapillary(root, "v1.2/")
    for folder in ("training", "validation"):
        save(root, f"{folder}/v2.0/labels/{folder}-a.png", halves(1, 2), [7, 7, 7] * 256)
    labels = [
        {"name": "animal--bird", "readable": "Bird", "color": [165, 42, 42], "evaluate": True},
        {"name": "construction--flat--road", "readable": "Road", "color": [128, 64, 128], "evaluate": True},
        {"name": "void--unlabeled", "readable": "Unlabeled", "color": [0, 0, 0], "evaluate": False},
    ]
    (root / "config_v2.0.json").write_text(json.dumps({"labels": labels, "version": 2.0}))


def draw_gta(root: Path) -> None:
    for number in range(1, 5):
        save(root, f"images/{number:05d}.png")
        save(root, f"labels/{number:05d}_labelTrainIds.png", halves(0, 1))
        save(root, f"labels/{number:05d}.png", halves(26, 34 if number < 3 else 7), [9, 9, 9] * 256)
    ids = {"trainIds": [[1], [3]], "valIds": [[2]], "testIds": [[4]]}
    savemat(root / "split.mat", {name: np.array(of, np.uint16) for name, of in ids.items()})


def draw_synthia(root: Path) -> None:
    for number in range(2):
        save(root, f"RGB/{number:07d}.png")
        (root / "GT/LABELS").mkdir(parents=True, exist_ok=True)
        label = wide_png(halves(10, 13, np.uint16), kind=2)
        (root / f"GT/LABELS/{number:07d}.png").write_bytes(label)
    save(root, "GT/COLOR/0000000.png")


def draw_acdc(root: Path) -> None:
    for condition in ("fog", "night"):
        for split in ("train", "val", "test", "train_ref"):
            name = f"{condition}/{split}/GOPR0475/GOPR0475_frame_000041"
            save(root, f"rgb_anon/{name}_rgb_{'ref_' * split.endswith('ref')}anon.png")
            if split in ("train", "val"):
                for kind, values in (("labelIds", (7, 0)), ("labelTrainIds", (0, 255)), ("invIds", (1, 1))):
                    save(root, f"gt/{name}_gt_{kind}.png", halves(*values))


def draw_kitti(root: Path) -> None:
    for number in range(2):
        save(root, f"training/image_2/{number:06d}_10.png")
        save(root, f"training/semantic/{number:06d}_10.png", halves(21, 4))
        save(root, f"training/semantic_rgb/{number:06d}_10.png")
    save(root, "testing/image_2/000000_10.png")


def draw_idd(root: Path, kind: str = "ids", values: tuple[int, int] = (0, 2)) -> None:
    for split, drive in (("train", "0"), ("val", "117"), ("test", "3")):
        save(root, f"leftImg8bit/{split}/{drive}/024541_leftImg8bit.{'jpg' if drive == '0' else 'png'}")
        if split != "test":
            save(root, f"gtFine/{split}/{drive}/024541_gtFine_label{kind}.png", halves(*values))
            (root / f"gtFine/{split}/{drive}/024541_gtFine_polygons.json").write_text("{}")


def draw_voc_aug(root: Path) -> None:
    draw_voc(root, "SegmentationClassAug", "train_aug")


def draw_early_bdd(root: Path) -> None:
    draw_bdd(root, "seg/images", "seg/labels", "_train_id")


ACDC = {
    split: [f"{c}/{split}/GOPR0475/GOPR0475_frame_000041" for c in ("fog", "night")]
    for split in ("train", "val")
}
VOC = {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}
BDD = {"train": ["train/0000f77c"], "val": ["val/0000f77c"]}
VISTAS = {"train": ["train/training-a"], "val": ["val/validation-a"]}
SPLIT = {"train": ["train/train"], "val": ["val/val"], "test": ["test/test"]}

MINIATURES = {
    "camvid": Miniature(
        draw_camvid,
        {
            "train": ["0001TP_006690", "0016E5_08190"],
            "val": ["0016E5_07959"],
            "test": ["0001TP_008550", "Seq05VD_f00000"],
        },
        "0001TP_006690",
        ("Road", ""),
        ("road", ""),
        31,
        ["1 hidden file or folder is left out", "1 file left out, as they are not called *.png"],
    ),
    "camvid/split": Miniature(
        draw_camvid_split, SPLIT, "val/val", ("TrafficLight", "Bicyclist"), ("", ""), 31
    ),
    "camvid_segnet": Miniature(
        draw_segnet,
        {k: [f"{v[0]}0"] for k, v in SPLIT.items()},
        "train/train0",
        ("Pavement", ""),
        ("sidewalk", ""),
        11,
    ),
    "voc": Miniature(
        draw_voc, VOC, "2007_000032", ("person", ""), None, 21, ["1 file of JPEGImages/", "has no labels"]
    ),
    "voc_aug": Miniature(
        draw_voc_aug, VOC, "2007_000039", ("person", ""), None, 21, ["1 file of", "has no labels"]
    ),
    "ade20k": Miniature(
        draw_ade,
        {"train": ["training/ADE_train_00000001"], "val": ["validation/ADE_val_00000001"]},
        "training/ADE_train_00000001",
        ("road", ""),
        ("road", ""),
        150,
    ),
    "bdd100k": Miniature(
        draw_bdd, BDD, "val/0000f77c", ("car", ""), ("car", ""), 19, ["images/10k/test: has no labels"]
    ),
    "bdd100k/early": Miniature(
        draw_early_bdd, BDD, "val/0000f77c", ("car", ""), ("car", ""), 19, ["seg/images/test"]
    ),
    "mapillary_v1": Miniature(
        draw_mapillary,
        VISTAS,
        "train/training-a",
        ("Road", ""),
        ("road", ""),
        65,
        ["testing/images: has no labels"],
    ),
    "mapillary_v2": Miniature(
        draw_mapillary2, VISTAS, "val/validation-a", ("Road", ""), None, 2, ["testing/images"]
    ),
    "gta5": Miniature(
        draw_gta,
        {"train": ["00001", "00003"], "val": ["00002"], "test": ["00004"]},
        "00002",
        ("car", ""),
        ("car", ""),
        19,
    ),
    "synthia": Miniature(
        draw_synthia,
        {"train": ["0000000", "0000001"]},
        "0000001",
        ("pedestrian", "parking slot"),
        ("person", ""),
        22,
    ),
    "acdc": Miniature(
        draw_acdc,
        ACDC,
        ACDC["train"][0],
        ("road", ""),
        ("road", ""),
        19,
        ["not called *_rgb_anon.png", "rgb_anon/*/test: has no labels"],
    ),
    "kitti": Miniature(
        draw_kitti,
        {"train": ["train/000000_10", "train/000001_10"]},
        "train/000000_10",
        ("vegetation", ""),
        ("vegetation", ""),
        19,
        ["testing/image_2: has no labels; its 1 image left out"],
    ),
    "idd": Miniature(
        draw_idd,
        {"train": ["train/0/024541"], "val": ["val/117/024541"]},
        "train/0/024541",
        ("road", "drivable fallback"),
        ("road", ""),
        26,
        ["leftImg8bit/test: has no labels"],
    ),
}
"""By layout; what follows a "/" tells several of one layout apart."""


def seen(catalog: Catalog, name: str) -> tuple[str, str]:
    """The class names of the two halves of a label, "" for void."""
    (sample,) = [s for split in catalog.splits.values() for s in split if s.name == name]
    pair, faults = read_pair(sample, catalog.class_set, catalog.root)
    assert pair is not None, faults
    train_ids = train_id_table(catalog.class_set)[pair[1]]
    names = [*catalog.class_set.names, *[""] * (256 - len(catalog.class_set))]
    return names[train_ids[0, 0]], names[train_ids[0, -1]]


@pytest.fixture
def drawn(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Miniature]:
    miniature = MINIATURES[request.param]
    miniature.draw(tmp_path)
    return tmp_path, miniature


@pytest.mark.parametrize(("name", "drawn"), [(name, name) for name in MINIATURES], indirect=["drawn"])
def test_a_data_set_as_downloaded(name: str, drawn: tuple[Path, Miniature]) -> None:
    root, about = drawn
    layout = name.split("/")[0]
    catalog = scan(root, layout if layout.startswith("mapillary") else "auto")
    assert catalog.layout == layout
    assert catalog.faults == ()
    assert {split: [s.name for s in of] for split, of in catalog.splits.items()} == about.splits
    assert len(catalog.class_set) == about.classes
    assert seen(catalog, about.first) == about.names
    assert len(catalog.notes) == len(about.notes), catalog.notes
    for told, wanted in zip(catalog.notes, about.notes, strict=True):
        assert wanted in told
    if about.mapped is None:
        with pytest.raises(DataError, match=r"no table from the classes of .* to those of Cityscapes"):
            scan(root, layout, "cityscapes")
        return
    mapped = scan(root, layout, "cityscapes")
    assert mapped.class_set.names == CITYSCAPES.names
    assert seen(mapped, about.first) == about.mapped
    assert mapped.faults == ()


@pytest.mark.parametrize("name", [name for name, of in MINIATURES.items() if "/" not in name])
def test_the_classes_of_a_layout_are_whole(name: str, tmp_path: Path) -> None:
    MINIATURES[name].draw(tmp_path)
    layout = LAYOUTS[name]
    class_set = layout.class_set(tmp_path)
    assert ClassSetConfig.of(class_set).class_set() == class_set, "it is written out and read back"
    ids = [i for c in class_set.classes for i in c.ids]
    assert len(ids) == len(set(ids))
    assert not set(ids) & class_set.void_ids
    assert set(layout.as_cityscapes) <= set(class_set.names)
    assert set(layout.as_cityscapes.values()) <= set(CITYSCAPES.names)
    if layout.as_cityscapes:
        assert layout.mapped_by
        mapped = layout.cityscapes_classes(tmp_path)
        assert mapped.train_ids().keys() == class_set.train_ids().keys(), "every label value keeps a meaning"
        assert [c.color for c in mapped.classes] == [c.color for c in CITYSCAPES.classes]


def test_facts_of_the_published_tables() -> None:
    """A few of each, as their authors have them, so that a slip of a line would show."""
    ade = LAYOUTS["ade20k"].class_set(Path())
    assert {
        c.name: (c.ids[0], c.hex_color) for c in ade.classes if c.name in ("wall", "sky", "car", "flag")
    } == {
        "wall": (1, "#787878"),
        "sky": (3, "#06e6e6"),
        "car": (21, "#0066c8"),
        "flag": (150, "#5c00ff"),
    }
    vistas = LAYOUTS["mapillary_v1"].class_set(Path())
    assert [vistas.classes[i].name for i in (0, 13, 24, 55, 61, 64)] == [
        *("Bird", "Road", "Lane Marking - General", "Car", "Truck", "Ego Vehicle"),
    ]
    assert vistas.void_ids == {65}
    mapped = LAYOUTS["mapillary_v1"].cityscapes_classes(Path()).train_ids()
    published = {
        13: 0,
        24: 0,
        41: 0,
        2: 1,
        15: 1,
        17: 2,
        6: 3,
        3: 4,
        45: 5,
        47: 5,
        48: 6,
        50: 7,
        30: 8,
        29: 9,
    }
    published |= {27: 10, 19: 11, 20: 12, 21: 12, 22: 12, 55: 13, 61: 14, 54: 15, 58: 16, 57: 17, 52: 18}
    assert {i: train for i, train in mapped.items() if train != VOID} == published
    synthia = {3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11, 17: 12, 8: 13}
    synthia |= {18: 14, 19: 15, 20: 16, 12: 17, 11: 18}
    mapped = LAYOUTS["synthia"].cityscapes_classes(Path()).train_ids()
    assert {i: train for i, train in mapped.items() if train != VOID} == synthia
    assert (voc_color(1), voc_color(15), voc_color(255)) == ((128, 0, 0), (192, 128, 128), (224, 224, 192))


@pytest.mark.parametrize(
    ("name", "row"),
    [("synthia",) * 2, ("mapillary_v1",) * 2, ("ade20k",) * 2, ("camvid", "camvid`, `camvid_segnet")],
)
def test_the_page_has_the_counts_of_the_tables(name: str, row: str) -> None:
    layout = LAYOUTS[name]
    own, kept = len(layout.class_set(Path())), len(layout.as_cityscapes)
    (line,) = [
        line
        for line in DATA_PAGE.read_text().splitlines()
        if line.startswith(f"| `{row}` |") and " of " in line
    ]
    assert re.search(rf"\b{kept} of (its )?{own}\b", line), f"{kept} of {own}: {line}"


def test_idd_in_the_encodings_of_its_tool(tmp_path: Path) -> None:
    draw_idd(tmp_path / "level3", "level3Ids", (25, 255))
    catalog = scan(tmp_path / "level3")
    assert (catalog.layout, seen(catalog, "train/0/024541")) == ("idd", ("sky", ""))
    with pytest.raises(DataError, match=r"level-3 labels mix classes .* --id-type id"):
        scan(tmp_path / "level3", classes="cityscapes")
    draw_idd(tmp_path / "cs", "csTrainIds", (10, 255))
    assert scan(tmp_path / "cs").class_set == CITYSCAPES.as_train_ids()
    assert seen(scan(tmp_path / "cs", classes="cityscapes"), "train/0/024541") == ("sky", "")
    # Ids of the authors' table: fallback background, and the terrain that they call non-drivable.
    draw_idd(tmp_path / "ids", "ids", (5, 34))
    assert seen(scan(tmp_path / "ids"), "train/0/024541") == ("non-drivable fallback", "sky")
    assert seen(scan(tmp_path / "ids", classes="cityscapes"), "train/0/024541") == ("terrain", "")
    for png in (tmp_path / "ids").rglob("*_labelids.png"):
        png.unlink()
    with pytest.raises(
        DataError, match=r"has polygons \(2\) and no label images; make them .*createLabels.py"
    ):
        scan(tmp_path / "ids")


def test_a_city_with_a_number_is_no_drive_of_idd(tmp_path: Path) -> None:
    save(tmp_path, "leftImg8bit/train/7/a_leftImg8bit.png")
    save(tmp_path, "gtFine/train/7/a_gtFine_labelIds.png", halves(7, 8))
    assert scan(tmp_path).layout == "cityscapes"


def test_a_folder_with_classes_of_its_own_is_a_folder(tmp_path: Path) -> None:
    draw_gta(tmp_path)
    (tmp_path / "split.mat").unlink()
    with pytest.raises(DataError, match=r"needs one .*; data.layout=gta5 reads such"):
        scan(tmp_path)
    catalog = scan(tmp_path, "gta5")
    assert {split: len(of) for split, of in catalog.splits.items()} == {"train": 4}
    assert catalog.notes == ("there is no split.mat, the authors' split: all images train",)


# --- Between data sets -----------------------------------------------------------------------------


def test_a_mapped_class_set_stays_with_the_run_and_is_dropped_on_other_data(tmp_path: Path) -> None:
    draw_synthia(tmp_path / "synthia")
    draw_kitti(tmp_path / "kitti")
    config = validate({"data": {"root": str(tmp_path / "synthia"), "classes": "cityscapes"}})
    frozen = freeze_classes(config)
    assert frozen.data.class_set is not None
    assert frozen.data.class_set.class_set() == LAYOUTS["synthia"].cityscapes_classes(tmp_path)
    (told,) = class_notes(frozen.data)
    assert told.startswith(
        "data.classes=cityscapes: 19 of the 22 classes of synthia become 19 of Cityscapes' 19"
    )
    assert told.endswith("void: parking slot, road work, lane marking")
    assert scan(tmp_path / "synthia", classes="cityscapes").notes[0] == told
    elsewhere = freeze_classes(with_values(frozen, {"data.root": str(tmp_path / "kitti")}))
    assert elsewhere.data.class_set is None, "KITTI's labels are Cityscapes' own"
    assert scan(tmp_path / "kitti", classes="cityscapes").class_set == CITYSCAPES


def test_another_data_set_has_the_classes_of_the_network(tmp_path: Path) -> None:
    draw_mapillary(tmp_path / "vistas")
    draw_idd(tmp_path / "idd")
    draw_kitti(tmp_path / "kitti")
    without_train = CITYSCAPES.without(("train",))
    for data in ("vistas", "idd"):
        assert usual_classes(tmp_path / data, "auto", CITYSCAPES) == "cityscapes"
        assert usual_classes(tmp_path / data, "auto", without_train) == "cityscapes"
        assert usual_classes(tmp_path / data, "auto", LAYOUTS["synthia"].class_set(tmp_path)) == "auto"
    assert usual_classes(tmp_path / "kitti", "auto", CITYSCAPES) == "auto", "its labels are Cityscapes' own"


@pytest.mark.parametrize("hold_out", ["", "terrain,truck,train"])
def test_a_network_is_scored_on_data_sets_that_are_mapped_to_its_classes(
    hold_out: str, tmp_path: Path
) -> None:
    draw_kitti(tmp_path / "kitti")
    draw_mapillary(tmp_path / "vistas")
    draw_idd(tmp_path / "idd")
    trained = freeze_classes(validate({"data": {"root": str(tmp_path / "kitti"), "hold_out": hold_out}}))
    for data in ("vistas", "idd"):
        section = unseen_section(trained, Unseen(data=[str(tmp_path / data)]))
        there = data_of(trained.data, EnvironmentConfig.model_validate(section["environments"][0]))
        names = open_pairs(there, "val", tmp_path / "cache").class_set.names
        assert names == classes_of(trained).names


def test_a_data_set_whose_name_is_taken_gets_a_number(tmp_path: Path) -> None:
    draw_kitti(tmp_path / "validation")
    draw_kitti(tmp_path / "other" / "validation")
    trained = freeze_classes(validate({"data": {"root": str(tmp_path / "validation")}}))

    def names(*data: str, **more: str) -> list[str]:
        section = unseen_section(trained, Unseen(data=[f"{tmp_path}/{each}" for each in data], **more))
        return [environment["name"] for environment in section["environments"]]

    assert names("validation", "other/validation") == ["validation 2", "validation 3"]
    assert names("validation", split="test") == ["validation"]
    assert names("validation,name=fog 3", corruptions="fog") == ["fog 3 2"]
    assert names("validation,name=a 2", "validation,name=a", "validation,name=a") == ["a 2", "a", "a 3"]


def test_a_data_set_with_the_very_classes_that_were_left_to_learn(tmp_path: Path) -> None:
    """Nothing of it has to be held out, and nobody could change what was."""
    draw_kitti(tmp_path / "kitti")
    draw_idd(tmp_path / "idd")
    config = freeze_classes(
        validate({"data": {"root": str(tmp_path / "kitti"), "hold_out": "terrain,train"}})
    )
    left = CITYSCAPES.without(("terrain", "train"))
    save(tmp_path / "other", "images/val/x.png")
    save(tmp_path / "other", "labels/val/x.png", halves(7, 0))
    entry = '[[class]]\nname = "{}"\ncolor = "#000000"\nids = {}\n'
    table = "".join(entry.format(c.name, list(c.ids)) for c in left.classes)
    (tmp_path / "other/classes.toml").write_text(f"void = [0]\n{table}")
    trained = Trained("0123", config.data, None)

    def opened(data: str, **changes: str) -> Pairs:
        values = {"data.root": str(tmp_path / data), "data.split": "official"}
        values |= {f"data.{key}": value for key, value in changes.items()}
        return open_pairs(with_values(config, values).data, "val", tmp_path / "cache", trained=trained)

    refuse_other_classes(opened("other"), left.names, "0123")
    refuse_other_classes(opened("idd", classes="cityscapes"), left.names, "0123")
    with pytest.raises(DataError, match=r"data.classes=cityscapes maps those of this data set"):
        refuse_other_classes(opened("idd"), left.names, "0123")


def test_classes_held_out_that_a_data_set_does_not_have(tmp_path: Path) -> None:
    draw_mapillary(tmp_path)
    told = r"data\.hold_out: train: is no class of mapillary_v1, .*; data\.classes=cityscapes maps those"
    with pytest.raises(DataError, match=told):
        scan(tmp_path, hold_out=("train",))
    with pytest.raises(DataError, match=r"data\.hold_out: tree: is no class of .*Ego Vehicle$"):
        scan(tmp_path, hold_out=("tree",))


def test_a_network_for_other_classes_is_told_how_to_compare(tmp_path: Path) -> None:
    draw_synthia(tmp_path / "synthia")
    draw_idd(tmp_path / "idd")
    for data in ("synthia", "idd"):
        catalog = scan(tmp_path / data)
        pairs = Pairs(tmp_path / data, catalog.class_set, catalog.splits["train"], ())
        with pytest.raises(DataError, match=r"data.classes=cityscapes maps those of this data set to the 19"):
            refuse_other_classes(pairs, CITYSCAPES.names, "0123")


def test_what_is_frozen_is_read_back_from_toml_and_json(tmp_path: Path) -> None:
    draw_camvid_split(tmp_path / "camvid")
    (tmp_path / "painted/images").mkdir(parents=True)
    (tmp_path / "painted/labels").mkdir()
    write_painted(tmp_path / "painted")
    for root, classes in (("camvid", "cityscapes"), ("painted", "auto")):
        config = freeze_classes(validate({"data": {"root": str(tmp_path / root), "classes": classes}}))
        assert config.data.class_set is not None
        (tmp_path / "run.toml").write_text(to_toml(config))
        assert load_config(tmp_path / "run.toml").data.class_set == config.data.class_set
        assert config_from_json(config.model_dump_json().encode()).data.class_set == config.data.class_set


def test_raw_ids_of_mapped_classes_are_those_of_cityscapes(tmp_path: Path) -> None:
    draw_synthia(tmp_path)
    config = freeze_classes(validate({"data": {"root": str(tmp_path), "classes": "cityscapes"}}))
    row = SimpleNamespace(id="0123", classes=("road", "person"), config=config.model_dump(mode="json"))
    assert label_values(cast(RunRow, row), "raw") == (7, 24)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    write_painted(tmp_path)
    painted = freeze_classes(validate({"data": {"root": str(tmp_path), "layout": "folder"}}))
    row = SimpleNamespace(id="0123", classes=("road", "car"), config=painted.model_dump(mode="json"))
    with pytest.raises(Refused, match="the label files of 0123 hold colours"):
        label_values(cast(RunRow, row), "raw")


def test_a_pretraining_run_goes_on_with_the_images_that_it_began_with(tmp_path: Path) -> None:
    """Its version did not know the layout, and named images by their files."""
    draw_segnet(tmp_path)
    names = [str(file.relative_to(tmp_path)) for file in sorted(tmp_path.rglob("*.png"))]
    began_with = Membership(dict.fromkeys(names[:4], ("", "")), dict.fromkeys(names[4:], ("", "")))
    config = DataConfig(root=str(tmp_path))
    catalog, parts, _ = find_samples(config, labels=False, began_with=began_with)
    assert (catalog.layout, [s.name for s in parts["train"]]) == ("images", names)
    assert scan_images(tmp_path).layout == "camvid_segnet"


def test_a_training_run_goes_on_with_the_folder_that_is_a_known_data_set_by_now(tmp_path: Path) -> None:
    draw_gta(tmp_path)
    for png in tmp_path.rglob("*_labelTrainIds.png"):
        png.unlink()
    config = DataConfig(root=str(tmp_path), classes="cityscapes")
    names = dict.fromkeys(("00001", "00002", "00003", "00004"), ("", ""))
    of_then = Membership({name: names[name] for name in ("00001", "00002", "00004")}, {"00003": ("", "")})
    assert find_samples(config, labels=True, began_with=of_then)[0].layout == "folder"
    of_now = Membership({"00001": ("", "")}, {"00003": ("", "")})
    assert find_samples(config, labels=True, began_with=of_now)[0].layout == "gta5"


# --- What goes wrong -------------------------------------------------------------------------------


def problems(
    root: Path, layout: str = "auto", classes: str | ClassSet = "auto"
) -> list[tuple[str, str, str]]:
    catalog = scan(root, layout, classes)
    found = [*catalog.faults]
    for samples in catalog.splits.values():
        for sample in samples:
            found += read_pair(sample, catalog.class_set, catalog.root)[1]
    return [(fault.kind, fault.path, fault.problem) for fault in found]


def test_a_wrong_colour_is_told_with_its_pixels_and_the_nearest_class(tmp_path: Path) -> None:
    draw_camvid_split(tmp_path)
    label = halves((0, 64, 64), (0, 128, 192))
    label[0, :3], label[1, 0] = (129, 64, 128), (1, 1, 0)
    save(tmp_path, "val_labels/val_L.png", label)
    assert problems(tmp_path) == [
        (
            "label_value",
            "val_labels/val_L.png",
            "holds colours that are no label: #814080 (3 pixels, nearest is Road #804080), "
            "#010100 (1 pixel, nearest is Void #000000)",
        )
    ]


def test_a_jpeg_is_no_label(tmp_path: Path) -> None:
    draw_kitti(tmp_path)
    path = tmp_path / "training/semantic/000000_10.png"
    Image.new("RGB", (32, 16)).save(path, format="JPEG")
    ((kind, where, told),) = problems(tmp_path)
    assert (kind, where) == ("unreadable", "training/semantic/000000_10.png")
    assert told == "is no PNG image but a JPEG, whose compression changes labels; export them again"
    path.rename(path.with_suffix(".jpg"))
    ((kind, where, told),) = problems(tmp_path)
    assert (kind, where) == ("missing_label", "training/image_2/000000_10.png")
    assert told.startswith("has no label; training/semantic/000000_10.jpg is there, but the file must end in")


def test_a_partner_that_is_missing_is_named_by_its_place(tmp_path: Path) -> None:
    draw_mapillary(tmp_path)
    (tmp_path / "training/labels/training-a.png").unlink()
    (tmp_path / "validation/images/validation-a.jpg").unlink()
    save(tmp_path, "training/images/b.JPG")
    save(tmp_path, "training/labels/b.PNG", halves(13, 65))
    assert problems(tmp_path) == [
        (
            "missing_label",
            "training/images/training-a.jpg",
            "has no label; training/labels/training-a.png is missing",
        ),
        (
            "missing_image",
            "validation/labels/validation-a.png",
            "has no image; validation/images/validation-a.jpg is missing",
        ),
    ]
    catalog = scan(tmp_path)
    assert [fault.kind for fault in catalog.faults_of("val")] == ["missing_image"]


def test_lists_that_contradict_the_folders(tmp_path: Path) -> None:
    draw_voc(tmp_path)
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("2007_000033\n2007_999999\n")
    assert problems(tmp_path) == [
        ("missing_image", "JPEGImages/2007_999999.jpg", "is in ImageSets/Segmentation/val.txt and is missing")
    ]
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("2007_000032\n")
    with pytest.raises(
        DataError, match=r"val.txt: 2007_000032 is in ImageSets/Segmentation/train.txt as well"
    ):
        scan(tmp_path)
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text(
        "\ufeff/JPEGImages/2007_000033.jpg /SegmentationClass/2007_000033.png\n"
    )
    assert problems(tmp_path) == []
    (tmp_path / "ImageSets/Segmentation/val.txt").unlink()
    with pytest.raises(DataError, match=r"val.txt.*lists the images of the split val"):
        scan(tmp_path)


def test_labels_of_voc_and_gta_saved_as_rgb_are_read_by_their_colours(tmp_path: Path) -> None:
    draw_voc(tmp_path / "voc")
    save(tmp_path / "voc", "SegmentationClass/2007_000032.png", halves(voc_color(15), voc_color(255)))
    assert seen(scan(tmp_path / "voc"), "2007_000032") == ("person", "")
    draw_gta(tmp_path / "gta")
    save(tmp_path / "gta", "labels/00001.png", halves((0, 0, 142), (20, 20, 20)))
    assert seen(scan(tmp_path / "gta"), "00001") == ("car", "")
    save(tmp_path / "gta", "labels/00001.png", np.zeros((8, 8), np.uint8))
    ((kind, _, told),) = problems(tmp_path / "gta")
    assert (kind, told[:34]) == ("size", "is 8x8 but its image is 16x32; bot")
    (tmp_path / "gta/split.mat").write_bytes(b"no MATLAB file")
    with pytest.raises(DataError, match=r"split.mat: is not the authors' split"):
        scan(tmp_path / "gta")


def test_labels_of_voc_and_gta_saved_in_16_bits_are_read_as_those_of_other_layouts(tmp_path: Path) -> None:
    draw_voc(tmp_path / "voc")
    save(tmp_path / "voc", "SegmentationClass/2007_000032.png", halves(15, 255, np.uint16))
    assert seen(scan(tmp_path / "voc"), "2007_000032") == ("person", "")
    draw_gta(tmp_path / "gta")
    save(tmp_path / "gta", "labels/00001.png", halves(26, 300, np.uint16))
    ((kind, _, told),) = problems(tmp_path / "gta")
    assert kind == "label_value"
    assert told.startswith("contains values above 255, ")


def test_archives_that_nest_their_folder_in_itself(tmp_path: Path) -> None:
    draw_gta(tmp_path)
    for folder in ("images", "labels"):
        (tmp_path / folder).rename(tmp_path / "moved")
        (tmp_path / folder).mkdir()
        (tmp_path / "moved").rename(tmp_path / folder / folder)
    with pytest.raises(DataError, match=r"images/images: all files of images/ lie one level too deep; move"):
        scan(tmp_path)
    draw_mapillary(tmp_path / "vistas")
    for folder in ("training", "validation"):
        (tmp_path / "vistas" / folder / "labels").rename(tmp_path / "moved")
        (tmp_path / "vistas" / folder / "labels").mkdir()
        (tmp_path / "moved").rename(tmp_path / "vistas" / folder / "labels/labels")
    with pytest.raises(DataError, match=r"training/labels/labels: all files of training/labels/ lie one"):
        scan(tmp_path / "vistas")
    save(tmp_path / "mirrored", "images/images/a.png")
    save(tmp_path / "mirrored", "labels/images/a.png", halves(7, 8))
    assert len(scan(tmp_path / "mirrored", classes="cityscapes").splits["train"]) == 1
    draw_camvid(tmp_path / "CamVid/CamVid")
    with pytest.raises(DataError, match=r"did you mean .*CamVid/CamVid\?"):
        scan(tmp_path / "CamVid")


def test_a_link_to_another_split_is_read_once(tmp_path: Path) -> None:
    draw_segnet(tmp_path)
    for folder in ("test", "testannot"):
        shutil.rmtree(tmp_path / folder)
        (tmp_path / folder).symlink_to(folder.replace("test", "val"))
    catalog = scan(tmp_path)
    assert {split: len(of) for split, of in catalog.splits.items()} == {"train": 1, "val": 1}
    assert "test: is a link to val, which has already been read; the link is left out" in catalog.notes[0]


def test_idd_without_label_images_can_still_be_pretrained_on(tmp_path: Path) -> None:
    draw_idd(tmp_path)
    for png in tmp_path.rglob("*_labelids.png"):
        png.unlink()
    catalog = scan_images(tmp_path)
    assert (catalog.layout, sorted(catalog.splits)) == ("idd", ["test", "train", "val"])


def test_two_sets_of_labels_in_one_folder_need_a_choice(tmp_path: Path) -> None:
    draw_mapillary2(tmp_path)
    with pytest.raises(DataError, match=r"choose data\.layout=mapillary_v1 or mapillary_v2"):
        scan(tmp_path)
    (tmp_path / "config_v2.0.json").write_text('{"labels": [{"name": 1}]}')
    with pytest.raises(DataError, match=r"config_v2.0.json: is no list of labels"):
        scan(tmp_path, "mapillary_v2")
    (tmp_path / "config_v2.0.json").unlink()
    with pytest.raises(DataError, match=r"config_v2.0.json.* it names the classes"):
        scan(tmp_path, "mapillary_v2")


def test_a_folder_that_is_half_a_data_set_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DataError, match=r"looked for JPEGImages/ and SegmentationClass/ or JPEGImages/"):
        scan(tmp_path)
    (tmp_path / "JPEGImages").rename(tmp_path / "other")
    with pytest.raises(DataError, match=r"images/ and labels/, found other/; other layouts .*: acdc, ade20k"):
        scan(tmp_path)


def test_where_labels_do_not_matter_two_sets_of_them_need_no_choice(tmp_path: Path) -> None:
    draw_mapillary2(tmp_path / "vistas")
    draw_voc(tmp_path / "voc")
    draw_voc_aug(tmp_path / "voc")
    for data, count in (("vistas", 3), ("voc", 5)):
        assert len(find_images([str(tmp_path / data)]).images) == count
    assert len(find_scenes(tmp_path / "vistas").scenes) == 3
    pairs = Pairs(tmp_path / "vistas", LAYOUTS["mapillary_v1"].class_set(tmp_path), (), ())
    with pytest.raises(DataError, match=r"data.classes=cityscapes maps those of this data set"):
        refuse_other_classes(pairs, CITYSCAPES.names, "0123")


# --- Colours and 16 bits in a folder of one's own ---------------------------------------------------


def write_painted(root: Path, extra: str = "") -> None:
    (root / "classes.toml").write_text(
        f'labels = "colors"\nvoid = ["#000000"]\n{extra}'
        '[[class]]\nname = "road"\ncolor = "#804080"\nalso = ["#804081"]\n'
        '[[class]]\nname = "car"\ncolor = "#00008e"\n'
    )


def test_a_folder_whose_labels_are_colours(tmp_path: Path) -> None:
    write_painted(tmp_path)
    for name, values in (("a", ((128, 64, 128), (0, 0, 0))), ("b", ((0, 0, 142), (128, 64, 129)))):
        save(tmp_path, f"images/{name}.png")
        save(tmp_path, f"labels/{name}.png", halves(*values))
    catalog = scan(tmp_path)
    assert (seen(catalog, "a"), seen(catalog, "b")) == (("road", ""), ("car", "road"))
    frozen = freeze_classes(validate({"data": {"root": str(tmp_path)}})).data.known_classes
    assert frozen == catalog.class_set
    (tmp_path / "classes.toml").unlink()
    assert seen(scan(tmp_path, classes=frozen, hold_out=("car",)), "b") == ("", "road")
    save(tmp_path, "labels/a.png", halves((128, 64, 130), (0, 0, 0)))
    assert problems(tmp_path, classes=frozen)[0][2] == (
        "holds colours that are no label: #804082 (256 pixels, nearest is road #804081)"
    )
    keys = {
        cache_key(catalog.splits["train"], SIZE, of, tmp_path) for of in (frozen, frozen.without(("car",)))
    }
    other = ClassSet("x", frozen.classes, frozen.void_ids)
    assert len(keys | {cache_key(catalog.splits["train"], SIZE, other, tmp_path)}) == 3


def test_labels_of_16_bits(tmp_path: Path) -> None:
    (tmp_path / "classes.toml").write_text(
        'void = [0]\n[[class]]\nname = "a"\ncolor = "#010101"\nids = [7, 26000]\n'
        '[[class]]\nname = "b"\ncolor = "#020202"\nids = [65535]\n'
    )
    save(tmp_path, "images/x.png")
    save(tmp_path, "labels/x.png", halves(26000, 65535, np.uint16))
    assert seen(scan(tmp_path), "x") == ("a", "b")
    save(tmp_path, "labels/x.png", halves(7, 0))
    assert seen(scan(tmp_path), "x") == ("a", "")
    save(tmp_path, "labels/x.png", halves(26001, 7, np.uint16))
    assert problems(tmp_path)[0][2] == "contains values that are no label: 26001 (256 pixels)"
    # A class set of 8 bits reads files of 16 whose values are small, and says which are not.
    (tmp_path / "classes.toml").write_text('[[class]]\nname = "a"\ncolor = "#010101"\nids = [7, 8]\n')
    save(tmp_path, "labels/x.png", halves(7, 8, np.uint16))
    assert problems(tmp_path) == []
    save(tmp_path, "labels/x.png", halves(7, 300, np.uint16))
    assert problems(tmp_path)[0][2].startswith("contains values above 255")


@pytest.mark.parametrize("kind", [2, 4, 6])
def test_the_first_of_several_channels_of_16_bits(kind: int, tmp_path: Path) -> None:
    values = np.random.default_rng(kind).integers(0, 65536, SIZE).astype(np.uint16)
    (tmp_path / "x.png").write_bytes(wide_png(values, kind))
    assert (read_wide_labels(tmp_path / "x.png") == values).all()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"colors"', '"paint"', 'labels: must be "ids" or "colors"'),
        ('["#000000"]', "[0]", r'void: must be a list of colours such as \["#000000"\]'),
        ('["#000000"]', '["#804080"]', "colour #804080 means both void and road"),
        ('"#00008e"', '"#00008e"\nids = [1]', r'\(car\): has ids, though labels = "colors"'),
        ('["#804081"]', '"#804081"', "also: must be a list of colours"),
        ("void =", "viod =", r"classes.toml: there is no key 'viod'; did you mean void\?"),
        ("also =", "als0 =", r"class 0: there is no key 'als0'; did you mean also\?"),
    ],
)
def test_a_colour_table_that_contradicts_itself(old: str, new: str, says: str, tmp_path: Path) -> None:
    write_painted(tmp_path)
    text = (tmp_path / "classes.toml").read_text()
    assert old in text
    (tmp_path / "classes.toml").write_text(text.replace(old, new))
    with pytest.raises(DataError, match=says):
        LAYOUTS["folder"].class_set(tmp_path)


def test_a_table_of_ids_takes_keys_of_others_and_no_more_colours(tmp_path: Path) -> None:
    table = '[[class]]\nname = "a"\ncolor = "#010101"\nids = [7]\nsource = "elsewhere"\n'
    (tmp_path / "classes.toml").write_text(f'url = "https://..."\n{table}')
    assert LAYOUTS["folder"].class_set(tmp_path).names == ("a",)
    (tmp_path / "classes.toml").write_text(table + 'also = ["#020202"]\n')
    with pytest.raises(
        DataError, match=r'class 0 \(a\): also has more colours, which need labels = "colors"'
    ):
        LAYOUTS["folder"].class_set(tmp_path)


def test_masks_of_0_and_255_are_told_how_255_becomes_a_class(tmp_path: Path) -> None:
    table = '[[class]]\nname = "off"\ncolor = "#000000"\nids = [0]\n'
    table += '[[class]]\nname = "on"\ncolor = "#ffffff"\nids = [255]\n'
    (tmp_path / "classes.toml").write_text(table)
    with pytest.raises(DataError, match=r"255 means both void and on; .* void = \[\] says that nothing is$"):
        LAYOUTS["folder"].class_set(tmp_path)
    (tmp_path / "classes.toml").write_text(f"void = []\n{table}")
    save(tmp_path, "images/x.png")
    save(tmp_path, "labels/x.png", halves(0, 255))
    assert seen(scan(tmp_path), "x") == ("off", "on")
    (tmp_path / "classes.toml").write_text(f"void = [255]\n{table}")
    with pytest.raises(DataError, match=r"255 means both void and on$"):
        LAYOUTS["folder"].class_set(tmp_path)


def test_a_large_label_of_colours_is_decoded_at_once(tmp_path: Path) -> None:
    """2048x1024 takes 50 ms on an idle core, 20 of them beside the PNG's own; a loop over pixels took 3 s."""
    camvid = load_class_set_of_camvid()
    ids = np.kron(np.random.default_rng(0).integers(0, 31, (64, 128)), np.ones((16, 16), int))
    Image.fromarray(np.array(list(camvid), np.uint8)[ids]).save(tmp_path / "x.png")
    assert (read_colors(tmp_path / "x.png", camvid) == ids).all()  # makes the table
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        read_colors(tmp_path / "x.png", camvid)
        seconds.append(time.perf_counter() - begun)
    png = io.BytesIO((tmp_path / "x.png").read_bytes())
    begun = time.perf_counter()
    Image.open(png).load()
    assert min(seconds) < 0.3 + 3 * (time.perf_counter() - begun)


def load_class_set_of_camvid() -> dict[tuple[int, int, int], int]:
    return {c.color: c.ids[0] for c in LAYOUTS["camvid"].class_set(Path()).classes}


def test_a_person_checks_a_data_set_and_reads_what_is_mapped(seg: Command, tmp_path: Path) -> None:
    draw_gta(tmp_path / "gta")
    draw_ade(tmp_path / "ade")
    done = seg(f"data check {tmp_path / 'ade'} --classes cityscapes")
    assert "ade20k layout, class set ade20k as cityscapes" in done.out
    told = "31 of the 150 classes of ade20k become 16 of Cityscapes' 19 (MSeg, Lambert et al. 2020)"
    assert told in " ".join(done.out.split())
    draw_idd(tmp_path / "idd", "ids", (0, 2))
    done = seg(f"data check {tmp_path / 'idd'} --classes cityscapes --json")
    assert done.json["mapped_to_void"] == {"drivable fallback": 0.5}
    assert done.json["void_share"] == 0.5
    done = seg(f"data check {tmp_path / 'gta'} --layout gta5 --classes cityscapes")
    assert done.status == 0
    assert f"--data {tmp_path / 'gta'} data.layout=gta5 data.classes=cityscapes" in done.out
    save(tmp_path / "gta", "labels/00002.png", halves((1, 2, 3), (0, 0, 142)))
    done = seg(f"data check {tmp_path / 'gta'}")
    assert done.status == 1
    assert "labels/00002.png: holds colours that are no label: #010203" in " ".join(done.out.split())


def test_critical_classes_that_nobody_named_do_not_hide_what_is_wrong(
    seg: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of Cityscapes are person and rider, which a file of another class set does not have."""
    draw_kitti(tmp_path)
    about = {"size": [16, 32]}
    model = ExportedModel(Path("net.onnx"), ("road", "sky"), ("#000000",) * 2, (16, 32), about, None)
    monkeypatch.setattr(exported, "opened", lambda *given: model)
    done = seg(f"evaluate net.onnx --data {tmp_path} --split train")
    assert done.status == 2
    told = " ".join(done.err.split())
    assert "its classes differ from those of net.onnx: the data set also has sidewalk" in told
    assert "they must be equal; data.hold_out='sidewalk,building," in told
    done = seg(f"evaluate net.onnx --data {tmp_path} --split train --critical person")
    assert "--critical: there is no class person; there are road, sky" in " ".join(done.err.split())
