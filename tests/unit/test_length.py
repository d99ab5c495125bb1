"""Budgets: how long a run is that has one, and how its schedule is fitted to that."""

from __future__ import annotations

import pytest

from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.config.step_parts import refuse_too_small_parts
from engine.learning.distributed import ALONE
from engine.requests.initial_weights import pretraining_of
from engine.schedules import learning_rate
from engine.training.length import HourBudget, ImageBudget, Length, length_of

IMAGES = 20
BASE = with_values(RunConfig(), {"epochs": 10, "batch_size": 8, "optimizer.lr": 1, "schedule.name": "cosine"})


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def of_images(budget: int, **values: object) -> ImageBudget:
    length = length_of(with_values(BASE, {"budget.images": budget, **values}), ALONE)
    assert isinstance(length, ImageBudget)
    length.images = IMAGES
    return length


def of_seconds(seconds: float, clock: Clock) -> HourBudget:
    length = HourBudget(with_values(BASE, {"budget.hours": seconds / 3600}), ALONE, clock)
    length.images = IMAGES
    return length


def run(length: Length) -> list[tuple[int, int]]:
    """(epoch, steps) of all epochs, walked as the training loop does."""
    epochs: list[tuple[int, int]] = []
    while not length.is_over(len(epochs)):
        epochs.append((len(epochs), -(-length.images_after(len(epochs)) // 8)))
    return epochs


def test_without_a_budget_a_run_has_its_epochs() -> None:
    length = length_of(BASE, ALONE)
    length.images = IMAGES
    assert type(length) is Length
    assert run(length) == [(epoch, 3) for epoch in range(10)]
    assert length.schedule_step(4, 2) == 14
    assert (length.steps_left(4, 2), length.budget_used(4, 2), length.cause) == (16, None, "completed")


def test_images_are_counted_to_the_last_one() -> None:
    length = of_images(51)
    assert run(length) == [(0, 3), (1, 3), (2, 2)]
    assert length.images_after(2) == 11
    assert [length.steps_left(epoch, step) for epoch, step in ((0, 0), (2, 0), (2, 2))] == [8, 2, 0]
    assert [length.budget_used(*done) for done in ((0, 0), (1, 3), (2, 1), (2, 2))] == [
        0,
        40 / 51,
        48 / 51,
        1,
    ]
    assert length.epochs_left(2, 1) == 3 / 20
    assert length.cause == "budget"
    less_than_an_epoch = of_images(5)
    assert run(less_than_an_epoch) == [(0, 1)]
    assert less_than_an_epoch.images_after(0) == 5


def rates(length: Length, config: RunConfig) -> list[float]:
    return [
        learning_rate(config, length.schedule_step(epoch, step), length.steps)
        for epoch, steps in run(length)
        for step in range(steps)
    ]


def test_a_budget_of_as_many_images_is_the_same_as_epochs() -> None:
    whole = with_values(BASE, {"schedule.warmup_epochs": 2})
    length, budget = length_of(whole, ALONE), of_images(10 * 16, **{"schedule.warmup_epochs": 2})
    length.images = budget.images = 16
    assert rates(length, whole) == rates(budget, whole)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # of 2 epochs instead of 10: a share of the run stays the same share of it
        ({"schedule.warmup_epochs": 5}, [0.02, 0.41, 0.80, 1.0, 0.5]),
        ({"schedule.name": "poly", "schedule.power": 1}, [1.0, 0.8, 0.6, 0.5, 0.25]),
        ({"schedule.name": "step", "schedule.milestones": "4,7.5"}, [1.0, 1.0, 0.1, 0.1, 0.01]),
        ({"schedule.name": "linear", "schedule.hold": 5}, [1.0, 1.0, 1.0, 1.0, 0.5]),
        ({"schedule.name": "one_cycle", "schedule.rise": 0.5}, [0.04, 0.37, 0.91, 1.0, 0.5]),
    ],
)
def test_a_schedule_keeps_its_shape_in_a_shorter_run(
    values: dict[str, object], expected: list[float]
) -> None:
    length = of_images(160, **values)
    length.images = 80
    config = with_values(BASE, values)
    found = [
        learning_rate(config, length.schedule_step(*done), length.steps)
        for done in ((0, 0), (0, 4), (0, 8), (1, 0), (1, 5))
    ]
    assert found == pytest.approx(expected, abs=0.012)


def test_time_is_counted_while_the_run_is_at_work_and_over_all_attempts() -> None:
    clock = Clock()
    length = of_seconds(100, clock)
    clock.now += 50  # the data is read
    length.start_clock()
    for _ in range(3):
        clock.now += 10
        length.step_done()
    assert length.budget_used(1, 0) == 0.3
    assert length.schedule_step(1, 0) == pytest.approx(0.3 * 30)
    assert length.seconds_left() == 70
    assert length.steps_left(1, 0) == 7
    clock.now += 5
    length.validated()
    assert length.schedule_step(1, 0) == pytest.approx(30 * 35 / 95), "the last validation's time is reserved"
    clock.now += 5
    length.read_clock()  # a checkpoint is written
    saved = length.state()

    clock.now += 1e6
    after = of_seconds(100, clock)
    after.load(saved)
    clock.now += 50
    after.start_clock()
    assert after.seconds_left() == 60
    for step in (1, 2, 3, 4, 5):
        assert not after.cuts(step - 1)
        clock.now += 11
        after.step_done()
    assert (after.seconds, after.cuts(5), after.is_over(2)) == (95, True, True)
    assert after.schedule_step(1, 5) == 30
    assert after.budget_used(2, 0) == 1
    clock.now += 6
    after.validated()
    again = of_seconds(100, clock)
    again.load(after.state())
    assert again.is_over(2), "a crash before the end is recorded starts nothing anew"


def test_an_epoch_that_begins_has_a_step() -> None:
    clock = Clock()
    length = of_seconds(10, clock)
    length.start_clock()
    clock.now += 4
    length.step_done()
    clock.now += 1
    length.validated()
    clock.now += 5  # a gallery
    length.read_clock()
    assert not length.is_over(1)
    assert not length.cuts(0)
    clock.now += 1
    length.step_done()
    assert length.cuts(1)


def test_a_budget_that_is_far_too_small_is_told_in_plain_numbers() -> None:
    clock = Clock()
    length = of_seconds(0.0004, clock)
    length.start_clock()
    clock.now += 1.5
    length.step_done()
    assert length.told(1) == "epoch 1, 375,000 % of budget.hours"
    assert length.at_end().endswith(": 1.5 of 0.0004 s are used")


def test_one_budget_is_enough() -> None:
    with pytest.raises(
        ConfigError, match=r"budget\.images: budget\.hours is given too; one of them must be 0"
    ):
        with_values(BASE, {"budget.hours": 1, "budget.images": 1000})


def test_a_pre_training_run_has_its_own_length() -> None:
    config = with_values(BASE, {"budget.images": 100, "pretrain.epochs": 5})
    pretraining = pretraining_of(config)
    assert pretraining is not None
    assert (pretraining.epochs, pretraining.budget.is_given) == (5, False)


def test_the_last_batch_of_a_budget_must_be_large_enough() -> None:
    config = with_values(BASE, {"budget.images": 49})
    enough = lambda config, part: part > 1  # noqa: E731
    refuse_too_small_parts(with_values(config, {"budget.images": 50}), IMAGES, 1, enough)
    with pytest.raises(ConfigError, match=r"budget\.images=49\).*budget\.images=50 works"):
        refuse_too_small_parts(config, IMAGES, 1, enough)
