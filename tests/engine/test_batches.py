from __future__ import annotations

import json
import os
import signal
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.augment.builtin import AUGMENTATIONS
from engine.augment.functions import Draws, build_augmentations
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.config.sections import DataConfig
from engine.data.batches import (
    MEAN,
    STD,
    Batches,
    LoaderBatches,
    ResidentBatches,
    StreamedBatches,
    make_batches,
    normalise,
)
from engine.data.catalog import DataError
from engine.data.class_pixels import count_class_pixels, read_class_pixels, write_class_pixels
from engine.data.dataset import Dataset, open_dataset
from engine.data.decode import map_in_order
from engine.data.sample_readers import CachedSplit, FileSplit
from engine.data.synthetic import synthesize
from engine.host.processes import living_pids, parent_of
from engine.learning.distributed import Group
from engine.learning.hardware import choose_hardware
from engine.training.crops import crops_of_epoch
from engine.training.rng import shuffled, step_generator
from engine.training.state import new_state
from engine.training.step import augmented

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("batches")
    synthesize(root / "data", images=12, size=(64, 64), seed=5)
    return open_dataset(DataConfig(root=str(root / "data"), size=(32, 48)), root / "cache")


@pytest.fixture(scope="module")
def uncached(dataset: Dataset) -> Dataset:
    """The same samples, decoded anew each time."""
    (cache,) = dataset.caches
    root = Path(json.loads((cache.path / "meta.json").read_text())["root"])
    config = DataConfig(root=str(root), size=(32, 48), cache=False, workers=2)
    opened = open_dataset(config, root.parent / "uncached")
    assert opened.caches == ()
    assert not list((root.parent / "uncached").rglob("*.npy"))
    return opened


@pytest.fixture(params=["resident", "streamed", "loader"])
def batches(request: pytest.FixtureRequest, dataset: Dataset, uncached: Dataset) -> Batches:
    """All implementations must be the same to whoever trains."""
    if request.param == "streamed":
        assert isinstance(dataset.train, CachedSplit)
        return StreamedBatches(dataset.train, CPU)
    chosen = dataset if request.param == "resident" else uncached
    source = make_batches([chosen.train, chosen.val], CPU)[0]
    assert isinstance(source, ResidentBatches if request.param == "resident" else LoaderBatches)
    return source


def test_pixels_of_classes_are_counted_alike_and_once(
    dataset: Dataset, uncached: Dataset, tmp_path: Path
) -> None:
    classes, path = dataset.class_set, tmp_path / "class_pixels.json"
    labels = np.stack([dataset.train.sample(position)[1] for position in range(len(dataset.train))])
    expected = [int((labels == index).sum()) for index in range(len(classes))]
    assert sum(expected) > 0
    assert (
        count_class_pixels(dataset.train, classes) == count_class_pixels(uncached.train, classes) == expected
    )
    assert read_class_pixels(path, classes) is None
    write_class_pixels(path, classes, expected)
    assert read_class_pixels(path, classes) == expected
    for damaged in ("{", '{"pixels": {}}', json.dumps({"pixels": dict.fromkeys(classes.names, -1)})):
        path.write_text(damaged)
        with pytest.raises(DataError, match=r"class_pixels.json: is damaged"):
            read_class_pixels(path, classes)


def test_batches_are_the_cached_samples_in_the_order_asked_for(batches: Batches, dataset: Dataset) -> None:
    order = torch.tensor([3, 1, 4, 0, 5])
    got = list(batches(order, batch_size=2))
    assert [len(batch.labels) for batch in got] == [2, 2, 1]
    assert got[0].images.shape == (2, 32, 48, 3)
    assert got[0].images.dtype == got[0].labels.dtype == torch.uint8
    assert isinstance(dataset.train, CachedSplit)
    rows = dataset.train.indices[order.numpy()]
    np.testing.assert_array_equal(
        torch.cat([b.images for b in got]).numpy(), dataset.train.cache.images[rows]
    )
    np.testing.assert_array_equal(
        torch.cat([b.labels for b in got]).numpy(), dataset.train.cache.labels[rows]
    )


