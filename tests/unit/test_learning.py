from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from engine.config import LossConfig
from engine.config_keys import with_values
from engine.learning.checkpoint import CheckpointError, check_fits, load_checkpoint, save_checkpoint
from engine.learning.losses import build_loss, soft_dice_loss
from engine.learning.optimizers import build_optimizer, learning_rate
from engine.models.unet import UNet
from engine.recipes import get_recipe

CROSS_ENTROPY = build_loss(LossConfig())


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
    actual = build_loss(LossConfig(label_smoothing=smoothing))(logits, labels)
    torch.testing.assert_close(actual, expected)


def test_a_batch_of_void_has_no_loss_and_no_gradient_and_is_not_nan() -> None:
    logits, labels = logits_and_labels()
    for name in ("cross_entropy", "cross_entropy_dice"):
        leaf = logits.clone().requires_grad_()
        loss = build_loss(LossConfig(name=name))(leaf, torch.full_like(labels, 255))
        loss.backward()
        assert math.isfinite(float(loss.detach()))
        assert leaf.grad is not None
        assert float(leaf.grad.abs().sum()) == 0


def test_the_loss_of_half_precision_logits_is_computed_in_full() -> None:
    logits, labels = logits_and_labels()
    half = logits.bfloat16()
    torch.testing.assert_close(CROSS_ENTROPY(half, labels), CROSS_ENTROPY(half.float(), labels))


def test_soft_dice_is_zero_for_a_certain_right_answer_and_near_one_for_a_wrong_one() -> None:
    _, labels = logits_and_labels()
    right = functional.one_hot(torch.where(labels == 255, 0, labels).long(), 5).movedim(-1, 1) * 100.0
    assert float(soft_dice_loss(right, labels)) == pytest.approx(0, abs=1e-6)
    assert float(soft_dice_loss(right.roll(1, dims=1), labels)) == pytest.approx(1, abs=1e-6)


def test_soft_dice_ignores_void_pixels() -> None:
    logits, labels = logits_and_labels()
    changed = logits.clone()
    changed[:, :, :2] += 7
    changed[:, 0, :2] -= 9
    torch.testing.assert_close(soft_dice_loss(changed, labels), soft_dice_loss(logits, labels))


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
    with pytest.raises(CheckpointError, match="is not there"):
        load_checkpoint(tmp_path / "absent.pt")


def test_a_checkpoint_of_other_classes_is_refused_by_name(tmp_path: Path) -> None:
    content = {"model_config": {"name": "unet"}, "classes": ["road", "sky"]}
    check_fits(tmp_path / "last.pt", content, {"name": "unet"}, ["road", "sky"])
    with pytest.raises(CheckpointError, match=r"knows the 2 classes road, sky; the run's 1 are car"):
        check_fits(tmp_path / "last.pt", content, {"name": "unet"}, ["car"])
