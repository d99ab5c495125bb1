"""The cache: what it holds, when it is built, and that neither a crash nor a neighbour can spoil it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from engine.classes import VOID, ClassInfo, ClassSet
from engine.data import cache as cache_module
from engine.data import image_files
from engine.data.cache import cache_key, open_cache
from engine.data.cache_files import Cache
from engine.data.catalog import DataError, Fault, Sample, scan
from engine.data.dataset import checked
from engine.data.decode import check_samples
from engine.data.prune import list_caches, prune_caches
from engine.host.input_files import InputFileError, read_regular
from engine.run.files import lock_if_free

CLASSES = ClassSet(
    "three",
    (
        ClassInfo("ground", (128, 64, 128), (7,)),
        ClassInfo("wall", (70, 70, 70), (11, 12)),
        ClassInfo("sky", (70, 130, 180), (23,)),
    ),
    frozenset({0, 255}),
)
SIZE = (4, 8)
COUNT = 6


class Pairs(NamedTuple):
    root: Path
    samples: tuple[Sample, ...]

    def open(self, cache_dir: Path, **options: object) -> Cache:
        return open_cache(self.samples, SIZE, CLASSES, self.root, cache_dir, **options)  # type: ignore[arg-type]


def make_pairs(root: Path, count: int = COUNT) -> Pairs:
    """Pairs of 16x8 whose image and label both tell which sample they are."""
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    samples = []
    for i in range(count):
        sample = Sample(f"s{i}", root / "images" / f"s{i}.png", root / "labels" / f"s{i}.png")
        Image.new("RGB", (16, 8), (i, 2 * i, 200)).save(sample.image)
        Image.fromarray(np.full((8, 16), (7, 11, 12, 23, 0, 255)[i % 6], np.uint8)).save(sample.label)
        samples.append(sample)
    return Pairs(root, tuple(samples))


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    return make_pairs(tmp_path / "data")


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


class Counter:
    """An on_progress that remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.calls.append((done, total))


# --- What it holds ------------------------------------------------------------------------------


def test_a_cache_holds_resized_images_and_train_ids(pairs: Pairs, cache_dir: Path) -> None:
    progress = Counter()
    cache = pairs.open(cache_dir, on_progress=progress)
    assert cache.names == tuple(f"s{i}" for i in range(COUNT))
    assert (cache.images.shape, cache.images.dtype) == ((COUNT, 4, 8, 3), np.uint8)
    assert (cache.labels.shape, cache.labels.dtype) == ((COUNT, 4, 8), np.uint8)
    for i, train_id in enumerate((0, 1, 1, 2, VOID, VOID)):
        assert (cache.images[i] == (i, 2 * i, 200)).all()
        assert (cache.labels[i] == train_id).all()
    assert cache.faults == ()
    assert cache.rebuilt_because == ""
    assert cache.path == cache_dir / cache.key
    assert progress.calls == [(i, COUNT) for i in range(1, COUNT + 1)]


