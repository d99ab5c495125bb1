"""The worker as a process of its own: config in; journal, checkpoints and pictures out."""

from __future__ import annotations

import hashlib
import math
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.classes import CITYSCAPES
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.host.processes import is_alive
from engine.run.directory import RunDir
from engine.run.events import Checkpoint, Data, Epoch, Failed, Finished, Gallery, Started, Stopped
from engine.run.journal import JournalWriter, read_all
from engine.run.scoring_events import Result
from engine.worker.job import Job
from tests.engine.made_up_runs import epoch_event
from tests.system.conftest import start_worker, wait_for_event, work

MakeRun = Callable[[RunConfig], RunDir]


def digest(checkpoint: Path) -> str:
    """One hash of all weights of a checkpoint, their average included."""
    content = torch.load(checkpoint, weights_only=True)
    sha = hashlib.sha256()
    for weights in (content["model"], content.get("ema", {}).get("model", {})):
        for name in sorted(weights):
            sha.update(name.encode() + weights[name].numpy().tobytes())
    return sha.hexdigest()


def curve(run: RunDir) -> dict[tuple[int, str], tuple[float | None, float | None, float | None]]:
    """What was measured in each epoch; a later attempt's word replaces an earlier one's."""
    return {
        (event.epoch, event.split): (event.loss, event.dice, event.dice_image)
        for event in read_all(run.journal)
        if isinstance(event, Epoch)
    }


def test_a_run_leaves_its_whole_story(new_run: MakeRun, tiny: RunConfig) -> None:
    run = new_run(tiny)
    assert work(run) == 0, run.log.read_text()

    events = read_all(run.journal)
    kinds = [event.event for event in events]
    assert kinds[0] == "started"
    assert kinds[-3:] == ["result", "used", "finished"]
    assert [event.seq for event in events] == list(range(len(events)))
    data = next(event for event in events if isinstance(event, Data))
    assert (data.train_images, data.val_images) == (6, 2)
    assert data.classes == list(CITYSCAPES.names)

    epochs = [event for event in events if isinstance(event, Epoch)]
    assert [(event.epoch, event.split) for event in epochs] == [
        (epoch, split) for epoch in (1, 2, 3) for split in ("train", "val")
    ]
    for event in epochs:
        assert event.dice is not None
        assert 0 <= event.dice <= 1
        assert event.loss is not None
        assert event.loss > 0
        defined = [value for value in event.class_dice.values() if value is not None]
        assert event.dice == pytest.approx(sum(defined) / len(defined), abs=1e-12)

    result = next(event for event in events if isinstance(event, Result))
    validation = {event.epoch: event.dice for event in epochs if event.split == "val"}
    assert result.dice == max(value for value in validation.values() if value is not None)
    assert validation[result.epoch] == result.dice
    valid_pixels = sum(sum(row) for row in result.confusion)
    assert 0 < valid_pixels <= 2 * 32 * 32

    best = torch.load(run.checkpoints / "best.pt", weights_only=True)
    assert (best["epoch"], best["classes"]) == (result.epoch, list(CITYSCAPES.names))
    assert (run.outputs / "picture.png").exists()
    record = run.read_exit()
    assert record is not None
    assert (record.status, record.cause) == ("finished", "completed")
    process = run.read_proc()
    assert process is not None
    assert is_alive(process) is False
    assert list(run.path.rglob("*.tmp")) == []


def test_the_gallery_holds_class_maps_in_the_class_colours(new_run: MakeRun, tiny: RunConfig) -> None:
    run = new_run(tiny)
    assert work(run) == 0, run.log.read_text()
    pictures = [event for event in read_all(run.journal) if isinstance(event, Gallery)]
    assert [event.epoch for event in pictures] == [2, 3]
    for event in pictures:
        assert len(event.samples) == 2
        for sample in event.samples:
            prediction = Image.open(run.path / event.path / f"{sample}.png")
            assert (prediction.mode, prediction.size) == ("P", (32, 32))
            assert np.asarray(prediction).max() < len(CITYSCAPES)
            assert bytes(prediction.getpalette() or [])[:3] == bytes(CITYSCAPES.classes[0].color)
            assert Image.open(run.gallery / "inputs" / f"{sample}_image.png").size == (32, 32)
            assert Image.open(run.gallery / "inputs" / f"{sample}_target.png").mode == "P"


