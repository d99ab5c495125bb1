"""Images without labels: finding, caching and splitting them; and using a part of the labels there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.classes import UNLABELLED
from engine.config.keys import ConfigError, validate
from engine.config.sections import DataConfig
from engine.data.batches import StreamedBatches, make_batches
from engine.data.catalog import DataError, scan_images
from engine.data.dataset import Dataset, open_dataset
from engine.data.sample_readers import CachedSplit, Split
from engine.data.synthetic import synthesize

SIZE = (32, 48)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("street") / "data"
    synthesize(root, images=20, size=(64, 64), seed=5)
    return root


@pytest.fixture
def pictures(street: Path, tmp_path: Path) -> Path:
    """The same images in a folder of no layout, at various depths, one of them hidden."""
    root = tmp_path / "pictures"
    for index, image in enumerate(sorted((street / "leftImg8bit" / "train").rglob("*.png"))):
        place = root / "/".join(["deep"] * (index % 3)) / f"{index:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(image.read_bytes())
    (root / ".hidden.png").write_bytes(b"none")
    (root / "notes.txt").write_text("no image")
    return root


def names(split: Split) -> list[str]:
    return [split.name(position) for position in range(len(split))]


def opened(root: Path, cache_dir: Path, labels: bool = False, **options: object) -> Dataset:
    return open_dataset(DataConfig(root=str(root), size=SIZE, **options), cache_dir, labels=labels)  # type: ignore[arg-type]


def test_any_folder_of_images_is_found_however_deep(pictures: Path, tmp_path: Path) -> None:
    catalog = scan_images(pictures)
    assert (catalog.layout, catalog.class_set) == ("images", UNLABELLED)
    found = [sample.name for sample in catalog.splits["train"]]
    assert len(found) == 16
    assert "00.png" in found
    assert "deep/deep/02.png" in found
    assert all(sample.label is None for sample in catalog.splits["train"])
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"none: has no images; looked for \.png"):
        scan_images(tmp_path / "none")
    with pytest.raises(DataError, match="no such folder"):
        scan_images(tmp_path / "nowhere")


def test_the_images_of_a_layout_are_split_as_with_labels(street: Path, tmp_path: Path) -> None:
    for rule in ("random", "official"):
        plain = opened(street, tmp_path, split=rule)
        labelled = opened(street, tmp_path, labels=True, split=rule)
        assert names(plain.train) == names(labelled.train)
        assert names(plain.val) == names(labelled.val)
        image, labels = plain.train.sample(0)
        assert np.array_equal(image, labelled.train.sample(0)[0])
        assert labels.shape == SIZE
        assert labels.max() == 0


def test_images_without_labels_of_cityscapes_train_and_never_validate(street: Path, tmp_path: Path) -> None:
    root = tmp_path / "more"
    for part in ("leftImg8bit", "gtFine"):
        (root / part).mkdir(parents=True)
        for split in (street / part).iterdir():
            (root / part / split.name).symlink_to(split)
    extra = root / "leftImg8bit" / "train_extra" / "erlangen"
    extra.mkdir(parents=True)
    for index, image in enumerate(sorted((street / "leftImg8bit" / "val").rglob("*.png"))):
        (extra / f"erlangen_{index}_leftImg8bit.png").write_bytes(image.read_bytes())
    without, with_extra = opened(street, tmp_path / "cache"), opened(root, tmp_path / "cache")
    assert names(with_extra.val) == names(without.val)
    more = [name for name in names(with_extra.train) if name.startswith("train_extra/")]
    assert len(more) == 4
    assert names(with_extra.train) == names(without.train) + more


def test_a_cache_of_images_holds_no_labels_and_gives_the_same_batches(pictures: Path, tmp_path: Path) -> None:
    data = opened(pictures, tmp_path / "cache")
    (cache,) = data.caches
    assert sorted(path.name for path in cache.path.iterdir()) == ["images.npy", "meta.json"]
    assert cache.nbytes == 16 * 32 * 48 * 3
    again = opened(pictures, tmp_path / "cache")
    assert again.caches[0].key == cache.key

    order = torch.tensor([3, 0, 2, 1])
    assert isinstance(data.train, CachedSplit)
    uncached = opened(pictures, tmp_path / "cache", cache=False, workers=1)
    sources = [
        make_batches([data.train, data.val], CPU)[0],
        StreamedBatches(data.train, CPU),
        make_batches([uncached.train, uncached.val], CPU)[0],
    ]
    wanted = [data.train.sample(position)[0] for position in order.tolist()]
    for source in sources:
        batches = list(source(order, 3))
        assert [len(batch.images) for batch in batches] == [3, 1]
        assert np.array_equal(torch.cat([batch.images for batch in batches]).numpy(), np.stack(wanted))
        assert all(batch.labels.shape == batch.images.shape[:3] for batch in batches)
        assert all(not batch.labels.any() for batch in batches)


def test_a_damaged_image_is_named(pictures: Path, tmp_path: Path) -> None:
    (pictures / "deep" / "broken.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"deep/broken.png: is no PNG"):
        opened(pictures, tmp_path / "cache")
    assert len(opened(pictures, tmp_path / "cache", skip_bad=True).skipped) == 1


def test_classes_are_not_learnt_from_images_alone() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.layout: the layout images has no labels, which task=train needs"
    ):
        validate({"data": {"layout": "images"}})
    assert validate({"task": "pretrain", "data": {"layout": "images"}}).needs_labels is False


def test_a_part_of_the_labels_is_chosen_by_the_seed_and_grows_with_the_fraction(
    street: Path, tmp_path: Path
) -> None:
    def part(fraction: float, **options: object) -> Dataset:
        return opened(street, tmp_path, labels=True, label_fraction=fraction, **options)

    whole = part(1.0)
    assert len(whole.train) == 13
    tenth, half = part(0.1), part(0.5)
    assert (len(tenth.train), len(half.train)) == (1, 7)
    assert set(names(tenth.train)) < set(names(half.train)) < set(names(whole.train))
    assert names(tenth.val) == names(whole.val)
    assert names(part(0.5, split_seed=1).train) != names(half.train)
    with pytest.raises(DataError, match=r"data.label_fraction=0.01 of 13 training images leaves none"):
        part(0.01)
    assert len(opened(street, tmp_path, label_fraction=0.1).train) == 13  # it is about labels, not images