def test_the_second_opening_decodes_nothing_and_is_read_only(pairs: Pairs, cache_dir: Path) -> None:
    first = pairs.open(cache_dir)
    progress = Counter()
    second = pairs.open(cache_dir, on_progress=progress)
    assert progress.calls == []
    assert (second.images == first.images).all()
    assert isinstance(second.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        second.labels[0] = 1


def test_the_order_of_the_samples_and_the_workers_do_not_matter(pairs: Pairs, cache_dir: Path) -> None:
    backwards = Pairs(pairs.root, pairs.samples[::-1])
    first, second = backwards.open(cache_dir / "1", workers=1), pairs.open(cache_dir / "8", workers=8)
    assert (first.key, first.names) == (second.key, second.names)
    for name in ("images.npy", "labels.npy"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


def test_an_ordinary_numpy_reads_the_arrays(pairs: Pairs, cache_dir: Path) -> None:
    (pairs.samples[2].label).write_bytes(b"no PNG")  # the count in the header is written again then
    cache = pairs.open(cache_dir)
    assert np.load(cache.path / "images.npy").shape == (COUNT - 1, 4, 8, 3)
    assert np.load(cache.path / "labels.npy")[:, 0, 0].tolist() == [0, 1, 2, VOID, VOID]


# --- When it is another -------------------------------------------------------------------------


def test_a_change_of_anything_that_matters_is_another_key(pairs: Pairs, tmp_path: Path) -> None:
    def key(size: tuple[int, int] = SIZE, class_set: ClassSet = CLASSES) -> str:
        return cache_key(pairs.samples, size, class_set, pairs.root)

    seen = [key()]
    assert key() == seen[0]
    assert cache_key(pairs.samples[::-1], SIZE, CLASSES, pairs.root) == seen[0]
    seen.append(key(size=(8, 4)))
    seen.append(key(class_set=ClassSet("three", CLASSES.classes, frozenset({0}))))
    seen.append(key(class_set=ClassSet("three", CLASSES.classes[::-1], CLASSES.void_ids)))
    seen.append(cache_key(pairs.samples[1:], SIZE, CLASSES, pairs.root))
    status = pairs.samples[0].label.stat()
    os.utime(pairs.samples[0].label, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    seen.append(key())
    with open(pairs.samples[0].image, "ab") as file:
        file.write(b"x")
    os.utime(pairs.samples[0].image, ns=(0, 0))
    seen.append(key())
    assert len(set(seen)) == len(seen)


def test_a_data_set_can_be_moved(pairs: Pairs, tmp_path: Path) -> None:
    key = cache_key(pairs.samples, SIZE, CLASSES, pairs.root)
    root = pairs.root.rename(tmp_path / "moved")
    moved = [
        Sample(s.name, root / s.image.relative_to(pairs.root), root / s.label.relative_to(pairs.root))
        for s in pairs.samples
    ]
    assert cache_key(moved, SIZE, CLASSES, root) == key


def test_a_file_that_has_gone(pairs: Pairs, cache_dir: Path) -> None:
    """It is a fault like others, whether nothing or a broken link is in its place."""
    pairs.samples[3].image.unlink()
    cache = pairs.open(cache_dir)
    assert [(fault.path, fault.problem) for fault in cache.faults] == [
        ("images/s3.png", "there is no such file")
    ]
    pairs.samples[4].image.unlink()
    pairs.samples[4].image.symlink_to("/nowhere/s4.png")
    assert pairs.open(cache_dir).faults[1].problem == "is a broken link to /nowhere/s4.png"


# --- Faults -------------------------------------------------------------------------------------


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def spoil(pairs: Pairs) -> list[tuple[str, str]]:
    """Spoil all samples but the last two; the (kind, path) of the faults to be found."""
    samples = pairs.samples
    samples[0].image.write_bytes(samples[0].image.read_bytes()[:-30])
    Image.new("L", (15, 8), 7).save(samples[1].label)
    labels = np.full((8, 16), 7, np.uint8)
    labels[0, :3], labels[1, 0] = 99, 34
    Image.fromarray(labels).save(samples[2].label)
    samples[3].image.write_bytes(b"")
    flip(samples[3].label, -14)  # in the chunk's checksum, which decoding alone does not look at
    return [
        ("unreadable", "images/s0.png"),
        ("size", "labels/s1.png"),
        ("label_value", "labels/s2.png"),
        ("unreadable", "images/s3.png"),
        ("unreadable", "labels/s3.png"),
    ]


def kinds(faults: tuple[Fault, ...] | list[Fault]) -> list[tuple[str, str]]:
    return [(fault.kind, fault.path) for fault in faults]


def test_bad_samples_are_left_out_and_listed(pairs: Pairs, cache_dir: Path) -> None:
    expected = spoil(pairs)
    cache = pairs.open(cache_dir)
    assert kinds(cache.faults) == expected
    assert cache.names == ("s4", "s5")
    assert cache.images[:, 0, 0, 0].tolist() == [4, 5]
    assert cache.faults[1].problem == (
        "is 8x15 but its image is 8x16; both must have the same height and width"
    )
    assert cache.faults[2].problem == (
        "contains values outside the class set three: 34 (1 pixel), 99 (3 pixels)"
    )
    assert cache.faults[3].problem == "is empty (0 bytes)"
    again = pairs.open(cache_dir)
    assert (again.faults, again.names) == (cache.faults, cache.names)


@contextmanager
def refused_by_the_system(path: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it a file cannot be opened, which leaves no trace in its length and times."""

    def read(wanted: Path) -> bytes:
        if wanted == path:
            raise InputFileError(wanted, "cannot be read: Permission denied")
        return read_regular(wanted)

    with patch.context() as within:
        within.setattr(image_files, "read_regular", read)
        yield


def test_what_could_not_be_read_is_opened_again(
    pairs: Pairs, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A permission that is given later, or a disk that is back, changes neither length nor time of a file."""
    expected, lines = spoil(pairs), list[str]()
    with refused_by_the_system(pairs.samples[4].label, monkeypatch):
        lacking = pairs.open(cache_dir)
        assert kinds(lacking.faults) == [*expected, ("unreadable", "labels/s4.png")]
        assert pairs.open(cache_dir).faults == lacking.faults
    with monkeypatch.context() as within:
        within.setattr(cache_module, "why_unwritable", lambda path: "is somebody else's")
        assert pairs.open(cache_dir).names == ("s5",), "who may not build it again uses it as it is"
    whole = pairs.open(cache_dir, on_wait=lines.append)
    assert (kinds(whole.faults), whole.names) == (expected, ("s4", "s5"))
    told = "samples that it lacks can be read now: s4"
    assert whole.rebuilt_because == told
    assert lines == [f"the image cache {whole.path} is out of date ({told}); rebuilding it"]
    assert lacking.names == ("s5",), "a run that has it open goes on"
    assert pairs.open(cache_dir).rebuilt_because == ""


@pytest.mark.parametrize("cached", [False, True])
def test_a_check_that_is_kept_opens_again_what_could_not_be_read(
    pairs: Pairs, cache_dir: Path, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> list[tuple[str, str]]:
        faults = checked(pairs.samples, SIZE, CLASSES, pairs.root, cache_dir)
        return kinds([fault for of_sample in faults.values() for fault in of_sample])

    expected = spoil(pairs)
    with refused_by_the_system(pairs.samples[4].label, monkeypatch):
        if cached:
            pairs.open(cache_dir)
        assert found() == [*expected, ("unreadable", "labels/s4.png")]
    assert found() == expected
    assert found() == expected


def test_the_check_finds_the_same_faults_as_the_cache(pairs: Pairs, cache_dir: Path) -> None:
    assert check_samples(pairs.samples, CLASSES, pairs.root) == []
    spoil(pairs)
    progress = Counter()
    faults = check_samples(pairs.samples, CLASSES, pairs.root, progress)
    assert tuple(faults) == pairs.open(cache_dir).faults
    assert progress.calls[-1] == (COUNT, COUNT)


def test_no_usable_sample_at_all_keeps_nothing(pairs: Pairs, cache_dir: Path) -> None:
    for sample in pairs.samples:
        sample.label.write_bytes(b"no PNG")
    with pytest.raises(
        DataError, match=r"none of the 6 samples can be used; the first: labels/s0\.png: is no"
    ):
        pairs.open(cache_dir)
    assert [path.suffix for path in cache_dir.iterdir()] == [".lock"]
    with pytest.raises(DataError, match="no samples to cache"):
        open_cache([], SIZE, CLASSES, pairs.root, cache_dir)


# --- Damage -------------------------------------------------------------------------------------


def rewrite_meta(change: Callable[[dict[str, object]], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text())
        change(meta)
        (folder / "meta.json").write_text(json.dumps(meta))

    return damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: flip(folder / "images.npy", 300), "images.npy does not match its checksum"),
        (lambda folder: flip(folder / "labels.npy", 20), "labels.npy does not match its checksum"),
        (lambda folder: os.truncate(folder / "labels.npy", 150), "labels.npy has 150 bytes instead of"),
        (lambda folder: (folder / "images.npy").unlink(), "images.npy cannot be read: No such file"),
        (lambda folder: (folder / "meta.json").unlink(), "meta.json cannot be read: No such file"),
        (lambda folder: (folder / "meta.json").write_text("{"), "meta.json cannot be read"),
        (lambda folder: (folder / "meta.json").write_text("[]"), "meta.json is not an object"),
        (rewrite_meta(lambda meta: meta.pop("arrays")), "meta.json is incomplete: 'arrays'"),
        (rewrite_meta(lambda meta: meta.update(names=["s0"])), "instead of uint8 (1, 4, 8, 3)"),
        (rewrite_meta(lambda meta: meta.update(names=["x"])), "meta.json belongs to other samples"),
        (rewrite_meta(lambda meta: meta.update(key="0" * 16)), "meta.json belongs to other samples"),
    ],
)
def test_a_damaged_cache_is_noticed_and_built_again(
    pairs: Pairs, cache_dir: Path, damage: Callable[[Path], object], reason: str
) -> None:
    cache = pairs.open(cache_dir)
    damage(cache.path)
    lines: list[str] = []
    again = pairs.open(cache_dir, on_wait=lines.append)
    assert reason in again.rebuilt_because
    assert len(lines) == 1
    assert f"{cache.path} is damaged" in lines[0]
    assert again.labels[:, 0, 0].tolist() == [0, 1, 1, 2, VOID, VOID]
    assert pairs.open(cache_dir).rebuilt_because == ""


# --- Room on the disk ---------------------------------------------------------------------------


def test_too_little_room_is_said_before_the_work(
    pairs: Pairs, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda folder: usage)
    progress = Counter()
    with pytest.raises(
        DataError, match=r"cache: the image cache needs 0\.0 MB and 0\.0 MB are free"
    ) as caught:
        pairs.open(cache_dir, on_progress=progress)
    assert str(cache_dir) in str(caught.value)
    assert progress.calls == []


# --- Upkeep -------------------------------------------------------------------------------------


def test_caches_are_listed_last_used_first(pairs: Pairs, cache_dir: Path) -> None:
    assert list_caches(cache_dir) == []
    old = pairs.open(cache_dir)
    new = open_cache(pairs.samples[:2], (2, 2), CLASSES, pairs.root, cache_dir)
    os.utime(old.path / "meta.json", (1000, 1000))
    (cache_dir / "something else").mkdir()
    infos = list_caches(cache_dir)
    assert [(info.key, info.samples, info.size, info.root) for info in infos] == [
        (new.key, 2, (2, 2), str(pairs.root)),
        (old.key, COUNT, SIZE, str(pairs.root)),
    ]
    assert infos[1].last_used == 1000
    assert infos[1].bytes == sum(path.stat().st_size for path in old.path.iterdir())
    pairs.open(cache_dir)
    assert list_caches(cache_dir)[0].key == old.key  # opening counts as use


def test_pruning_by_age_by_key_and_all(pairs: Pairs, cache_dir: Path) -> None:
    caches = [open_cache(pairs.samples[:n], SIZE, CLASSES, pairs.root, cache_dir) for n in (1, 2, 3, 4)]
    os.utime(caches[0].path / "meta.json", (1000, 1000))
    (caches[3].path / "meta.json").write_text("damaged")
    assert prune_caches(cache_dir) == []
    assert [info.key for info in prune_caches(cache_dir, keep_days=30)] == [caches[0].key]
    with pytest.raises(DataError, match=f"there is no cache '{caches[0].key}'; there are: "):
        prune_caches(cache_dir, keys=[caches[1].key, caches[0].key])
    assert [info.key for info in prune_caches(cache_dir, keys=[caches[1].key])] == [caches[1].key]
    assert {info.key for info in prune_caches(cache_dir, everything=True)} == {caches[2].key, caches[3].key}
    assert list_caches(cache_dir) == []
    assert caches[2].images[2, 0, 0].tolist() == [2, 4, 200]  # an open cache survives


def test_pruning_spares_a_locked_cache(pairs: Pairs, cache_dir: Path) -> None:
    cache = pairs.open(cache_dir)
    with lock_if_free(cache_dir / f"{cache.key}.lock"):
        assert prune_caches(cache_dir, everything=True) == []
    assert [info.key for info in prune_caches(cache_dir, everything=True)] == [cache.key]


# --- Real data ----------------------------------------------------------------------------------


def test_genuine_cityscapes_pairs(shared_data: Path, tmp_path: Path) -> None:
    catalog = scan(shared_data / "cityscapes_real")
    samples = catalog.splits["train"][:2]
    cache = open_cache(samples, (32, 64), catalog.class_set, catalog.root, tmp_path)
    assert cache.faults == ()
    counted = {
        entry["stem"]: entry["labels"] for entry in json.loads((catalog.root / "manifest.json").read_text())
    }
    for sample, labels in zip(samples, cache.labels, strict=True):
        truth = counted[sample.name.rsplit("/", 1)[1]]
        road = truth["7"] / (2048 * 1024)
        assert abs((labels == 0).mean() - road) < 0.02
        assert set(np.unique(labels)) <= {*range(19), VOID}