FACTORS = {"optimizer.encoder_lr_factor": 0.3, "optimizer.head_lr_factor": 3, "optimizer.layer_decay": 0.9}
TOOLBOX = {
    "optimizer.bias_lr_factor": 2,
    "ema.decay": 0.9,
    "loss.ohem": 0.5,
    "loss.class_weights": "enet",
    "model.deep_supervision": 2,
}


@pytest.mark.parametrize(
    "values",
    [{"precision": "fp32"}, {"precision": "bf16", **FACTORS, **TOOLBOX}],
    ids=["fp32", "bf16, several rates, an average"],
)
def test_a_stopped_run_goes_on_to_the_same_bits(
    new_run: MakeRun, tiny: RunConfig, values: dict[str, object]
) -> None:
    config = with_values(tiny, {**values, "epochs": 4})
    whole = new_run(config)
    assert work(whole) == 0, whole.log.read_text()

    broken = new_run(config)
    stopped_after = []
    for _ in range(2):  # stop in the middle of the first epoch, then wherever the second signal meets it
        seen = broken.journal.stat().st_size if broken.journal.exists() else 0
        worker = start_worker(broken)
        wait_for_event(broken, worker, lambda event: event.event == "progress", seen)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=120) == 3, broken.log.read_text()
        record = broken.read_exit()
        assert record is not None
        assert (record.status, record.cause) == ("stopped", "stopped")
        stopped_after.append(torch.load(broken.checkpoints / "last.pt", weights_only=True)["step"])
    assert any(step > 0 for step in stopped_after), "no stop fell inside an epoch"
    assert work(broken) == 0, broken.log.read_text()

    assert digest(broken.checkpoints / "last.pt") == digest(whole.checkpoints / "last.pt")
    assert digest(broken.checkpoints / "best.pt") == digest(whole.checkpoints / "best.pt")
    assert curve(broken) == curve(whole)
    attempts = [event.attempt for event in read_all(broken.journal) if isinstance(event, Started)]
    assert attempts == [1, 2, 3]


def test_a_run_whose_scores_do_not_improve_ends_early_and_says_so(new_run: MakeRun, tiny: RunConfig) -> None:
    values = {"epochs": 9, "early_stop.patience": 2, "early_stop.min_improvement": 1, "ema.decay": 0.9}
    run = new_run(with_values(tiny, values))
    for attempt in (1, 2):  # the second stands for that after a crash at the very end
        assert work(run) == 0, run.log.read_text()
        events = read_all(run.journal)
        last = events[-1]
        assert isinstance(last, Finished)
        assert (last.attempt, last.cause, last.epoch) == (attempt, "early_stop", 3)
    assert (
        "no improvement of validation dice by more than 1 in 2 epochs, since epoch 1" in run.log.read_text()
    )
    assert [event.epoch for event in events if isinstance(event, Gallery)] == [2, 3], "of the last epoch, too"
    validations = [event for event in events if isinstance(event, Epoch) and event.split == "val"]
    assert [event.epoch for event in validations] == [1, 2, 3]
    for event in validations:
        raw = {score.name: score.value for score in event.metrics if score.name.startswith("raw_")}
        assert raw.keys() == {"raw_loss", "raw_dice", "raw_miou"}
        assert raw["raw_loss"] != event.loss, "the scores are those of the average"


