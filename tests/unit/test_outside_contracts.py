"""What a component from outside must be like: told before a run trains with it, and never as our fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from engine import augment, losses, metrics, models, optimizers, schedules
from engine.augment.builtin import AUGMENTATIONS
from engine.augment.draws import Draws
from engine.augment.functions import build_augmentations
from engine.components.origin import ComponentError, Origin, registering
from engine.components.parts import PartRegistry
from engine.components.registry import check_methods
from engine.config.fields import Section, option
from engine.data import layouts
from engine.losses.builtin import LOSSES
from engine.losses.functions import build_loss

MINE = Origin("file", "/mine.py", "1")


@pytest.fixture
def outside() -> Iterator[None]:
    """What is registered is of a plugin, and forgotten afterwards."""
    registries: tuple[PartRegistry[Any], ...] = (LOSSES, AUGMENTATIONS)
    before = [(parts, dict(parts._parts), parts.section()) for parts in registries]
    with registering(MINE):
        yield
    for parts, known, section in before:
        parts._parts, parts._section = known, section
        parts._changed()


class Keys(Section):
    mine: float = option(0.0, "Weight of my loss", ge=0)


class OtherKeys(Section):
    other: float = option(0.0, "Something else", ge=0)


def of_two(keys: Section, classes: int) -> None: ...
def of_one(keys: Section) -> None: ...
def of_none() -> None:
    """Nothing."""


def called(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def own(*given: Any) -> Any:
        return function(*given)

    own.__name__ = name
    own.__doc__ = "Mine."
    own.__wrapped__ = function  # type: ignore[attr-defined]  # whose signature it shows
    return own


@pytest.mark.usefixtures("outside")
def test_functions_that_cannot_be_called_are_refused_when_they_are_registered() -> None:
    with pytest.raises(ComponentError, match=r"^mine: must take the arguments \(keys, classes\)$"):
        losses.register(Keys)(called("mine", of_one))
    with pytest.raises(ComponentError, match=r"^mine: must take the arguments \(keys\)$"):
        augment.register(Keys)(called("mine", of_two))
    with pytest.raises(ComponentError, match=r"^mine: must take the arguments \(confusion, classes\)$"):
        metrics.register()(called("mine", of_none))
    losses.register(Keys)(called("mine", of_two))


@pytest.mark.usefixtures("outside")
def test_a_loss_has_a_key_of_its_name() -> None:
    with pytest.raises(ComponentError, match=r"^mine: needs a key of that name, its weight, such as mine: "):
        losses.register(OtherKeys)(called("mine", of_two))
    assert LOSSES.new().weights() == {"cross_entropy": 1}


@pytest.mark.usefixtures("outside")
def test_sections_without_what_builds_them_and_with_other_arguments_are_refused() -> None:
    class Network(models.ModelSection):
        name: Literal["mine"] = option("mine", "Architecture")

    class Optimizer(optimizers.OptimizerSection):
        name: Literal["mine"] = option("mine", "Optimizer")

    class Schedule(schedules.ScheduleSection):
        name: Literal["mine"] = option("mine", "Schedule")

    class Reversed(schedules.ScheduleSection):
        name: Literal["mine"] = option("mine", "Schedule")

        def shape(self, done: float) -> float:  # type: ignore[override]
            return 1 - done

    class Layout(layouts.Layout):
        name = "mine"
        folders = ("photos",)

        def find(self) -> layouts.Found:  # type: ignore[override]
            raise AssertionError

    static = type("Static", (layouts.Layout,), {"find": staticmethod(lambda root: None)})
    check_methods("Static", static, layouts.Layout)
    refused: tuple[tuple[Callable[[Any], Any], type, str], ...] = (
        (models.register, Network, r"Network: needs build\(\)"),
        (optimizers.register, Optimizer, r"Optimizer: needs build\(\)"),
        (schedules.register, Schedule, r"Schedule: needs shape\(\) or at\(\)"),
        (schedules.register, Reversed, r"Reversed.shape: must take the arguments \(self, done, epoch\)"),
        (layouts.register, Layout, r"Layout.find: must take the arguments \(self, root\)"),
    )
    for register, section, told in refused:
        with pytest.raises(ComponentError, match=f"{told}$"):
            register(section)


class Loss:
    """What is given, as a loss of the plugin."""

    def __init__(self, terms: int, sums: Any, value: Any) -> None:
        self.terms, self._sums, self._value = terms, sums, value

    def sums(self, logits: Tensor, labels: Tensor) -> Any:
        return self._sums(logits)

    def value(self, sums: Tensor) -> Any:
        return self._value(sums)


def two(logits: Tensor) -> Tensor:
    return torch.stack([torch.tensor(8.0, dtype=torch.float64), logits.double().sum()])


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("terms", "sums", "value", "told"),
    [
        (3, two, lambda sums: sums[1], r"sums() gives float64 [2]; it must be float64 [3], as terms says"),
        (2, lambda logits: 1.0, lambda sums: sums, "sums() gives a float; it must be float64 [2]"),
        (2, two, lambda sums: 3.0, "value() gives a float; it must be [] with a gradient"),
        (2, two, lambda sums: sums, "value() gives float64 [2]; it must be [] with a gradient"),
        (2, two, lambda sums: sums[1].detach(), "value() gives float64 [] without a gradient"),
    ],
)
def test_a_loss_that_breaks_the_contract_is_named(terms: int, sums: Any, value: Any, told: str) -> None:
    losses.register(Keys)(called("mine", lambda keys, classes: Loss(terms, sums, value)))
    before = torch.get_rng_state()
    with pytest.raises(ComponentError) as refused:
        build_loss(LOSSES.new(mine=0.5), 3)
    assert str(refused.value).startswith(f"loss mine: {told}")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("outside")
def test_a_loss_that_keeps_the_contract_is_taken() -> None:
    right = Loss(2, two, lambda sums: sums[1] / sums[0])
    losses.register(Keys)(called("mine", lambda keys, classes: right))
    assert build_loss(LOSSES.new(mine=1, cross_entropy=0), 3) is right


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda images, labels, draws: images, "must return images and labels"),
        (lambda images, labels, draws: (images[:, 1:], labels), "returns images uint8 [2, 3, 6, 3] and"),
        (lambda images, labels, draws: (images / 255, labels), "returns images float32 [2, 4, 6, 3] and"),
        (lambda images, labels, draws: (images, labels.long()), "and labels int64 [2, 4, 6]; they must be"),
        (lambda images, labels, draws: (images[:1], labels[:1]), "they must be uint8 [2, H, W, 3] and"),
    ],
)
def test_an_augmentation_that_breaks_the_contract_is_named(change: Any, told: str) -> None:
    augment.register(Keys)(called("mine", lambda keys: change if keys.mine else None))
    images = torch.zeros(2, 4, 6, 3, dtype=torch.uint8)
    labels = torch.zeros(2, 4, 6, dtype=torch.uint8)
    draws = Draws(torch.Generator())
    same = build_augmentations(AUGMENTATIONS.new())(images, labels, draws)
    assert [each.shape for each in same] == [images.shape, labels.shape]
    with pytest.raises(ComponentError) as refused:
        build_augmentations(AUGMENTATIONS.new(mine=1))(images, labels, draws)
    assert str(refused.value).startswith("augmentation mine: ")
    assert told in str(refused.value)
