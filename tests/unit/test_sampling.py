"""Class-uniform sampling: where classes are, and what an epoch shows of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.config.sections import DataConfig
from engine.data.centroids import Centroids, find_centroids
from engine.data.dataset import open_dataset
from engine.data.sample_readers import CachedSplit, FileSplit
from engine.data.synthetic import synthesize
from engine.training.rng import shuffled
from engine.training.sampling import Plan, Sampling


class Labels:
    """A split of labels that were made up."""

    def __init__(self, *labels: NDArray[np.uint8]) -> None:
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def labels(self, position: int) -> NDArray[np.uint8]:
        return self._labels[position]


def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile: tuple[int, int]) -> Centroids:
    one, other = np.zeros((40, 60), np.uint8), np.full((40, 60), 255, np.uint8)
    one[10:20, 40:60] = 7
    other[39, 59] = 3
    monkeypatch.setattr("engine.data.centroids._key", lambda split, tile: f"key-{tile[0]}")
    return find_centroids(Labels(one, other), tile, tmp_path)  # type: ignore[arg-type]


def test_centroids_are_means_of_a_class_in_a_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made_up(tmp_path, monkeypatch, (40, 60))
    rows = [
        (sample, number, *point)
        for sample, number, point in zip(
            whole.sample.tolist(), whole.train_id.tolist(), whole.point.tolist(), strict=True
        )
    ]
    assert [row[:2] for row in rows] == [(0, 0), (0, 7), (1, 3)]
    assert rows[1][2:] == pytest.approx((15 / 40, 50 / 60))
    assert rows[2][2:] == pytest.approx((39.5 / 40, 59.5 / 60))
    tiles = made_up(tmp_path, monkeypatch, (20, 30))
    assert tiles.train_id.tolist() == [0, 0, 7, 0, 0, 3]
    assert tiles.point[0].tolist() == pytest.approx([0.25, 0.25])
    monkeypatch.setattr(Labels, "labels", None)  # what was found is kept
    again = made_up(tmp_path, monkeypatch, (20, 30))
    np.testing.assert_array_equal(again.point, tiles.point)


def test_a_damaged_file_of_centroids_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made_up(tmp_path, monkeypatch, (40, 60))
    (kept,) = tmp_path.glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:100])
    again = made_up(tmp_path, monkeypatch, (40, 60))
    np.testing.assert_array_equal(again.train_id, first.train_id)


def test_a_cache_and_files_have_the_same_centroids(tmp_path: Path) -> None:
    synthesize(tmp_path / "data", images=5, size=(64, 64), seed=5)
    config = DataConfig(root=str(tmp_path / "data"), size=(32, 48))
    cached = open_dataset(config, tmp_path / "cache").train
    files = open_dataset(config.model_copy(update={"cache": False}), tmp_path / "cache").train
    assert isinstance(cached, CachedSplit)
    assert isinstance(files, FileSplit)
    seen: list[int] = []
    one = find_centroids(cached, (16, 24), tmp_path / "cache", lambda done, total: seen.append(done))
    other = find_centroids(files, (16, 24), tmp_path / "cache")
    assert seen == list(range(1, len(cached) + 1))
    np.testing.assert_array_equal(one.point, other.point)
    np.testing.assert_array_equal(one.sample, other.sample)
    labels = cached.labels(0)
    assert set(one.train_id[one.sample == 0].tolist()) == set(np.unique(labels).tolist()) - {255}
    fewer = replace(cached, indices=cached.indices[1:])
    assert len(find_centroids(fewer, (16, 24), tmp_path / "cache").sample) < len(one.sample)


def rare(images: int = 100) -> Sampling:
    """Class 0 is in every image, class 1 in two."""
    sample = np.array([*range(images), 3, 5])
    train_id = np.array([0] * images + [1] * 2, dtype=np.uint8)
    point = np.stack([train_id / 2 + 0.25] * 2, axis=1).astype(np.float32)
    return Sampling(images, 7, Centroids(sample, train_id, point), share=0.5)


def test_every_class_gets_the_same_number_of_places() -> None:
    plan = rare().plan(0)
    assert plan.focus is not None
    assert (plan.order.shape, plan.focus.shape) == ((100,), (100, 2))
    free = plan.focus.isnan().all(1)
    assert int(free.sum()) == 50
    assert len(plan.order[free].unique()) == 50, "the rest are different images"
    ones = plan.order[plan.focus[:, 0] == 0.75]
    assert sorted(ones.tolist()) == [3] * 12 + [5] * 12 or sorted(ones.tolist()).count(3) in (12, 13)
    zeros = plan.order[plan.focus[:, 0] == 0.25]
    assert (len(zeros), len(zeros.unique())) == (25, 25), "each centroid once before any comes again"
    assert not free[:50].all(), "chosen and free ones are mixed"


def test_a_plan_depends_on_seed_and_epoch_alone() -> None:
    def same(one: Plan, other: Plan) -> bool:
        assert one.focus is not None
        assert other.focus is not None
        return torch.equal(one.order, other.order) and torch.equal(
            one.focus.nan_to_num(-1), other.focus.nan_to_num(-1)
        )

    assert same(rare().plan(3), rare().plan(3))
    assert not same(rare().plan(3), rare().plan(4))
    assert not same(rare().plan(3), replace(rare(), seed=8).plan(3))


def test_without_a_share_every_image_comes_once() -> None:
    plan = Sampling(9, 1).plan(2)
    assert torch.equal(plan.order, shuffled(9, 1, 2))
    assert plan.focus is None


@pytest.mark.parametrize("share", [0.001, 1.0])
def test_shares_at_their_ends_fill_the_epoch(share: float) -> None:
    plan = replace(rare(), share=share).plan(0)
    assert plan.focus is not None
    assert len(plan.order) == 100
    assert int((~plan.focus.isnan()).all(1).sum()) == round(100 * share)
