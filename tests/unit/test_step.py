"""What a step may do differently without learning anything different."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.classes import VOID
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.learning.activation_checkpointing import checkpoint_activations
from engine.learning.compile_autotune import TIMED_STEPS, WARM_STEPS, CompileAutotune, CompileDecision
from engine.learning.distributed import Group
from engine.learning.hardware import Hardware, choose_hardware
from engine.learning.step_graph import GraphDecision, StepGraph
from engine.losses.builtin import LOSSES
from engine.models import ModelSection as ModelConfig
from engine.models.builtin import ModernUNetConfig, UNetConfig
from engine.models.registry import build_model
from engine.run.directory import RunDir
from engine.training.graph_rules import graph_refusal, keeps_learning_rate_on_device
from engine.training.objectives import Segmentation, loss_of
from engine.training.probes.steps import random_batch
from engine.training.saving import keep_epoch, save
from engine.training.state import new_state
from engine.training.step import micro_batches, training_step
from engine.worker.job import Diverged, Job

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
    checkpoint_activations(thrifty)
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


def test_recomputing_counts_each_batch_once_and_none_in_frozen_norms() -> None:
    block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    model: Any = nn.Sequential(block)
    model.blocks = lambda: [block]
    checkpoint_activations(model)
    for learns in (True, False):
        block[1].train(learns)
        model(torch.randn(2, 3, 4, 4, requires_grad=True)).sum().backward()
        assert block[1].num_batches_tracked == 1


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


def test_micro_batches_add_up_where_the_weights_of_a_batch_come_to_less_than_one() -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(3, 4, 3, padding=1)
    objective = Segmentation(LOSSES.new(class_weights="inverse_frequency"), 4)
    assert objective.of_classes is not None
    objective.of_classes.learn_class_pixels(torch.tensor([1000, 10, 10, 10]))
    images, labels = torch.randn(3, 3, 8, 8), torch.full((3, 8, 8), VOID, dtype=torch.uint8)
    labels[0, 0, 0] = labels[1, 4, 4] = 0  # two pixels of the class that is everywhere
    assert 0 < float(objective.weight(labels)) < 1
    loss_of(objective, model(images), labels).backward()
    expected = gradients(model)
    model.zero_grad()
    for part, part_labels, share, _ in micro_batches(images, labels, 1, objective):
        (loss_of(objective, model(part), part_labels) * share).backward()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name])


def test_what_a_budget_leaves_of_an_epoch_freezes_no_encoder_again() -> None:
    values = {"device": "cpu", "batch_size": 2, "data.size": "32x32", "model.width": 2}
    values |= {"budget.images": 20, "optimizer.freeze_encoder": 4}
    config = with_values(get_recipe("quick"), values)
    hardware = choose_hardware(config)
    state = new_state(config, hardware, ["road", "sky"])
    state.epoch = 3  # of 6 images, so that 2 are left
    state.begin_epoch(6)
    assert state.steps == 1
    training_step(state, random_batch(config, hardware, 2, 2), 2)
    assert all(float(group["lr"]) > 0 for group in state.optimizer.param_groups)


def test_gradients_of_weights_that_never_learn_are_not_clipped_with_the_others() -> None:
    values = {
        "device": "cpu",
        "precision": "fp32",
        "data.size": "32x32",
        "model.width": 2,
        "batch_size": 2,
        "ema.decay": 0,
        "schedule.name": "constant",
        "schedule.warmup_epochs": 0,
        "optimizer.name": "sgd",
        "optimizer.momentum": 0,
        "optimizer.weight_decay": 0,
        "optimizer.lr": 1.0,
        "optimizer.clip_norm": 1e-3,
        "optimizer.encoder_lr_factor": 0,
    }
    config = with_values(get_recipe("quick"), values)
    hardware = choose_hardware(config)
    state = new_state(config, hardware, ["road", "sky"])
    before = copy.deepcopy(dict(state.model.named_parameters()))
    state.begin_epoch(2)
    training_step(state, random_batch(config, hardware, 2, 2), 2)
    moved = {name: (each - before[name]).detach().norm() for name, each in state.model.named_parameters()}
    assert not any(moved[name] for name in moved if state.model.is_encoder(name))
    assert float(torch.stack([*moved.values()]).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_weights_that_are_no_numbers_get_into_no_checkpoint(tmp_path: Path) -> None:
    """What the last step of an epoch without a validation has done shows in no loss."""
    config = with_values(get_recipe("quick"), {"device": "cpu", "data.size": "32x32", "model.width": 2})
    state = new_state(config, choose_hardware(config), ["road", "sky"])
    job = Job(RunDir(tmp_path), config, None, tmp_path)
    job.run.checkpoints.mkdir()
    save(job, state)
    good = (job.run.checkpoints / "last.pt").read_bytes()
    state.epoch = 3
    with torch.no_grad():
        list(state.model.parameters())[-1][-1] = torch.inf
    for keep in (save, keep_epoch):
        with pytest.raises(Diverged, match=r"^the weights became NaN or infinite in epoch 3; a smaller opt"):
            keep(job, state)
    assert [path.name for path in job.run.checkpoints.iterdir()] == ["last.pt"]
    assert (job.run.checkpoints / "last.pt").read_bytes() == good


class FakeClock:
    """Gives the autotuner the step times that a test wants."""

    def __init__(
        self, autotune: CompileAutotune, monkeypatch: pytest.MonkeyPatch, times: list[float]
    ) -> None:
        self.times = iter(times)
        monkeypatch.setattr(autotune, "_lap", lambda: next(self.times))


def autotune_with(
    monkeypatch: pytest.MonkeyPatch, plain: float, compiled: float, cost: float, steps_left: int
) -> tuple[CompileAutotune, list[CompileDecision]]:
    decisions: list[CompileDecision] = []
    model = nn.Identity()
    monkeypatch.setattr("engine.learning.compile_autotune.compiled", lambda *about: lambda images: images + 1)
    autotune = CompileAutotune(model, CUDA, "auto", decisions.append)
    steps = WARM_STEPS + TIMED_STEPS
    FakeClock(autotune, monkeypatch, [plain] * steps + [cost] + [compiled] * steps)
    for _ in range(2 * steps):
        autotune.step_done(steps_left)
    return autotune, decisions


def test_compiling_is_kept_when_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    autotune, decisions = autotune_with(monkeypatch, plain=1.0, compiled=0.5, cost=60.5, steps_left=10_000)
    assert [decision.kept for decision in decisions] == [True]
    assert decisions[0].reason == "it pays within the run"
    assert decisions[0].compile_seconds == pytest.approx(60)
    assert (decisions[0].plain_step_seconds, decisions[0].compiled_step_seconds) == (1.0, 0.5)
    assert float(autotune.forward(torch.zeros(1))) == 1


def test_compiling_is_dropped_when_it_is_not_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    autotune, decisions = autotune_with(monkeypatch, plain=1.0, compiled=0.99, cost=60, steps_left=10_000)
    assert [decision.kept for decision in decisions] == [False]
    assert float(autotune.forward(torch.zeros(1))) == 0


def test_compiling_is_not_tried_near_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    _, decisions = autotune_with(monkeypatch, plain=1.0, compiled=0.5, cost=60, steps_left=20)
    assert [decision.kept for decision in decisions] == [False]
    assert decisions[0].reason == "only 20 s are left of the run"
    assert decisions[0].compile_seconds == 0


def test_a_network_that_fails_to_compile_goes_on_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(images: Tensor) -> Tensor:
        raise RuntimeError("no compiler here\nsecond line")

    monkeypatch.setattr("engine.learning.compile_autotune.compiled", lambda *about: broken)
    decisions: list[CompileDecision] = []
    autotune = CompileAutotune(nn.Identity(), CPU, "on", decisions.append)
    assert float(autotune.forward(torch.ones(1))) == 1
    assert [decision.reason for decision in decisions] == ["torch.compile failed: no compiler here"]


def test_too_little_memory_for_compiling_leaves_the_network_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def large(images: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("engine.learning.compile_autotune.compiled", lambda *about: large)
    decisions: list[CompileDecision] = []
    autotune = CompileAutotune(nn.Identity(), CUDA, "auto", decisions.append)
    FakeClock(autotune, monkeypatch, [1.0] * (WARM_STEPS + TIMED_STEPS))
    for _ in range(WARM_STEPS + TIMED_STEPS):
        autotune.step_done(10_000)
    assert float(autotune.forward(torch.ones(1))) == 1
    assert [decision.reason for decision in decisions] == ["there is too little memory for it"]

    kept = CompileAutotune(nn.Identity(), CUDA, "on", decisions.append)
    with pytest.raises(torch.OutOfMemoryError):
        kept.forward(torch.ones(1))


def test_auto_leaves_the_cpu_alone() -> None:
    autotune = CompileAutotune(
        nn.Identity(), CPU, "auto", lambda decision: pytest.fail("nothing was measured")
    )
    assert autotune.decision is not None
    assert not autotune.decision.kept


def test_what_an_attempt_compiled_stays_plain_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.learning.compile_autotune.compiled", lambda *about: lambda given: given + 1)
    of_gpu = CompileAutotune(nn.Identity(), CUDA, "auto", lambda decision: None)
    of_cpu = CompileAutotune(nn.Identity(), CPU, "auto", lambda decision: None)
    refused = CompileAutotune(nn.Identity(), CUDA, "auto", lambda decision: None, refusal="several devices")
    wanted = CompileAutotune(nn.Identity(), CPU, "on", lambda decision: None)
    for autotune, is_compiled in ((of_gpu, True), (of_cpu, False), (refused, False), (wanted, True)):
        autotune.go_on(kept=True)
        assert autotune.is_compiled == is_compiled
        assert float(autotune.forward(torch.ones(1))) == 1 + is_compiled
        autotune.go_on(kept=False)
        assert not autotune.is_compiled


class BrokenBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, logits: Tensor) -> Tensor:
        return logits.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        raise RuntimeError("tensor output of CUDAGraphs that has been overwritten")


def test_a_compiled_network_whose_backward_pass_fails_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "engine.learning.compile_autotune.compiled",
        lambda model, *about: (
            lambda *given: model(*given)._replace(loss=BrokenBackward.apply(model(*given).loss))
        ),
    )
    values = {"device": "cpu", "batch_size": 2, "data.size": "32x64", "runtime.compile": "on"}
    config = with_values(get_recipe("quick"), values)
    hardware = choose_hardware(config)
    state = new_state(config, hardware, ["road", "sky"])
    state.begin_epoch(2)
    before = copy.deepcopy(state.model.state_dict())
    training_step(state, random_batch(config, hardware, 2, 2), 2)
    assert state.autotune.decision is not None
    assert not state.autotune.decision.kept
    assert "CUDAGraphs" in state.autotune.decision.reason
    assert state.meter.images == 2, "the failed pass counts for nothing"
    changed = [name for name, each in state.model.state_dict().items() if not torch.equal(each, before[name])]
    assert any(name.endswith("weight") for name in changed), "the step was done"


@pytest.mark.parametrize(
    ("changes", "ranks", "device", "reason"),
    [
        ({}, 1, CUDA, ""),
        ({}, 1, CPU, "it needs CUDA"),
        ({"runtime.graph": "on"}, 2, CUDA, "several devices share each batch"),
        ({"runtime.deterministic": True}, 1, CUDA, "runtime.deterministic=true leaves nothing"),
        ({"runtime.deterministic": True, "runtime.graph": "on"}, 1, CUDA, ""),
    ],
)
def test_where_steps_cannot_be_replayed_it_says_why(
    changes: dict[str, object], ranks: int, device: torch.device, reason: str
) -> None:
    config = with_values(get_recipe("quick"), changes)
    refusal = graph_refusal(config, Hardware(device, "H100", "bf16"), Group(0, ranks))
    assert refusal.startswith(reason)
    assert bool(refusal) == bool(reason)


def test_what_comes_from_outside_is_replayed_only_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.training.graph_rules.OPTIMIZERS.is_built_in", lambda name: name != "adamw")
    hardware = Hardware(CUDA, "H100", "bf16")
    config = get_recipe("quick")
    assert "optimizer.name=adamw may need the host" in graph_refusal(config, hardware, Group())
    assert not keeps_learning_rate_on_device(config, hardware)
    asked = with_values(config, {"runtime.graph": "on"})
    assert graph_refusal(asked, hardware, Group()) == ""
    assert keeps_learning_rate_on_device(asked, hardware)


def test_nobody_hears_of_graphs_on_the_cpu_who_did_not_ask() -> None:
    heard: list[GraphDecision] = []
    for mode in ("off", "auto", "on"):
        graph = StepGraph(CPU, mode, "it needs CUDA", heard.append)
        assert graph.step(lambda pixels, targets: pixels, torch.ones(1), torch.zeros(1)) == 1
    assert [decision.reason for decision in heard] == ["it needs CUDA"]
