"""`batch_norm`: whose statistics a network uses in training, and what of them changes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from engine.components.origin import ComponentError
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.config.step_parts import enough_by_section, smallest_part
from engine.learning.batch_norm import set_training_mode, settle_batch_norm
from engine.learning.distributed import ALONE, Group
from engine.models.builtin import ModernUNetConfig, UNetConfig
from engine.models.registry import build_model
from engine.requests.configs import check_components
from engine.requests.initial_weights import pretraining_of


@dataclass(frozen=True)
class Threads(Group):
    """Ranks that are threads of this process."""

    table: list[Tensor | None] = field(default_factory=list)
    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))

    def total(self, tensor: Tensor) -> Tensor:
        self.table[self.rank] = tensor.detach().clone()
        self.barrier.wait(20)
        tensor.copy_(torch.stack([each for each in self.table if each is not None]).sum(0))
        self.barrier.wait(20)
        return tensor


class Timms(nn.BatchNorm2d):
    """As timm's `BatchNormAct2d`: a norm with an activation of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, input: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(input)))  # type: ignore[no-any-return]


def network() -> nn.Module:
    torch.manual_seed(1)
    middle = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), Timms(4))
    return nn.Sequential(build_model(UNetConfig(width=2), 3), middle).double()


def trained(
    model: nn.Module, images: Tensor, mode: str, group: Group, counts: bool = True
) -> dict[str, Tensor]:
    """Outputs, gradients and statistics after a pass over `images`."""
    shared = settle_batch_norm(model, mode, group)
    shared.counts = counts
    set_training_mode(model, mode)
    images = images.clone().requires_grad_(True)
    outputs = model(images)
    (outputs.square() * counts).sum().backward()
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    assert images.grad is not None
    return {"outputs": outputs.detach(), "images": images.grad, **gradients, **dict(model.named_buffers())}


def test_two_ranks_with_shared_statistics_compute_what_one_computes() -> None:
    images = torch.randn(5, 3, 16, 32, dtype=torch.float64)
    whole = trained(network(), images, "local", ALONE)
    table: list[Tensor | None] = [None] * 3
    models = [network() for _ in range(3)]
    barrier = threading.Barrier(3)
    parts = [(images[:3], True), (images[3:], True), (images[:1], False)]  # that of the last counts not

    def rank(number: int) -> dict[str, Tensor]:
        shown, counts = parts[number]
        return trained(models[number], shown, "sync", Threads(number, 3, table, barrier), counts)

    with ThreadPoolExecutor(3) as ranks:
        made = list(ranks.map(rank, range(3)))
    for key in ("outputs", "images"):
        torch.testing.assert_close(torch.cat([made[0][key], made[1][key]]), whole[key])
    assert not made[2]["images"].any(), "its image teaches nothing"
    for name, _ in network().named_parameters():
        torch.testing.assert_close(sum(each[name] for each in made), whole[name])
    for name, buffer in network().named_buffers():
        for each in made:
            torch.testing.assert_close(each[name], whole[name])
        assert not torch.equal(buffer, whole[name]), "statistics have been learned"


@pytest.mark.parametrize("mode", ["frozen_statistics", "frozen"])
def test_frozen_norms_leave_their_statistics_and_as_asked_their_weights(mode: str) -> None:
    images = torch.randn(5, 3, 16, 32, dtype=torch.float64)
    model = network()
    before = {name: each.clone() for name, each in model.named_buffers()}
    made = trained(model, images, mode, ALONE)
    assert all(torch.equal(made[name], each) for name, each in before.items())
    learns = {name: each.requires_grad for name, each in model.named_parameters()}
    norms = {name for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)}
    assert len(norms) == 20
    for name, each in learns.items():
        assert each == (mode != "frozen" or name.rpartition(".")[0] not in norms), name
    model.eval()
    torch.testing.assert_close(model(images), made["outputs"])


def test_a_network_without_batch_norm_refuses_what_has_no_effect() -> None:
    config = with_values(RunConfig(), {"batch_norm": "frozen", "init.weights": "net.pth"})
    check_components(config)
    with pytest.raises(ConfigError, match=r"^batch_norm: frozen keeps the statistics that weights came with"):
        check_components(with_values(config, {"init.weights": ""}))
    modern = with_values(config, {"model.name": "modern_unet"})
    with pytest.raises(ConfigError, match=r"^batch_norm: frozen has no effect, as modern_unet has none"):
        check_components(modern)
    with pytest.raises(
        ComponentError, match=r"^batch_norm: sync has no effect, as ModernUNet has none; it mus"
    ):
        settle_batch_norm(build_model(ModernUNetConfig(hidden=2), 3), "sync", ALONE)

    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(
        ComponentError, match=r"^batch_norm: sync cannot share the statistics of a tests.unit"
    ):
        settle_batch_norm(nn.Sequential(Own(2)), "sync", Group(0, 2))


def test_what_norms_need_depends_on_whose_statistics_they_use() -> None:
    tiny = RunConfig.model_validate({"batch_size": 2, "data": {"size": "16x16"}, "devices": 2})
    assert smallest_part(tiny, None, 2) == 1
    assert not enough_by_section(tiny, 1)
    assert smallest_part(with_values(tiny, {"batch_norm": "sync"}), None, 2) == 2
    assert enough_by_section(with_values(tiny, {"batch_norm": "frozen_statistics"}), 1)
    with pytest.raises(ConfigError, match=r"^runtime.micro_batch: 1 does not work with batch_norm=sync"):
        with_values(tiny, {"batch_norm": "sync", "runtime.micro_batch": 1})


def test_pretraining_has_no_statistics_to_freeze() -> None:
    config = with_values(RunConfig(), {"batch_norm": "frozen", "pretrain.epochs": 2})
    first = pretraining_of(config)
    assert first is not None
    assert first.batch_norm == "local"