def test_crops_are_cut_where_the_whole_image_would_be(batches: Batches) -> None:
    """For each source, with and without points to contain, from any batch on, on two ranks."""
    config = with_values(
        RunConfig(),
        {"data.size": "32x48", "augment.crop": "16x32", "augment.flip": 0.5, "batch_size": 3}
        | {"model.width": 4, "device": "cpu"},
    )
    state = new_state(config, choose_hardware(config), ["a", "b"])
    state.begin_epoch(7)
    assert state.augment.cut is not None
    for group, focused, start in ((Group(), False, 1), (Group(1, 2), True, 0)):
        order, local_size = group.share_of(torch.randperm(7), config.batch_size)
        points = torch.rand(7, 2) if focused else None
        focus = None if points is None else group.share_of(points, config.batch_size)[0]
        crops = crops_of_epoch(state, 7, order, local_size, focus, group)
        whole, cut = (list(batches(order, local_size, start=start, crops=each)) for each in (None, crops))
        assert len(whole) == len(cut) == 3 - start
        for state.step, (all_of_it, part) in enumerate(zip(whole, cut, strict=True), start):
            assert part.labels.shape[1:] == (16, 32)
            here = slice(state.step * local_size, (state.step + 1) * local_size)
            images = min(config.batch_size, 7 - state.step * config.batch_size)
            found, expected = (
                augmented(state, replace(batch, focus=None if focus is None else focus[here]), images, group)
                for batch in (part, all_of_it)
            )
            assert torch.equal(found[0], expected[0])
            assert torch.equal(found[1], expected[1])


def test_starting_later_leaves_out_the_first_batches(batches: Batches) -> None:
    order = torch.randperm(6)
    whole, rest = list(batches(order, 2)), list(batches(order, 2, start=2))
    assert len(rest) == len(whole) - 2
    torch.testing.assert_close(rest[0].images, whole[2].images)
    assert list(batches(order, 2, start=3)) == []


def test_leaving_early_does_not_hang(batches: Batches) -> None:
    for _ in range(5):
        for _ in batches(torch.arange(8), 1):
            break