def test_a_budget_of_images_ends_a_run_at_the_same_bits_after_stops(
    new_run: MakeRun, tiny: RunConfig
) -> None:
    """6 training images in batches of 2: 15 images are two epochs, a step of two images and one of one."""
    values = {
        "budget.images": 15,
        "schedule.name": "cosine",
        "schedule.warmup_epochs": 0,
        "validation.every": 2,
        "gallery.every": 5,
        "checkpoint.keep_every": 3,
    }
    config = with_values(tiny, {**values, "epochs": 50})
    whole = new_run(config)
    assert work(whole) == 0, whole.log.read_text()
    events = read_all(whole.journal)
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.cause, last.epoch) == ("budget", 3)
    scored = [(event.epoch, event.split) for event in events if isinstance(event, Epoch)]
    assert scored == [(1, "train"), (2, "train"), (2, "val"), (3, "train"), (3, "val")]
    used = [event.budget_used for event in events if isinstance(event, Epoch)]
    assert used == [6 / 15, 12 / 15, 12 / 15, 1, 1]
    assert [event.epoch for event in events if isinstance(event, Gallery)] == [3]
    assert (whole.checkpoints / "epoch_0003.pt").exists()
    rates = [event.lr for event in events if isinstance(event, Epoch) and event.split == "train"]
    expected = [0.5 * (1 + math.cos(math.pi * share / 15)) for share in (4, 10, 14)]
    assert rates == pytest.approx([rate * config.optimizer.lr for rate in expected])

    broken = new_run(config)
    for _ in range(2):
        seen = broken.journal.stat().st_size if broken.journal.exists() else 0
        worker = start_worker(broken)
        wait_for_event(broken, worker, lambda event: event.event in ("progress", "epoch"), seen)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=120) in (0, 3), broken.log.read_text()
    assert work(broken) == 0, broken.log.read_text()
    assert digest(broken.checkpoints / "last.pt") == digest(whole.checkpoints / "last.pt")
    assert curve(broken) == curve(whole)


def test_a_budget_of_hours_ends_a_run_in_time(new_run: MakeRun, tiny: RunConfig) -> None:
    run = new_run(with_values(tiny, {"budget.hours": 3 / 3600, "schedule.name": "cosine"}))
    worker = start_worker(run)
    wait_for_event(run, worker, lambda event: event.event == "epoch")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=120) == 3, run.log.read_text()
    before = torch.load(run.checkpoints / "last.pt", weights_only=True)["length"]
    assert 0 < before["seconds"] < 3
    assert work(run) == 0, run.log.read_text()
    events = read_all(run.journal)
    last = events[-1]
    assert isinstance(last, Finished)
    assert last.cause == "budget"
    # A machine that others use may be slow at any moment: what is asserted is that both attempts count.
    assert last.seconds < 3 - before["seconds"] + 5
    assert 2 < torch.load(run.checkpoints / "last.pt", weights_only=True)["length"]["seconds"] < 8
    rates = [event.lr for event in events if isinstance(event, Epoch) and event.split == "train"]
    assert rates[-1] < 0.5 * rates[0], "the cosine comes to its end"
    assert f"budget.hours={3 / 3600:g}: " in run.log.read_text()


def test_a_killed_run_goes_on_to_the_same_bits(new_run: MakeRun, tiny: RunConfig) -> None:
    whole = new_run(tiny)
    assert work(whole) == 0, whole.log.read_text()
    broken = new_run(tiny)
    worker = start_worker(broken)
    wait_for_event(broken, worker, lambda event: event.event == "checkpoint")
    worker.kill()
    assert worker.wait(timeout=120) == -signal.SIGKILL
    assert broken.read_exit() is None
    assert work(broken) == 0, broken.log.read_text()
    assert digest(broken.checkpoints / "last.pt") == digest(whole.checkpoints / "last.pt")
    assert curve(broken) == curve(whole)


def test_preemption_is_told_from_a_stop(new_run: MakeRun, tiny: RunConfig) -> None:
    run = new_run(with_values(tiny, {"epochs": 50}))
    worker = start_worker(run)
    wait_for_event(run, worker, lambda event: event.event == "epoch")
    worker.send_signal(signal.SIGUSR2)
    assert worker.wait(timeout=120) == 3
    last = read_all(run.journal)[-1]
    assert isinstance(last, Stopped)
    assert last.cause == "preempted"
    assert last.epoch >= 1


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(new_run: MakeRun, tiny: RunConfig) -> None:
    # Each step multiplies the weights by 1 - lr * weight_decay = -9, until they overflow.
    hopeless = {"optimizer.lr": 1, "optimizer.weight_decay": 10, "schedule.name": "constant", "epochs": 200}
    run = new_run(with_values(tiny, hopeless))
    assert work(run) == 1
    failed = read_all(run.journal)[-1]
    assert isinstance(failed, Failed)
    assert failed.cause == "diverged"
    assert "the loss became" in failed.message
    assert "optimizer.lr" in failed.message
    kept = torch.load(run.checkpoints / "last.pt", weights_only=True)
    assert kept["epoch"] == max(epoch for epoch, _ in curve(run))
    assert all(weight.isfinite().all() for weight in kept["model"].values())


