"""Learning from a trained network: what its loss is, what it leaves alone, what cannot teach."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.config.keys import ConfigError, with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.batches import Batch
from engine.learning.checkpoint import CheckpointError, save_checkpoint
from engine.learning.distributed import Group
from engine.learning.hardware import Hardware
from engine.training.distillation import Teacher, load_teacher
from engine.training.objectives import Segmentation
from engine.training.state import TrainState, new_state
from engine.training.step import taught_pixels_of_step, training_step

CPU = Hardware(torch.device("cpu"), "a CPU", "fp32")
CLASSES = ["road", "sky", "car"]
STUDENT = with_values(
    get_recipe("quick-modern"),
    {
        "device": "cpu",
        "model.hidden": 2,
        "data.size": "16x32",
        "batch_size": 4,
        "optimizer.name": "sgd",
        "optimizer.lr": 0.01,
    },
)
TEACHER = with_values(
    get_recipe("quick"), {"device": "cpu", "model.width": 2, "data.size": "32x32", "seed": 5}
)

Keep = Callable[..., Path]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Writes the checkpoint of a network that was drawn at random."""

    def keep(config: RunConfig = TEACHER, classes: list[str] = CLASSES, **more: object) -> Path:
        state = new_state(config, CPU, classes)
        content = {"model_config": config.model.model_dump(mode="json"), "classes": classes, "epoch": 3}
        path = tmp_path / "teacher.pt"
        save_checkpoint(path, {**content, "model": state.model.state_dict(), **more})
        return path

    return keep


def loaded(path: Path, student: RunConfig = STUDENT, **keys: object) -> Teacher:
    values = {"distill.from": str(path)} | {f"distill.{key}": value for key, value in keys.items()}
    teacher = load_teacher(with_values(student, values), Path("/"), CPU, CLASSES)
    assert teacher is not None
    return teacher


def labels(*shape: int) -> Tensor:
    drawn = torch.randint(0, 3, shape, dtype=torch.uint8)
    drawn[0, :3] = 255
    return drawn


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (4.0, 0.5)])
def test_the_loss_is_that_of_hinton_over_valid_pixels(keep: Keep, temperature: float, weight: float) -> None:
    teacher = loaded(keep(), temperature=temperature, weight=weight)
    torch.manual_seed(0)
    ours, theirs, truth = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5), labels(2, 4, 5)
    total, pixels = 0.0, 0
    for image, row, column in (truth != 255).nonzero().tolist():
        p = (theirs[image, :, row, column] / temperature).softmax(0)
        q = (ours[image, :, row, column] / temperature).softmax(0)
        total += float((p * (p / q).log()).sum())
        pixels += 1
    expected = weight * temperature**2 * total / pixels
    assert float(teacher.loss(ours, theirs, truth)) == pytest.approx(expected, rel=1e-5)
    assert float(teacher.loss(theirs, theirs, truth)) == pytest.approx(0, abs=1e-6)
    assert float(teacher.loss(ours, theirs, torch.full_like(truth, 255))) == 0


def test_void_pixels_teach_nothing(keep: Keep) -> None:
    teacher, truth = loaded(keep()), labels(2, 4, 5)
    ours = torch.randn(2, 3, 4, 5, requires_grad=True)
    teacher.loss(ours, torch.randn(2, 3, 4, 5), truth).backward()  # type: ignore[no-untyped-call]
    assert ours.grad is not None
    taught = ours.grad.abs().sum(dim=1) > 0
    assert torch.equal(taught, truth != 255)


def stepped(teacher: Teacher | None, **values: object) -> TrainState:
    """The state after one step of a student on four images."""
    config = with_values(STUDENT, {key.replace("__", "."): value for key, value in values.items()})
    state = new_state(config, CPU, CLASSES, teacher=teacher)
    state.begin_epoch(4)
    if isinstance(state.objective, Segmentation) and state.objective.of_classes is not None:
        state.objective.of_classes.learn_class_pixels(torch.tensor([1, 10, 1000]))
    torch.manual_seed(1)
    images = torch.randint(0, 256, (4, 16, 32, 3), dtype=torch.uint8)
    training_step(state, Batch(images, labels(4, 16, 32)), 4)
    return state


