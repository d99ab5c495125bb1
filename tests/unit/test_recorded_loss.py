"""The loss on the record is that of all that was counted, however the pass was cut."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.batches import Batch, ResidentBatches, normalise
from engine.learning.distributed import Group
from engine.learning.hardware import Hardware, choose_hardware
from engine.run.directory import RunDir
from engine.training.loop import say_epoch, train_epoch
from engine.training.meter import EpochMeter
from engine.training.objectives import build_objective
from engine.training.state import TrainState, new_state
from engine.training.step import micro_batches, share_of_step, training_step
from engine.training.validate import score_split
from engine.worker.job import Job

CPU = torch.device("cpu")
CLASSES = ["ground", "thing", "other"]
IMAGES, SIZE = 7, 16


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other would cost more than such small tensors do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config_of(**values: object) -> RunConfig:
    """A network without batch norm, whose answer to an image is the same in any batch, and a step too small
    to move it."""
    base = {
        "data.size": f"{SIZE}x{SIZE}",
        "model.hidden": 2,
        "batch_size": 3,
        "device": "cpu",
        "precision": "fp32",
        "optimizer.name": "sgd",
        "optimizer.lr": 1e-60,
        "augment.flip": 0,
    }
    changes = {key.replace("__", "."): value for key, value in values.items()}
    return with_values(get_recipe("quick-modern"), base | changes)


def pixels() -> tuple[Tensor, Tensor]:
    """Images and labels, of no two images as many void; all labels of the last one are."""
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, SIZE, SIZE)
    images = torch.randint(0, 256, (*shape, 3), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, len(CLASSES), shape, generator=generator, dtype=torch.uint8)
    for index in range(IMAGES):
        labels[index, : SIZE * (index + 1) // IMAGES] = 255
    return images, labels


class Pass:
    """One pass of a config over the images, in this process."""

    def __init__(self, folder: Path, config: RunConfig, labels: Tensor | None = None) -> None:
        self.job = Job(RunDir(folder), config, None, folder)
        self.hardware: Hardware = choose_hardware(config)
        classes = CLASSES if config.needs_labels else []
        self.state: TrainState = new_state(config, self.hardware, classes)
        images, known = pixels()
        rows = torch.arange(IMAGES)
        self.batches = ResidentBatches(images, known if labels is None else labels, rows)

    def train(self) -> float | None:
        return train_epoch(self.job, self.state, self.batches, IMAGES).loss()

    def validate(self) -> float | None:
        classes = len(self.state.classes)
        return score_split(
            self.job, self.state.model, self.state.objective, self.batches, IMAGES, classes, self.hardware, 1
        ).loss()


def test_the_recorded_loss_is_the_mean_over_valid_pixels(tmp_path: Path) -> None:
    once = Pass(tmp_path, config_of())
    images, labels = pixels()
    with torch.no_grad():
        logits = once.state.model(normalise(images))
    expected = float(functional.cross_entropy(logits, labels.long(), ignore_index=255))
    assert once.validate() == pytest.approx(expected, rel=1e-5)
    assert once.train() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("task", ["train", "pretrain"])
@pytest.mark.parametrize("loss", ["cross_entropy", "cross_entropy_dice"])
def test_the_recorded_loss_does_not_depend_on_how_the_pass_is_cut(
    tmp_path: Path, task: str, loss: str
) -> None:
    def once(**values: object) -> Pass:
        return Pass(tmp_path, config_of(task=task, loss__name=loss, **values))

    cuts = [{}, {"validation.batch_size": 1}, {"batch_size": 1}, {"batch_size": 7}]
    validated = [once(**cut).validate() for cut in cuts]
    assert validated == pytest.approx([validated[0]] * len(cuts), rel=1e-5)
    # The noise of pre-training belongs to the step, so the batch stays what it is.
    cuts = [{}, {"runtime.micro_batch": 1}, {"runtime.micro_batch": 2}]
    trained = [once(**cut).train() for cut in cuts]
    assert trained == pytest.approx([trained[0]] * len(cuts), rel=1e-5)
    if task == "train":
        assert trained[0] == pytest.approx(validated[0], rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "cross_entropy_dice"])
def test_the_loss_of_two_halves_of_an_epoch_is_that_of_the_epoch(name: str) -> None:
    config = config_of(loss__name=name)
    objective = build_objective(config, len(CLASSES))
    _, labels = pixels()
    logits = torch.randn(IMAGES, len(CLASSES), SIZE, SIZE, generator=torch.Generator().manual_seed(1))

    def counted(meter: EpochMeter, part: slice) -> EpochMeter:
        meter.add(objective.sums(logits[part], labels[part]), logits[part], labels[part])
        return meter

    def empty() -> EpochMeter:
        return EpochMeter(len(CLASSES), CPU, objective)

    resumed = empty()
    resumed.load(counted(empty(), slice(0, 2)).state())
    whole = counted(empty(), slice(0, IMAGES)).loss()
    assert counted(resumed, slice(2, IMAGES)).loss() == pytest.approx(whole, rel=1e-6)


def test_a_half_done_epoch_of_version_0_1_goes_on() -> None:
    """Its checkpoint kept the mean losses of batches, weighed by images."""
    objective = build_objective(config_of(), len(CLASSES))
    meter = EpochMeter(len(CLASSES), CPU, objective)
    old = {"loss": torch.tensor([8.0], dtype=torch.float64), "images": 4, "seconds": 2.0, "waited": 0.5}
    meter.load({"confusion": meter.state()["confusion"], **old})
    assert (meter.loss(), meter.images, meter.seconds) == (2.0, 4, 2.0)
    logits, labels = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.uint8)
    meter.add(objective.sums(logits, labels), logits, labels)
    expected = (4 * 2.0 + 2 * math.log(3)) / 6
    assert meter.loss() == pytest.approx(expected)
    again = EpochMeter(len(CLASSES), CPU, objective)
    again.load(meter.state())
    assert again.loss() == pytest.approx(expected)


def test_the_loss_of_nothing_is_empty_and_said_to_be_undefined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    void = torch.full((IMAGES, SIZE, SIZE), 255, dtype=torch.uint8)
    once = Pass(tmp_path, config_of(), void)
    assert once.validate() is None
    assert once.train() is None
    assert all(bool(parameter.isfinite().all()) for parameter in once.state.model.parameters())
    event = once.state.meter.event(1, "val", CLASSES, lr=0.1)
    assert (event.loss, event.dice) == (None, None)
    once.job.say = print  # type: ignore[method-assign]
    say_epoch(once.job, "epoch 1/3", [event])
    assert "val: loss undefined, dice undefined" in capsys.readouterr().out


@pytest.mark.parametrize("micro_batch", [0, 1, 2])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_what_is_learned_is_the_mean_over_valid_pixels_of_the_whole_batch(
    ranks: int, micro_batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = torch.nn.Conv2d(3, len(CLASSES), 3, padding=1)
    objective = build_objective(config_of(), len(CLASSES))
    pictures, labels = pixels()
    images = normalise(pictures)
    functional.cross_entropy(model(images), labels.long(), ignore_index=255).backward()
    expected = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    model.zero_grad()
    monkeypatch.setattr(Group, "total", lambda group, tensor: tensor.fill_(int((labels != 255).sum())))
    for rank in range(ranks):
        group = Group(rank, ranks)
        first, own = group.place(IMAGES)
        part = slice(first, first + own)
        of_rank = share_of_step(objective, labels[part], group)
        for some, targets, share, _ in micro_batches(images[part], labels[part], micro_batch, objective):
            loss = objective.value(objective.sums(model(some), targets)) * share * of_rank
            (loss / ranks).backward()  # DistributedDataParallel takes the mean over ranks
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_a_rank_without_an_image_takes_part_in_the_step_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_of(batch_size=4)
    state = new_state(config, choose_hardware(config), CLASSES)
    state.begin_epoch(IMAGES)
    weighed: list[int] = []

    def total(group: Group, weight: Tensor) -> Tensor:
        weighed.append(int(weight))
        return weight + 100  # of the other rank

    monkeypatch.setattr(Group, "total", total)
    images, labels = pixels()
    training_step(state, Batch(images[:1], labels[:1]), 1, Group(1, 2))
    assert weighed == [0], "the other rank waits for it"
    gradients = [p.grad for p in state.model.parameters() if p.grad is not None]
    assert gradients
    assert not any(bool(gradient.any()) for gradient in gradients)
    assert (state.step, state.meter.images) == (1, 0)
