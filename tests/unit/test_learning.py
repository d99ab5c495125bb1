from __future__ import annotations

import io
import math
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.learning.checkpoint import (
    CheckpointError,
    DamagedCheckpoint,
    check_fits,
    load_checkpoint,
    save_checkpoint,
)
from engine.losses.builtin import LOSSES
from engine.losses.functions import CrossEntropy, Loss, SoftDice, build_loss
from engine.models.builtin import UNetConfig
from engine.models.unet.network import UNet
from engine.optimizers.groups import build_optimizer
from engine.run import files
from engine.run.files import sweep_temporaries
from engine.schedules import learning_rate

CROSS_ENTROPY, SOFT_DICE = CrossEntropy(), SoftDice(5)


def loss_of(loss: Loss, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return loss.value(loss.sums(logits, labels)).float()


def logits_and_labels(void: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 5, 6, 7, generator=generator)
    labels = torch.randint(0, 5, (2, 6, 7), generator=generator, dtype=torch.uint8)
    if void:
        labels[:, :2] = 255
    return logits, labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("channels_last", [False, True])
def test_cross_entropy_is_the_mean_over_valid_pixels(smoothing: float, channels_last: bool) -> None:
    logits, labels = logits_and_labels()
    if channels_last:
        logits = logits.to(memory_format=torch.channels_last)
    expected = functional.cross_entropy(logits, labels.long(), ignore_index=255, label_smoothing=smoothing)
    actual = loss_of(build_loss(LOSSES.new(label_smoothing=smoothing), 5), logits, labels)
    torch.testing.assert_close(actual, expected)


def test_a_batch_of_void_has_no_loss_and_no_gradient_and_is_not_nan() -> None:
    logits, labels = logits_and_labels()
    for dice in (0.0, 0.5):
        leaf = logits.clone().requires_grad_()
        loss_function = build_loss(LOSSES.new(cross_entropy=1 - dice, dice=dice), 5)
        loss = loss_of(loss_function, leaf, torch.full_like(labels, 255))
        loss.backward()
        assert math.isfinite(float(loss.detach()))
        assert leaf.grad is not None
        assert float(leaf.grad.abs().sum()) == 0


def test_the_loss_of_half_precision_logits_is_computed_in_full() -> None:
    logits, labels = logits_and_labels()
    half = logits.bfloat16()
    torch.testing.assert_close(
        loss_of(CROSS_ENTROPY, half, labels), loss_of(CROSS_ENTROPY, half.float(), labels)
    )


def test_soft_dice_is_zero_for_a_certain_right_answer_and_near_one_for_a_wrong_one() -> None:
    _, labels = logits_and_labels()
    right = functional.one_hot(torch.where(labels == 255, 0, labels).long(), 5).movedim(-1, 1) * 100.0
    assert float(loss_of(SOFT_DICE, right, labels)) == pytest.approx(0, abs=1e-6)
    assert float(loss_of(SOFT_DICE, right.roll(1, dims=1), labels)) == pytest.approx(1, abs=1e-6)


def test_soft_dice_ignores_void_pixels() -> None:
    logits, labels = logits_and_labels()
    changed = logits.clone()
    changed[:, :, :2] += 7
    changed[:, 0, :2] -= 9
    torch.testing.assert_close(loss_of(SOFT_DICE, changed, labels), loss_of(SOFT_DICE, logits, labels))


def test_schedules_rise_then_fall() -> None:
    base = with_values(
        get_recipe("paper-unet"), {"epochs": 10, "optimizer.lr": 1, "schedule.warmup_epochs": 2}
    )
    steps = 5
    for name, last in (("constant", 1.0), ("cosine", 0.00154), ("poly", 0.036)):
        config = with_values(base, {"schedule.name": name})
        rates = [learning_rate(config, step, steps) for step in range(50)]
        assert rates[:10] == sorted(rates[:10])
        assert 0 < rates[0] < 0.1
        assert rates[10] == 1
        assert rates[10:] == sorted(rates[10:], reverse=True)
        assert rates[-1] == pytest.approx(last, rel=0.05)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_norms_and_biases_are_spared_the_weight_decay(name: str) -> None:
    config = with_values(get_recipe("quick"), {"optimizer.name": name, "optimizer.weight_decay": 0.1})
    model = UNet(3, 4, width=2)
    optimizer = build_optimizer(config.optimizer, model)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(model.parameters()))
    for key, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.1 if parameter.ndim >= 2 else 0), key


def test_a_checkpoint_comes_back_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": {"w": torch.arange(1000.0)}, "epoch": 3})
    assert load_checkpoint(path)["epoch"] == 3
    whole = path.read_bytes()
    for damage in (b"", b"not a checkpoint", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(damage)
        with pytest.raises(CheckpointError, match=r"last\.pt: is damaged") as caught:
            load_checkpoint(path)
        assert "\n" not in str(caught.value)
    torch.save({"epoch": 3}, path)
    with pytest.raises(CheckpointError, match="no checkpoint of this program"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "absent.pt")


def test_a_flipped_bit_anywhere_is_noticed_or_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    weights = torch.arange(300.0)
    save_checkpoint(path, {"model": {"w": weights}, "epoch": 3})
    whole = path.read_bytes()
    rng = random.Random(0)
    noticed = 0
    for position in range(len(whole)):
        content = bytearray(whole)
        content[position] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            loaded = load_checkpoint(path)
        except DamagedCheckpoint:
            noticed += 1
        else:
            assert loaded["epoch"] == 3, position
            assert torch.equal(loaded["model"]["w"], weights), position
    assert noticed > 4 * weights.numel(), "every bit of the weights counts"


def test_no_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"epoch": 3})

    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(torch.OutOfMemoryError):
        load_checkpoint(path)


class DeadlyFile(io.FileIO):
    """Kills its process once `left` more bytes are written."""

    left = 0

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        if len(view) >= self.left:
            super().write(view[: self.left])
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= len(view)
        return super().write(view)


def test_a_kill_at_any_byte_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": {"w": torch.zeros(300)}, "epoch": 1})
    size = path.stat().st_size
    rng = random.Random(0)
    for killed_at in [1, size - 1, *(rng.randrange(size) for _ in range(30))]:
        child = os.fork()
        if child == 0:
            DeadlyFile.left = killed_at
            monkeypatch.setattr(files, "open", DeadlyFile, raising=False)
            save_checkpoint(path, {"model": {"w": torch.ones(300)}, "epoch": 2})
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert load_checkpoint(path)["epoch"] == 1
        assert len(sweep_temporaries(tmp_path)) == 1
    assert [child.name for child in tmp_path.iterdir()] == ["last.pt"]


def test_a_disk_that_refuses_a_checkpoint_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"epoch": 1})

    class Full(io.FileIO):
        def write(self, data: Any, /) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "open", Full, raising=False)
    with pytest.raises(CheckpointError, match=r"last\.pt: cannot be written: No space left on device$"):
        save_checkpoint(path, {"epoch": 2, "model": torch.zeros(1000)})
    monkeypatch.undo()
    assert load_checkpoint(path)["epoch"] == 1
    assert [child.name for child in tmp_path.iterdir()] == ["last.pt"]


def test_a_checkpoint_of_other_classes_is_refused_by_name(tmp_path: Path) -> None:
    content = {"model_config": {"name": "unet"}, "classes": ["road", "sky"]}
    check_fits(tmp_path / "last.pt", content, UNetConfig(), ["road", "sky"])
    with pytest.raises(CheckpointError, match=r"knows the 2 classes road, sky; the run's 1 are car"):
        check_fits(tmp_path / "last.pt", content, UNetConfig(), ["car"])
