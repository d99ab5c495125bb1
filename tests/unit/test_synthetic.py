"""Synthetic street scenes: the same everywhere, true to the layout, and never half-written."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.classes import CITYSCAPES
from engine.data import synthetic
from engine.data.scenes.street import RARE, render
from engine.data.scenes.styles import STYLES
from engine.data.synthetic import SyntheticError, synthesize

SMALL = (64, 128)


def image_path(root: Path, split: str, index: int) -> Path:
    return root / "leftImg8bit" / split / "synth" / f"synth_{index:06d}_000019_leftImg8bit.png"


def label_path(root: Path, split: str, index: int) -> Path:
    return root / "gtFine" / split / "synth" / f"synth_{index:06d}_000019_gtFine_labelIds.png"


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    return [render(5, i, (128, 256)) for i in range(20)]


def test_files_follow_the_cityscapes_layout_and_the_summary_counts_them(tmp_path: Path) -> None:
    root = tmp_path / "new" / "synthetic"
    progress: list[tuple[int, int]] = []
    summary = synthesize(root, 10, SMALL, val_fraction=0.3, on_progress=lambda *now: progress.append(now))

    images = {path for path in files(root) if "leftImg8bit" in path.parts}
    val = {3, 6, 9}
    assert images == {image_path(root, "val" if i in val else "train", i) for i in range(10)}
    assert files(root) - images == {label_path(root, "val" if i in val else "train", i) for i in range(10)}
    assert (summary.train, summary.val) == (7, 3)
    assert progress == [(i, 10) for i in range(1, 11)]

    found = set()
    for i in range(10):
        split = "val" if i in val else "train"
        with Image.open(image_path(root, split, i)) as image, Image.open(label_path(root, split, i)) as label:
            assert (image.mode, image.size) == ("RGB", (128, 64))
            assert (label.mode, label.size) == ("L", (128, 64))
            found |= set(np.unique(np.asarray(label)).tolist())
    assert summary.classes == tuple(c.name for c in CITYSCAPES.classes if c.ids[0] in found)


def test_an_image_depends_on_seed_and_index_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthesize(tmp_path / "few", 3, SMALL, seed=7)
    monkeypatch.setattr(synthetic, "FEW_PIXELS", 0)
    monkeypatch.setattr(synthetic, "_cores", lambda: 2)
    synthesize(tmp_path / "many", 9, SMALL, seed=7, val_fraction=0.5)
    for i in range(3):
        few, many = "val" if i == 2 else "train", "val" if i % 2 else "train"
        assert (
            image_path(tmp_path / "few", few, i).read_bytes()
            == image_path(tmp_path / "many", many, i).read_bytes()
        )
        assert (
            label_path(tmp_path / "few", few, i).read_bytes()
            == label_path(tmp_path / "many", many, i).read_bytes()
        )
    assert not multiprocessing.active_children()


def test_seeds_and_indices_give_different_scenes() -> None:
    labels = [render(seed, index, SMALL)[1] for seed, index in ((0, 0), (0, 1), (1, 0))]
    assert not np.array_equal(labels[0], labels[1])
    assert not np.array_equal(labels[0], labels[2])


def test_a_larger_picture_shows_the_same_street() -> None:
    small, large = render(2, 4, (64, 128))[1], render(2, 4, (256, 512))[1]
    assert np.mean(small == large[2::4, 2::4]) > 0.85


@pytest.mark.parametrize("size", [(64, 64), (65, 131), (64, 512), (512, 64), (300, 240)])
def test_every_shape_of_picture_can_be_drawn(size: tuple[int, int]) -> None:
    image, labels = render(0, 0, size)
    assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    assert (labels.shape, labels.dtype) == (size, np.uint8)
    assert 7 in labels, "a street has a road"


def test_labels_hold_known_source_ids_with_some_void(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    found = set(np.unique([labels for _, labels in scenes]).tolist())
    assert found <= set(range(34))
    assert {1, 4, 5} <= found, "bonnet, static and dynamic things are void"


def test_twenty_images_show_nearly_all_classes_in_lifelike_shares(
    scenes: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    pixels = np.bincount(np.concatenate([labels.ravel() for _, labels in scenes]), minlength=256)
    share = {c.name: pixels[c.ids[0]] / pixels.sum() for c in CITYSCAPES.classes}
    assert sum(value > 0 for value in share.values()) >= 15
    # Cityscapes has 33 % road, 20 % building, 14 % vegetation, 6 % car, 1 % pole, 1 % person.
    assert 0.22 < share["road"] < 0.42
    assert 0.10 < share["building"] < 0.32
    assert 0.06 < share["vegetation"] < 0.24
    assert 0.02 < share["car"] < 0.14
    assert 0.005 < share["pole"] < 0.04
    assert 0.002 < share["person"] < 0.03


def test_every_six_images_have_each_rare_class_put_in() -> None:
    ids = {c.name: c.ids[0] for c in CITYSCAPES.classes}
    found = set(np.unique([render(3, i, (128, 256))[1] for i in range(12)]).tolist())
    assert {ids[name] for name in RARE} <= found


def test_colour_alone_does_not_give_the_class_away(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A table from colour (16 steps a channel) to class, made from one half, must fail on the other."""

    def cells_and_classes(half: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        images = np.stack([image for image, _ in half]).astype(np.int64) // 16
        cells = (images[..., 0] * 256 + images[..., 1] * 16 + images[..., 2]).ravel()
        return cells, np.stack([labels for _, labels in half]).ravel()

    cells, classes = cells_and_classes(scenes[:10])
    counts = np.bincount(cells * 34 + classes, minlength=4096 * 34).reshape(4096, 34)
    cells, classes = cells_and_classes(scenes[10:])
    right = counts.argmax(1)[cells] == classes
    assert right.mean() > 0.2, "colour should still say something"
    assert np.mean([right[classes == c].mean() for c in np.unique(classes)]) < 0.4


def test_labels_lie_exactly_on_the_image(scenes: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Brightness changes most where labels change: more than one pixel to any side of it."""

    def edges_on_labels(shift: int) -> float:
        total = 0.0
        for image, labels in scenes:
            bright = image.astype(np.float64).sum(2)
            step = np.abs(np.diff(bright, axis=1))
            border = np.diff(labels.astype(np.int16), axis=1) != 0
            total += float(step[:, 4:-4][np.roll(border, shift, 1)[:, 4:-4]].mean())
        return total

    at_labels = edges_on_labels(0)
    assert all(at_labels > 1.2 * edges_on_labels(shift) for shift in (-2, -1, 1, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": 1}, "images is 1; at least 2 are needed"),
        ({"images": -4}, "images is -4"),
        ({"size": (63, 128)}, "height is 63; it must be from 64 to 4096 pixels"),
        ({"size": (64, 4097)}, "width is 4097"),
        ({"seed": -1}, "seed is -1"),
        ({"val_fraction": 0.0}, "val_fraction is 0.0; it must lie between 0 and 1"),
        ({"val_fraction": 1.0}, "val_fraction is 1.0"),
        ({"val_fraction": float("nan")}, "val_fraction is nan"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_made(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    root = tmp_path / "synthetic"
    with pytest.raises(SyntheticError) as caught:
        synthesize(root, **({"images": 2, "size": SMALL} | arguments))  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not root.exists()


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SyntheticError, match="is not empty"):
        synthesize(tmp_path, 2, SMALL)
    with pytest.raises(SyntheticError, match="is not empty"):
        synthesize(tmp_path / "notes.txt", 2, SMALL)
    assert files(tmp_path) == {tmp_path / "notes.txt"}


def test_two_do_not_draw_in_one_folder(tmp_path: Path) -> None:
    """The second removed what the first had drawn so far."""

    def in_another_terminal(done: int, total: int) -> None:
        with pytest.raises(SyntheticError, match="data: another process is drawing in it"):
            synthesize(tmp_path / "data", 2, size=(64, 64))

    synthesize(tmp_path / "data", 3, size=(64, 64), on_progress=in_another_terminal)
    assert len(files(tmp_path / "data")) == 6
    with pytest.raises(SyntheticError, match="is not empty"):
        synthesize(tmp_path / "data", 2, size=(64, 64))


def test_an_empty_folder_and_two_images_are_enough(tmp_path: Path) -> None:
    for fraction in (0.01, 0.5, 0.99):
        root = tmp_path / str(fraction)
        root.mkdir()
        summary = synthesize(root, 2, SMALL, val_fraction=fraction)
        assert (summary.train, summary.val) == (1, 1)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SyntheticError, match="cannot be written: Not a directory"):
        synthesize(tmp_path / "file" / "synthetic", 2, SMALL)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = Image.Image.save
    calls = iter(range(100))

    def fill_up(image: Image.Image, stream: object, *args: object, **options: object) -> None:
        if next(calls) == 4:
            stream.write(b"\x89PNG half of it")  # type: ignore[attr-defined]
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(image, stream, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "save", fill_up)
    with pytest.raises(SyntheticError, match="cannot be written: No space left on device") as caught:
        synthesize(tmp_path / "synthetic", 6, SMALL)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "synthetic").exists()


DRAW_MANY = """
import sys
from pathlib import Path
from engine.data import synthetic
synthetic._cores = lambda: 2
try:
    synthetic.synthesize(
        Path(sys.argv[1]), 100_000, (64, 128), on_progress=lambda *now: print(*now, flush=True)
    )
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
@pytest.mark.parametrize("fatal", [False, True], ids=["ctrl-c", "killed"])
def test_an_interruption_leaves_no_data_set_and_no_processes(tmp_path: Path, fatal: bool) -> None:
    root = tmp_path / "synthetic"
    process = subprocess.Popen(
        [sys.executable, "-c", DRAW_MANY, str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline()
    if fatal:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process gets it
    # The drawing processes hold the pipes too, so these only end when the last process has.
    output, errors = process.communicate(timeout=30)
    if not fatal:
        assert output.splitlines()[-1] == "interrupted"
        assert errors == ""
        assert not root.exists()
    else:
        assert "Traceback" not in errors
        assert [path.name for path in root.iterdir()] == [synthetic.DRAWING]
        assert synthesize(root, 2, SMALL).train == 1  # what it left is in nobody's way
        assert sorted(path.name for path in root.iterdir()) == ["gtFine", "leftImg8bit"]


OF_DAYS = "e589f615e2355dce221ba5408c1231647eac73418bbec6bff26b161b61acafc3"
"""SHA-256 of four scenes and their labels, as the first version drew them."""


def test_a_day_is_what_it_was_before_there_were_styles() -> None:
    drawn = b"".join(part.tobytes() for i in range(4) for part in render(5, i, (128, 256)))
    assert hashlib.sha256(drawn).hexdigest() == OF_DAYS


def test_weather_and_night_change_the_light_and_not_the_labels() -> None:
    """By seed 5: the same street in all styles but another city, and each style is what it says."""
    day, labels = render(5, 1, SMALL)
    drawn = {style: render(5, 1, SMALL, style) for style in STYLES}
    for style, (_, found) in drawn.items():
        assert np.array_equal(found, labels) == (style != "other-city"), style
    light = {style: float(image.mean()) for style, (image, _) in drawn.items()}
    assert light["night"] < 0.7 * light["day"]
    assert light["night"] < light["rain"] < light["snow"]
    ground = np.isin(labels, (7, 8, 22))
    assert drawn["snow"][0][ground].mean() > day[ground].mean() + 40
    colour = {style: float(np.ptp(image, axis=2).mean()) for style, (image, _) in drawn.items()}
    assert colour["fog"] < 0.8 * colour["day"]
    assert np.array_equal(drawn["snow"][0], render(5, 1, SMALL, "snow")[0]), "the same every time"