def test_a_run_directory_runs_wherever_it_is_copied(
    new_run: MakeRun, tiny: RunConfig, tmp_path: Path
) -> None:
    run = new_run(tiny)
    away = RunDir(tmp_path / "elsewhere" / "runs" / run.id)
    shutil.copytree(run.path, away.path)
    assert work(away) == 0, away.log.read_text()
    assert (tmp_path / "elsewhere" / "cache").is_dir()
    assert read_all(away.journal)[-1].event == "finished"
    assert read_all(run.journal) == []


def test_bad_data_fails_the_run_with_one_line(new_run: MakeRun, tiny: RunConfig, tmp_path: Path) -> None:
    run = new_run(with_values(tiny, {"data.root": str(tmp_path / "nowhere")}))
    assert work(run) == 1
    failed = read_all(run.journal)[-1]
    assert isinstance(failed, Failed)
    assert failed.cause == "exception"
    assert "nowhere" in failed.message
    assert "\n" not in failed.message
    assert "Traceback" in failed.traceback
    record = run.read_exit()
    assert record is not None
    assert (record.status, record.message) == ("failed", failed.message)


def test_a_device_that_is_not_here_is_refused_in_words(new_run: MakeRun, tiny: RunConfig) -> None:
    run = new_run(with_values(tiny, {"device": "cuda:63"}))
    assert work(run) == 1
    failed = read_all(run.journal)[-1]
    assert isinstance(failed, Failed)
    assert failed.message.startswith("device: cuda:63 is not here;")


def test_a_checkpoint_of_other_classes_or_another_network_is_refused(
    new_run: MakeRun, tiny: RunConfig
) -> None:
    run = new_run(with_values(tiny, {"epochs": 1}))
    assert work(run) == 0, run.log.read_text()
    wider = new_run(with_values(tiny, {"epochs": 2, "model.width": 8}))
    shutil.copy(run.checkpoints / "last.pt", wider.checkpoints / "last.pt")
    assert work(wider) == 1
    failed = read_all(wider.journal)[-1]
    assert isinstance(failed, Failed)
    assert "is of the model" in failed.message
    assert "last.pt" in failed.message


def test_without_a_cache_the_same_is_learnt(new_run: MakeRun, tiny: RunConfig) -> None:
    cached, uncached = new_run(tiny), new_run(with_values(tiny, {"data.cache": False, "data.workers": 1}))
    assert work(cached) == 0, cached.log.read_text()
    assert work(uncached) == 0, uncached.log.read_text()
    assert curve(cached) == curve(uncached)
    assert digest(cached.checkpoints / "last.pt") == digest(uncached.checkpoints / "last.pt")


def test_a_step_that_batch_norm_refuses_ends_a_run_before_its_first(
    new_run: MakeRun, tiny: RunConfig
) -> None:
    changes = {"data.size": "16x16", "data.split": "official", "batch_size": 7}
    run = new_run(with_values(tiny, changes))  # eight images train
    assert work(run) == 1
    events = read_all(run.journal)
    assert not any(isinstance(event, Epoch | Checkpoint) for event in events)
    failed = events[-1]
    assert isinstance(failed, Failed)
    assert failed.message.endswith("(8 training images, batch_size=7); data.size=32x32 or batch_size=8 works")


def test_whatever_is_wrong_with_tensorboard_costs_the_plots_and_not_the_run(
    new_run: Callable[[RunConfig], RunDir],
    tiny: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def refuse(folder: Path) -> None:
        raise TypeError("Descriptors cannot be created directly.")  # by a protobuf that is too new for it

    monkeypatch.setattr("engine.worker.job.EventFile", refuse)
    run = new_run(with_values(tiny, {"report.tensorboard": True}))
    with JournalWriter(run.journal) as journal:
        job = Job(run, run.read_config(), journal, run.path)
        for epoch in (1, 2):
            job.record(epoch_event(epoch, "val", 0.5))
    assert [event.event for event in read_all(run.journal)] == ["epoch", "epoch"]
    told = "nothing more is written for TensorBoard: TypeError: Descriptors cannot be created directly."
    assert capfd.readouterr().out.count(told) == 1