def test_a_step_learns_from_the_teacher_and_leaves_it_as_it_is(keep: Keep) -> None:
    path = keep()
    teacher = loaded(path)
    before = {name: each.clone() for name, each in teacher.model.state_dict().items()}
    alone, taught = stepped(None), stepped(teacher)
    assert not torch.equal(alone.model.state_dict()["head.weight"], taught.model.state_dict()["head.weight"])
    assert alone.meter.loss() == taught.meter.loss(), "the loss on record compares with that of validation"
    for name, each in teacher.model.state_dict().items():
        assert torch.equal(each, before[name]), name
    assert all(each.grad is None for each in teacher.model.parameters())
    assert teacher.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("class_weights", ["none", "inverse_frequency"])
def test_micro_batches_learn_the_same_from_it(keep: Keep, class_weights: str) -> None:
    """Also where the cross-entropy weighs pixels by their class: the teacher's term does not."""
    teacher = loaded(keep(), weight=3.0)
    keys = {"loss__class_weights": class_weights}
    whole, parts = stepped(teacher, **keys), stepped(teacher, runtime__micro_batch=3, **keys)
    for name, each in whole.model.state_dict().items():
        torch.testing.assert_close(each, parts.model.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_ranks_learn_from_it_what_one_does(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    """One rank has more valid pixels than the other."""
    teacher, truth = loaded(keep()), labels(4, 16, 32)
    ours, theirs = torch.randn(4, 3, 16, 32, requires_grad=True), torch.randn(4, 3, 16, 32)
    (whole,) = torch.autograd.grad(teacher.loss(ours, theirs, truth), ours)
    monkeypatch.setattr(Group, "total", lambda group, tensor: tensor.fill_(int((truth != 255).sum())))
    ours.grad = None
    for rank in (0, 1):
        group = Group(rank, 2)
        first, own = group.place(4)
        part = slice(first, first + own)
        of = taught_pixels_of_step(truth[part], group)
        loss = teacher.loss(ours[part], theirs[part], truth[part], of)
        (loss / 2).backward()  # DistributedDataParallel takes the mean over ranks
    torch.testing.assert_close(ours.grad, whole)


def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_it(keep: Keep) -> None:
    path = keep(with_values(STUDENT, {"seed": 0}))
    alone, taught = stepped(None), stepped(loaded(path))
    for name, each in alone.model.state_dict().items():
        torch.testing.assert_close(each, taught.model.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_the_average_of_the_weights_teaches_where_its_evaluation_takes_it(keep: Keep) -> None:
    zeros = {
        name: torch.zeros_like(each)
        for name, each in new_state(TEACHER, CPU, CLASSES).model.named_parameters()
    }
    averaged = {"model": zeros, "updates": 1}
    images = torch.randn(1, 3, 32, 32)
    assert not loaded(keep(ema={**averaged, "use": "average"})).logits(images).any()
    assert loaded(keep(ema={**averaged, "use": "raw"})).logits(images).any()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"classes": ["road", "sky"]}, "knows the 2 classes road, sky; the run's 3 are road, sky, car"),
        (
            {"model_config": {"name": "gone"}},
            "is of model.name=gone, and there is no such model here; --plugin",
        ),
        ({"model_config": {"name": "unet", "arms": 2}}, "which this version cannot make"),
    ],
)
def test_what_cannot_teach_is_refused_in_a_line(keep: Keep, change: dict[str, object], problem: str) -> None:
    path = keep(**change)
    with pytest.raises(CheckpointError) as refusal:
        loaded(path)
    assert str(refusal.value).startswith(f"distill.from: {path}: ")
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_teacher_whose_stride_does_not_divide_the_images_is_refused(keep: Keep) -> None:
    path = keep(with_values(TEACHER, {"model.name": "unet"}))
    student = with_values(STUDENT, {"model.name": "deeplab_largefov", "data.size": "40x40"})
    with pytest.raises(
        CheckpointError, match=r"cannot teach on images of data\.size: 40x40 does not suit unet"
    ):
        loaded(path, student)


def test_only_a_task_that_learns_classes_has_a_teacher() -> None:
    with pytest.raises(ConfigError, match=r"distill\.from: task=pretrain learns no classes"):
        with_values(STUDENT, {"task": "pretrain", "distill.from": "a.pt"})
