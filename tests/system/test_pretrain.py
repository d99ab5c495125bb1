"""Pre-training as a run: a worker that learns from images alone."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.run.events import Data, Epoch
from engine.run.journal import read_all
from tests.system.conftest import start_worker, wait_for_event, work
from tests.system.test_worker import MakeRun, curve, digest


@pytest.fixture
def denoising(tiny: RunConfig) -> RunConfig:
    return with_values(
        tiny, {"task": "pretrain", "model.name": "modern_unet", "model.hidden": 2, "data.size": "16x16"}
    )


def test_pretraining_leaves_losses_and_the_weights_of_the_lowest(
    new_run: MakeRun, denoising: RunConfig
) -> None:
    run = new_run(with_values(denoising, {"validation.every": 2}))
    assert work(run) == 0, run.log.read_text()
    events = read_all(run.journal)
    data = next(event for event in events if isinstance(event, Data))
    assert (data.train_images, data.val_images, data.classes) == (6, 2, [])
    epochs = [event for event in events if isinstance(event, Epoch)]
    assert [(event.epoch, event.split) for event in epochs] == [
        (1, "train"),
        (2, "train"),
        (2, "val"),
        (3, "train"),
        (3, "val"),
    ]
    for event in epochs:
        assert event.loss is not None
        assert 0 < event.loss < 3
        assert (event.dice, event.miou, event.class_dice) == (None, None, {})
    assert not any(event.event in ("result", "gallery", "warning") for event in events)
    best = torch.load(run.checkpoints / "best.pt", weights_only=True)
    validation = {event.epoch: event.loss for event in epochs if event.split == "val"}
    assert best["loss"] == min(loss for loss in validation.values() if loss is not None)
    assert validation[best["epoch"]] == best["loss"]
    assert best["classes"] == []
    assert best["model"]["head.weight"].shape[0] == 3


def test_it_goes_on_to_the_same_bits(new_run: MakeRun, denoising: RunConfig) -> None:
    config = with_values(denoising, {"epochs": 4, "augment.scale_min": 0.5})
    whole = new_run(config)
    assert work(whole) == 0, whole.log.read_text()
    broken = new_run(config)
    worker = start_worker(broken)
    wait_for_event(broken, worker, lambda event: event.event == "progress")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=120) == 3, broken.log.read_text()
    worker = start_worker(broken)
    wait_for_event(broken, worker, lambda event: event.event == "checkpoint", broken.journal.stat().st_size)
    worker.kill()
    worker.wait(timeout=120)
    assert work(broken) == 0, broken.log.read_text()
    for name in ("last.pt", "best.pt"):
        assert digest(broken.checkpoints / name) == digest(whole.checkpoints / name)
    assert curve(broken) == curve(whole)


def test_it_takes_any_folder_of_images(
    new_run: MakeRun, denoising: RunConfig, street: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    for index, image in enumerate(sorted((street / "leftImg8bit").rglob("*.png"))):
        (folder / str(index)).mkdir(parents=True)
        (folder / str(index) / "photo.png").symlink_to(image)
    run = new_run(with_values(denoising, {"data.root": str(folder), "epochs": 1}))
    assert work(run) == 0, run.log.read_text()
    data = next(event for event in read_all(run.journal) if isinstance(event, Data))
    assert data.train_images + data.val_images == 10
