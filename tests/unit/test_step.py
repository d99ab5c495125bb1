"""What a step may do differently without learning anything different."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from engine.learning.compiling import TIMED_STEPS, WARM_STEPS, CompileTrial, CompileVerdict
from engine.learning.recompute import recompute_blocks
from engine.losses.builtin import LOSSES
from engine.models import ModelSection as ModelConfig
from engine.models.builtin import ModernUNetConfig, UNetConfig
from engine.models.registry import build_model
from engine.training.objectives import Segmentation, loss_of
from engine.training.step import micro_batches

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def saved_bytes(model: nn.Module) -> int:
    """Bytes of activations that a forward pass keeps for its gradient."""
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        copy.deepcopy(model)(torch.zeros(1, 3, 64, 64))
    return kept


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("config", [UNetConfig(width=2), ModernUNetConfig(hidden=2, attention="4+middle")])
def test_recomputing_activations_changes_nothing_but_memory(config: ModelConfig) -> None:
    torch.manual_seed(0)
    plain = build_model(config, outputs=4)
    thrifty = copy.deepcopy(plain)
    recompute_blocks(thrifty)
    assert saved_bytes(thrifty) < saved_bytes(plain) / 2
    images = torch.randn(3, 3, 32, 32)
    for model in (plain, thrifty):
        model.train()
        for _ in range(2):
            model(images).square().mean().backward()
    for name, gradient in gradients(plain).items():
        assert torch.equal(gradient, gradients(thrifty)[name]), name
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, thrifty.state_dict()[name]), name


@pytest.mark.parametrize("size", [0, 1, 3, 8])
def test_gradients_of_micro_batches_add_up_to_those_of_the_batch(size: int) -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(3, 4, 3, padding=1)  # without batch norm, which sees a part alone
    objective = Segmentation(LOSSES.new(), 4)
    images = torch.randn(5, 3, 8, 8)
    labels = torch.randint(0, 4, (5, 8, 8), dtype=torch.uint8)
    labels[0] = 255
    labels[1, :5] = 255
    loss_of(objective, model(images), labels).backward()
    expected = gradients(model)
    model.zero_grad()
    parts = list(micro_batches(images, labels, size, objective))
    for part, part_labels, share, _ in parts:
        (loss_of(objective, model(part), part_labels) * share).backward()
    assert sum(len(part) for part, _, _, _ in parts) == 5
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name])


class FakeClock:
    """Gives a trial the step times that a test wants."""

    def __init__(self, trial: CompileTrial, monkeypatch: pytest.MonkeyPatch, times: list[float]) -> None:
        self.times = iter(times)
        monkeypatch.setattr(trial, "_lap", lambda: next(self.times))


def trial_with(
    monkeypatch: pytest.MonkeyPatch, plain: float, compiled: float, cost: float, steps_left: int
) -> tuple[CompileTrial, list[CompileVerdict]]:
    verdicts: list[CompileVerdict] = []
    model = nn.Identity()
    monkeypatch.setattr("engine.learning.compiling.compiled", lambda model, device: lambda images: images + 1)
    trial = CompileTrial(model, CUDA, "auto", verdicts.append)
    steps = WARM_STEPS + TIMED_STEPS
    FakeClock(trial, monkeypatch, [plain] * steps + [cost] + [compiled] * steps)
    for _ in range(2 * steps):
        trial.step_done(steps_left)
    return trial, verdicts


def test_compiling_is_kept_when_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    trial, verdicts = trial_with(monkeypatch, plain=1.0, compiled=0.5, cost=60.5, steps_left=10_000)
    assert [verdict.kept for verdict in verdicts] == [True]
    assert verdicts[0].reason == "it pays within the run"
    assert verdicts[0].compile_seconds == pytest.approx(60)
    assert (verdicts[0].plain_step_seconds, verdicts[0].compiled_step_seconds) == (1.0, 0.5)
    assert float(trial.forward(torch.zeros(1))) == 1


def test_compiling_is_dropped_when_it_is_not_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    trial, verdicts = trial_with(monkeypatch, plain=1.0, compiled=0.99, cost=60, steps_left=10_000)
    assert [verdict.kept for verdict in verdicts] == [False]
    assert float(trial.forward(torch.zeros(1))) == 0


def test_compiling_is_not_tried_near_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    _, verdicts = trial_with(monkeypatch, plain=1.0, compiled=0.5, cost=60, steps_left=20)
    assert [verdict.kept for verdict in verdicts] == [False]
    assert verdicts[0].reason == "only 20 s are left of the run"
    assert verdicts[0].compile_seconds == 0


def test_a_network_that_fails_to_compile_goes_on_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(images: Tensor) -> Tensor:
        raise RuntimeError("no compiler here\nsecond line")

    monkeypatch.setattr("engine.learning.compiling.compiled", lambda model, device: broken)
    verdicts: list[CompileVerdict] = []
    trial = CompileTrial(nn.Identity(), CPU, "on", verdicts.append)
    assert float(trial.forward(torch.ones(1))) == 1
    assert [verdict.reason for verdict in verdicts] == ["torch.compile failed: no compiler here"]


def test_auto_leaves_the_cpu_alone() -> None:
    trial = CompileTrial(nn.Identity(), CPU, "auto", lambda verdict: pytest.fail("nothing was measured"))
    assert trial.verdict is not None
    assert not trial.verdict.kept