def test_torch_has_nothing_to_warn_of_in_a_sample(dataset: Dataset, uncached: Dataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for opened in (dataset, uncached):
            for array in opened.train.sample(0):
                torch.from_numpy(array)


def test_training_and_validation_do_not_overlap(dataset: Dataset) -> None:
    train = {dataset.train.name(i) for i in range(len(dataset.train))}
    val = {dataset.val.name(i) for i in range(len(dataset.val))}
    assert not train & val
    assert len(dataset.train) == len(train) == 8
    assert len(dataset.val) == len(val) == 2


def test_normalised_images_are_channels_last_without_a_copy() -> None:
    images = torch.randint(0, 256, (2, 4, 6, 3), dtype=torch.uint8)
    out = normalise(images)
    assert out.shape == (2, 3, 4, 6)
    assert out.is_contiguous(memory_format=torch.channels_last)
    expected = (float(images[1, 2, 3, 0]) - MEAN[0]) / STD[0]
    assert float(out[1, 0, 2, 3]) == pytest.approx(expected, rel=1e-5)


def test_a_mirror_image_keeps_image_and_label_together() -> None:
    images = torch.randint(0, 256, (64, 4, 6, 3), dtype=torch.uint8)
    labels = images[..., 0].clone()
    mirror = build_augmentations(AUGMENTATIONS.new(flip=0.5))
    flipped, labels_flipped = mirror(images, labels, Draws(step_generator(0, 0, 0)))
    torch.testing.assert_close(flipped[..., 0], labels_flipped)
    mirrored = [
        torch.equal(a, b.flip(1)) and not torch.equal(a, b) for a, b in zip(flipped, images, strict=True)
    ]
    assert 16 < sum(mirrored) < 48
    again, _ = build_augmentations(AUGMENTATIONS.new(flip=0.5))(
        images, labels, Draws(step_generator(0, 0, 0))
    )
    torch.testing.assert_close(again, flipped)
    same, _ = build_augmentations(AUGMENTATIONS.new(flip=0.0))(images, labels, Draws(step_generator(0, 0, 0)))
    assert same is images


def test_zoom_moves_image_and_label_together_and_invents_no_class() -> None:
    # Each class has a colour of its own in large patches: wherever a label lands, its colour must be.
    labels = (
        torch.randint(0, 5, (16, 4, 4), dtype=torch.uint8).repeat_interleave(16, 1).repeat_interleave(16, 2)
    )
    images = (labels * 50)[..., None].expand(-1, -1, -1, 3).contiguous()
    config = AUGMENTATIONS.new(scale_min=0.5, scale_max=2.0)
    zoomed, moved = build_augmentations(config)(images, labels, Draws(step_generator(1, 0, 0)))
    assert zoomed.shape == images.shape
    assert moved.shape == labels.shape
    assert set(moved.unique().tolist()) <= {0, 1, 2, 3, 4, 255}
    assert not torch.equal(moved, labels)
    valid = moved != 255
    assert 0.4 < float(valid.float().mean()) < 1
    close = (zoomed[..., 0].int() - moved.int() * 50).abs() <= 1
    assert float(close[valid].float().mean()) > 0.85  # all but the blended edges of the patches


def test_zoom_above_one_leaves_no_border() -> None:
    labels = torch.randint(0, 5, (8, 32, 48), dtype=torch.uint8)
    images = labels[..., None].expand(-1, -1, -1, 3)
    config = AUGMENTATIONS.new(scale_min=1.2, scale_max=2.0)
    _, moved = build_augmentations(config)(images, labels, Draws(step_generator(1, 0, 0)))
    assert int(moved.max()) < 5


def test_colour_jitter_leaves_labels_alone_and_changes_each_image_by_itself() -> None:
    images = torch.randint(60, 180, (1, 16, 16, 3), dtype=torch.uint8).expand(4, -1, -1, -1).contiguous()
    labels = torch.zeros(4, 16, 16, dtype=torch.uint8)
    config = AUGMENTATIONS.new(brightness=0.3, contrast=0.3, saturation=0.3)
    changed, same = build_augmentations(config)(images, labels, Draws(step_generator(2, 0, 0)))
    assert same is labels
    assert changed.dtype == torch.uint8
    means = changed.float().mean(dim=(1, 2, 3))
    assert len(set(means.tolist())) == 4
    assert float((means / images.float().mean()).sub(1).abs().max()) <= 0.31


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert sorted(shuffled(50, seed=1, epoch=0).tolist()) == list(range(50))
    torch.testing.assert_close(shuffled(50, 1, 2), shuffled(50, 1, 2))
    assert not torch.equal(shuffled(50, 1, 2), shuffled(50, 1, 3))
    assert not torch.equal(shuffled(50, 1, 2), shuffled(50, 2, 2))


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("skip_bad", [False, True])
def test_bad_images_are_refused_or_left_out_on_the_record(
    tmp_path: Path, skip_bad: bool, cache: bool
) -> None:
    synthesize(tmp_path / "data", images=6, size=(64, 64), seed=5)
    victim = sorted((tmp_path / "data" / "leftImg8bit" / "train").rglob("*.png"))[0]
    victim.write_bytes(victim.read_bytes()[:200])
    config = DataConfig(root=str(tmp_path / "data"), size=(32, 32), skip_bad=skip_bad, cache=cache)
    if skip_bad:
        data = open_dataset(config, tmp_path / "cache")
        assert len(data.train) + len(data.val) == 4
        assert [fault.kind for fault in data.skipped] == ["unreadable"]
    else:
        with pytest.raises(Exception, match=r"seg-engine data check .*--skip-bad") as caught:
            open_dataset(config, tmp_path / "cache")
        assert victim.name in str(caught.value)


def loaders() -> list[int]:
    return [pid for pid in living_pids() if parent_of(pid) == os.getpid()]


def test_a_fault_in_a_loader_is_told_as_it_is_and_no_process_stays(uncached: Dataset, tmp_path: Path) -> None:
    assert isinstance(uncached.train, FileSplit)
    sample = uncached.train.samples[3]
    gone = replace(sample, image=tmp_path / "gone.png")
    split = replace(uncached.train, samples=(*uncached.train.samples[:3], gone))
    before = loaders()
    with pytest.raises(DataError, match=r"gone\.png: there is no such file") as raised:
        list(LoaderBatches(split, CPU)(torch.arange(4), 2))
    assert str(raised.value).endswith("gone.png: there is no such file")
    assert any("in sample" in note for note in raised.value.__notes__)  # where it went wrong
    del raised
    assert loaders() == before


def test_a_loader_that_is_stuck_is_waited_for_until_a_stop_and_then_killed(
    uncached: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped processes stand for those that a network disk holds: they hear no SIGTERM."""

    class Stop(Exception):
        pass

    waited: list[bool] = []

    def on_wait() -> None:
        waited.append(True)
        if len(waited) == 1:
            for pid in stuck:
                os.kill(pid, signal.SIGCONT)  # it was only slow
        else:
            raise Stop

    monkeypatch.setattr("engine.data.decode.PATIENCE_SECONDS", 0.3)
    assert isinstance(uncached.train, FileSplit)
    order, before = torch.arange(2).repeat(40), set(loaders())
    batches = LoaderBatches(replace(uncached.train, workers=1), CPU, on_wait=on_wait)(order, 2)
    next(batches)
    stuck = set(loaders()) - before
    assert stuck
    for pid in stuck:
        os.kill(pid, signal.SIGSTOP)
    for _ in range(5):  # more than were loaded ahead
        next(batches)
    assert waited == [True]
    for pid in stuck:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(Stop):
        list(batches)
    assert set(loaders()) == before


def test_a_reader_that_is_stuck_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.data.decode.PATIENCE_SECONDS", 0.2)
    answer = threading.Event()
    stop = RuntimeError("to be stopped")

    def on_wait() -> None:
        raise stop

    with pytest.raises(RuntimeError, match="to be stopped"):
        next(map_in_order(lambda item: answer.wait(), range(3), 2, on_wait))
    answer.set()
