"""What a step drops of the features: decided by the step, the layer and the image, and by nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.learning.activation_checkpointing import checkpoint_activations
from engine.learning.dropout import Dropouts, mask
from engine.learning.hardware import Hardware
from engine.models.builtin import ResNet38Config, SmpConfig
from engine.models.registry import build_model
from engine.training.probes.steps import random_batch
from engine.training.state import TrainState, new_state
from engine.training.step import training_step

CPU = Hardware(torch.device("cpu"), "a CPU", "fp32")
DEEPLAB = {"model.name": "deeplab_largefov", "model.width": 2, "data.size": "16x24", "batch_size": 4}


def drawn(step: int, images: int = 4, layers: int = 1) -> Tensor:
    return torch.randint(
        -(2**31), 2**31, (layers, images), generator=torch.Generator().manual_seed(step)
    ).int()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_is_that_which_was_asked_for(p: float) -> None:
    made = mask(drawn(0)[0], (4, 32, 30, 40), p)
    dropped = (made == 0).float()
    assert float(dropped.mean()) == pytest.approx(p, abs=0.005)
    assert float(made.mean()) == pytest.approx(1, abs=0.03)
    centred = dropped - p
    for axis in (0, 1, 3):  # images, channels and neighbours are independent
        one, other = (centred.narrow(axis, start, centred.shape[axis] - 1) for start in (0, 1))
        assert abs(float((one * other).mean())) < 0.003, axis


def test_a_mask_belongs_to_the_image_and_not_to_its_place() -> None:
    numbers = drawn(1)[0]
    whole = mask(numbers, (4, 6, 5, 7), 0.4)
    assert torch.equal(mask(numbers[2:], (2, 6, 5, 7), 0.4), whole[2:])
    assert whole.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(whole[0], whole[1])
    windows = mask(numbers, (8, 3, 2), 0.4)  # two rows an image
    assert torch.equal(mask(numbers[3:], (2, 3, 2), 0.4), windows[6:])


def test_layers_draw_apart_and_are_those_of_torch_outside_of_a_step() -> None:
    network = nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5), nn.Dropout(0.0))
    images = torch.ones(4, 8, 3, 3)
    dropouts = Dropouts(network, 4, CPU.device)
    torch.manual_seed(0)
    plain = network[0](images)
    torch.manual_seed(0)
    assert torch.equal(plain, nn.functional.dropout(images, 0.5))
    dropouts.draw(torch.Generator().manual_seed(3), 8, 4, 4)
    dropouts.show(0, 4)
    first, second = network[0](images), network[1](images)
    assert torch.equal(first, network[0](images)), "activation checkpointing computes it again"
    assert torch.equal(second, second[..., :1, :1].expand_as(second))
    assert torch.equal(network[2](images), images)
    assert torch.equal(network.eval()(images), images)
    assert network.state_dict() == {}


def test_stochastic_depth_of_timm_drops_whole_images() -> None:
    layers = pytest.importorskip("timm.layers")
    network = nn.Sequential(layers.DropPath(0.5), layers.DropPath(0.0))
    dropouts = Dropouts(network, 16, CPU.device)
    dropouts.draw(torch.Generator().manual_seed(3), 16, 0, 16)
    dropouts.show(0, 16)
    kept = network(torch.ones(16, 5, 2))
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(kept, kept[:, :1, :1].expand_as(kept))
    dropouts.show(8, 4)
    assert torch.equal(network(torch.ones(4, 5, 2)), kept[8:12])


def test_an_efficientnet_of_smp_drops_by_the_numbers_of_the_images() -> None:
    pytest.importorskip("segmentation_models_pytorch")
    network = build_model(SmpConfig(encoder="efficientnet-b0"), 3).train()
    dropouts = Dropouts(network, 8, CPU.device)
    images = torch.randn(2, 3, 32, 32)

    def features(step: int) -> list[Tensor]:
        dropouts.draw(torch.Generator().manual_seed(step), 2, 0, 2)
        dropouts.show(0, 2)
        with torch.no_grad():
            maps: list[Tensor] = network.encoder(images)
        return maps

    first, again = features(1), features(1)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[-1], features(2)[-1])


def learned(changes: dict[str, object], steps: int = 2, begin: TrainState | None = None) -> TrainState:
    state = begin or new_state(with_values(RunConfig(), {**DEEPLAB, **changes}), CPU, ["road", "sky"])
    batch = random_batch(state.config, CPU, 2, 4)
    state.begin_epoch(8)
    for _ in range(steps):
        torch.rand(7)  # whatever else draws
        training_step(state, batch, 4)
    return state


def test_micro_batches_and_recomputing_drop_the_same() -> None:
    whole = learned({}).model.state_dict()
    assert not torch.equal(
        whole["fc7.0.weight"], learned({"model.dropout": 0.0}).model.state_dict()["fc7.0.weight"]
    )
    for changes in ({"runtime.micro_batch": 1}, {"runtime.micro_batch": 3}):
        torch.testing.assert_close(learned(changes).model.state_dict(), whole, rtol=1e-5, atol=1e-7)
    again = learned({"runtime.recompute": True}).model.state_dict()
    torch.testing.assert_close(again, whole, rtol=0, atol=0)


def test_checkpointed_blocks_drop_the_same_when_they_are_computed_again() -> None:
    torch.manual_seed(0)
    plain = build_model(ResNet38Config(layers=16, width="1/8"), 3)
    thrifty = copy.deepcopy(plain)
    checkpoint_activations(thrifty)
    images = torch.randn(2, 3, 16, 16)
    for network in (plain, thrifty):
        dropouts = Dropouts(network, 2, CPU.device)
        dropouts.draw(torch.Generator().manual_seed(3), 2, 0, 2)
        dropouts.show(0, 2)
        network.train()(images).square().mean().backward()
    for mine, other in zip(plain.parameters(), thrifty.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)
