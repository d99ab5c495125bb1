"""Optimizers and schedules: which weights learn how fast, and what is said of a component that is broken."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import nn, optim
from torch.optim import SGD, Optimizer

from engine.components.origin import ComponentError
from engine.config.described import differences
from engine.config.fields import option
from engine.config.files import config_from_json, load_config, to_toml
from engine.config.keys import ConfigError, with_values
from engine.config.old_keys import OldKey
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.config.sections import RuntimeConfig
from engine.learning.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from engine.models.builtin import ModernUNetConfig, UNetConfig
from engine.models.contract import SegmentationNetwork, check_structure, outputs_of
from engine.models.registry import build_model
from engine.optimizers import OPTIMIZERS, OptimizerSection
from engine.optimizers.builtin import AdamConfig, AdamWConfig, RMSpropConfig, SGDConfig
from engine.optimizers.groups import (
    build_optimizer,
    divide_as,
    is_state_of,
    load_state,
    parameter_groups,
    set_learning_rate,
    state_of,
)
from engine.requests.configs import check_runnable
from engine.requests.initial_weights import pretraining_of
from engine.schedules import (
    SCHEDULES,
    ScheduleSection,
    check_schedule,
    learning_rate,
    refuse_unsuitable,
)
from engine.store.variant import variant_of
from tests.unit.test_model_contract import Small

NETWORKS = [UNetConfig(width=2), ModernUNetConfig(hidden=2)]
FACTORS = {"encoder_lr_factor": 0.5, "head_lr_factor": 4.0, "layer_decay": 0.5, "bias_lr_factor": 2.0}


def rates(section: OptimizerSection, network: SegmentationNetwork) -> dict[str, float]:
    """The learning rate of each parameter where that of the schedule is 1."""
    optimizer = build_optimizer(section, network)
    set_learning_rate(optimizer, 1.0, 0)
    found = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}
    return {name: found[id(each)] for name, each in network.named_parameters()}


@pytest.mark.parametrize("model", NETWORKS)
def test_without_factors_the_groups_are_those_of_every_earlier_checkpoint(model: Any) -> None:
    network = build_model(model, 5)
    parameters = list(network.parameters())
    before = [[p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]]
    groups = parameter_groups(SGDConfig(weight_decay=0.1), network)
    assert [[id(p) for p in group["params"]] for group in groups] == [[id(p) for p in ps] for ps in before]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert set(rates(SGDConfig(), network).values()) == {1.0}


@pytest.mark.parametrize("model", NETWORKS)
def test_the_encoder_is_what_the_bottleneck_is_made_by_in_its_order(model: Any) -> None:
    network = build_model(model, 5)
    seen: list[torch.Tensor] = []
    network.bottleneck().register_forward_hook(lambda part, given, output: seen.append(output))
    network(torch.randn(2, 3, 32, 32))
    (-seen[0].float().exp()).mean().backward()
    makes_it = {name for name, each in network.named_parameters() if each.grad is not None}
    assert makes_it == {name for name, _ in network.named_parameters() if network.is_encoder(name)}
    depths = [
        depth for name, _ in network.named_parameters() if (depth := network.layer_of(name)) is not None
    ]
    assert len(depths) == len(makes_it)
    assert set(depths) == set(range(len(network.layers())))


def test_factors_reach_the_parts_that_they_are_for() -> None:
    network = build_model(UNetConfig(width=2), 5)
    found = rates(AdamWConfig(**FACTORS), network)
    biases = {"up.0.bias", "up.1.bias", "up.2.bias", "up.3.bias", "head.bias"}  # of convolutions, not norms
    for name, rate in found.items():
        of_bias = 2 if name in biases else 1
        if name.startswith("down."):
            assert rate == 0.5 * 0.5 ** (5 - int(name.split(".")[1])), name
        else:
            assert rate == of_bias * (4 if name.startswith("head.") else 1), name
    decay = {
        id(p): g["weight_decay"]
        for g in parameter_groups(SGDConfig(weight_decay=0.1, **FACTORS), network)
        for p in g["params"]
    }
    assert all(decay[id(p)] == (0.1 if p.ndim >= 2 else 0) for p in network.parameters())


def test_a_rate_of_biases_is_refused_where_there_are_none() -> None:
    network = Small(5)
    network.encode.register_parameter("bias", None)
    network.head.register_parameter("bias", None)
    with pytest.raises(
        ComponentError, match=r"^optimizer.bias_lr_factor: 2 has no effect, as no layer of Sm"
    ):
        build_optimizer(SGDConfig(bias_lr_factor=2), network)


@pytest.mark.parametrize(
    ("section", "torchs"),
    [
        (SGDConfig(lr=0.1, momentum=0.9, nesterov=True), lambda p: SGD(p, 0.1, 0.9, nesterov=True)),
        (
            AdamWConfig(lr=0.1, beta1=0.5, beta2=0.9),
            lambda p: optim.AdamW(p, 0.1, (0.5, 0.9), weight_decay=0),
        ),
        (AdamConfig(lr=0.1, beta1=0.5), lambda p: optim.Adam(p, 0.1, (0.5, 0.999))),
        (RMSpropConfig(lr=0.1, momentum=0.9), lambda p: optim.RMSprop(p, 0.1, momentum=0.9)),
    ],
)
def test_keys_reach_torchs_optimizers_and_their_state_comes_back(section: Any, torchs: Any) -> None:
    torch.manual_seed(0)  # Adam makes much of gradients near zero, whose rounding differs
    networks = [Small(5), Small(5)]
    networks[1].load_state_dict(networks[0].state_dict())
    ours, theirs = build_optimizer(section, networks[0]), torchs(networks[1].parameters())
    set_learning_rate(ours, 0.1, 0)
    for step in range(4):
        for network, optimizer in zip(networks, (ours, theirs), strict=True):
            optimizer.zero_grad()
            outputs_of(network, torch.ones(2, 3, 8, 8) * (step + 1)).logits.square().mean().backward()
            optimizer.step()
        if step == 1:
            saved = copy.deepcopy(state_of(ours))
            ours = build_optimizer(section, networks[0])
            load_state(ours, saved)
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_layers_of_several_parts_learn_alike() -> None:
    found = rates(SGDConfig(layer_decay=0.5), build_model(ModernUNetConfig(hidden=2), 5))
    assert found["stem.weight"] == 0.5**6
    assert found["shrink.0.weight"] == found["down.1.0.convolve1.weight"] == 0.5**4
    assert found["middle.1.convolve2.weight"] == 0.5
    assert found["up.0.0.convolve1.weight"] == found["head.weight"] == 1


def test_a_factor_of_0_freezes() -> None:
    network = build_model(UNetConfig(width=2), 5)
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    optimizer = build_optimizer(AdamWConfig(weight_decay=1, encoder_lr_factor=0), network)
    set_learning_rate(optimizer, 0.1, 0)
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    for name, each in network.named_parameters():
        assert torch.equal(each, before[name]) == network.is_encoder(name), name


class Positions(Small):
    no_decay_names = ("positions", "grow")

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.positions = nn.Parameter(torch.zeros(4, 4))


class Silent(Small):
    encoder_names = ()


def test_a_network_may_spare_more_weights_the_decay() -> None:
    decaying, spared = parameter_groups(SGDConfig(weight_decay=0.1), Positions(5))
    assert (decaying["names"], spared["names"]) == (
        ["encode.weight", "head.weight"],
        ["positions", "encode.bias", "head.bias"],
    )


def test_a_network_that_names_no_encoder_trains_and_refuses_factors_on_it() -> None:
    assert set(rates(SGDConfig(head_lr_factor=2), Silent(5)).values()) == {1.0, 2.0}
    for key in ("encoder_lr_factor", "layer_decay"):
        with pytest.raises(
            ComponentError,
            match=rf"^optimizer.{key}: 0.5 has no effect, as Silent has no encoder_names; it must be 1$",
        ):
            build_optimizer(SGDConfig(**{key: 0.5}), Silent(5))


def test_an_encoder_that_is_frozen_at_first_learns_after_so_many_iterations() -> None:
    network = build_model(UNetConfig(width=2), 5)
    optimizer = build_optimizer(AdamWConfig(freeze_encoder=3, encoder_lr_factor=0.5), network)
    encoder = [each for name, each in network.named_parameters() if network.is_encoder(name)]
    others = [each for name, each in network.named_parameters() if not network.is_encoder(name)]
    for done in range(4):
        before = [each.clone() for each in (*encoder, *others)]
        for each in network.parameters():
            each.grad = torch.ones_like(each)
        set_learning_rate(optimizer, 0.1, done)
        optimizer.step()
        moved = [not torch.equal(old, new) for old, new in zip(before, (*encoder, *others), strict=True)]
        assert all(moved[len(encoder) :])
        assert set(moved[: len(encoder)]) == {done == 3}


def test_freezing_an_encoder_that_a_network_does_not_name_is_refused() -> None:
    with pytest.raises(ComponentError, match=r"freeze_encoder: 5 has no effect.* it must be 0$"):
        build_optimizer(SGDConfig(freeze_encoder=5), Silent(5))


def test_old_states_of_an_optimizer_load_and_those_of_other_groups_do_not() -> None:
    network = build_model(UNetConfig(width=2), 5)
    optimizer = build_optimizer(AdamWConfig(), network)
    state = optimizer.state_dict()
    assert is_state_of(state, optimizer)
    old = {
        **state,
        "param_groups": [
            {key: value for key, value in group.items() if key not in ("names", "lr_factor")}
            for group in state["param_groups"]
        ],
    }
    assert is_state_of(old, optimizer)
    optimizer.load_state_dict(old)
    set_learning_rate(optimizer, 0.25, 0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]

    assert not is_state_of(state, build_optimizer(AdamWConfig(encoder_lr_factor=0.5), network))
    renamed = [{**group, "names": group["names"][::-1]} for group in state["param_groups"]]
    assert not is_state_of({**state, "param_groups": renamed}, build_optimizer(AdamWConfig(), network))


def test_a_resumed_run_goes_on_with_the_weight_decay_that_it_began_with() -> None:
    network = Positions(5)
    saved = build_optimizer(AdamWConfig(weight_decay=0.1), Small(5))
    began = state_of(build_optimizer(AdamWConfig(weight_decay=0.1), network))
    decaying, spared = began["param_groups"]
    decaying["names"] = ["positions", *decaying["names"]]  # as an earlier version had it
    spared["names"] = spared["names"][1:]
    decaying["params"], spared["params"] = [0, 1, 2], [3, 4]
    ones = torch.ones(4, 4)
    began["state"] = {0: {"step": torch.ones(()), "exp_avg": ones, "exp_avg_sq": ones}}

    optimizer = build_optimizer(AdamWConfig(weight_decay=0.1), network)
    assert not is_state_of(began, optimizer)
    divide_as(optimizer, began)
    assert is_state_of(began, optimizer)
    load_state(optimizer, began)
    first, second = optimizer.param_groups
    assert first["params"][0] is network.positions
    assert (first["weight_decay"], second["weight_decay"]) == (0.1, 0.0)
    assert torch.equal(optimizer.state[network.positions]["exp_avg"], ones)

    for other in (state_of(saved), {**began, "param_groups": [decaying, {**spared, "lr_factor": 0.5}]}):
        optimizer = build_optimizer(AdamWConfig(weight_decay=0.1), network)
        divide_as(optimizer, other)
        assert not is_state_of(other, optimizer)


class Own(OptimizerSection):
    name: Literal["own"] = option("own", "Optimizer")

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        return SGD([each for group in groups for each in group["params"]], lr=self.lr)


class NoOptimizer(Own):
    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        return SGD  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (Own(), "its param_groups are not the groups that build() was given"),
        (NoOptimizer(), "build() gives a type, not a torch.optim.Optimizer"),
    ],
)
def test_an_optimizer_that_breaks_the_contract_is_refused(section: OptimizerSection, problem: str) -> None:
    with pytest.raises(ComponentError) as refused:
        build_optimizer(section, Small(5))
    assert str(refused.value).startswith(f"optimizer.name=own ({__file__}:")
    assert str(refused.value).endswith(f"): {problem}")


def test_state_that_could_not_be_read_again_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"optimizer": {"state": {0: {"step": 1.0, "size": (1, [2])}}}})
    for value, kind in ((np.float64(1), "numpy.float64"), ({1}, "builtins.set")):
        with pytest.raises(CheckpointError, match=rf"optimizer.state.0.step is of type {kind}, which"):
            save_checkpoint(path, {"optimizer": {"state": {0: {"step": value}}}})
    assert load_checkpoint(path)["optimizer"]["state"][0]["step"] == 1


class OwnSchedule(ScheduleSection):
    name: Literal["own"] = option("own", "Schedule")
    value: Any = option(1.0, "What comes out at last")

    def shape(self, done: float, epoch: float) -> float:
        return 1.0 if epoch < 9.9 else self.value  # type: ignore[no-any-return]


@pytest.fixture
def own_schedule() -> Iterator[None]:
    SCHEDULES.register(OwnSchedule)
    yield
    del SCHEDULES._sections["own"], SCHEDULES._origins["own"]
    SCHEDULES._changed()


@pytest.mark.usefixtures("own_schedule")
@pytest.mark.parametrize("value", [math.nan, -0.5, None, "half", math.inf])
def test_a_schedule_that_ends_in_no_rate_is_refused_before_the_first_step(value: object) -> None:
    config = RunConfig(epochs=10, schedule=OwnSchedule(value=1.0))
    check_schedule(config)
    broken = config.model_copy(update={"schedule": OwnSchedule.model_construct(value=value)})
    with pytest.raises(ComponentError) as refused:
        check_schedule(broken)
    assert str(refused.value).startswith(f"schedule.name=own ({__file__}:")
    assert "): shape(0.99" in str(refused.value)
    assert str(refused.value).endswith(f"is {value!r}; it must be a finite number from 0")


@pytest.mark.usefixtures("own_schedule")
def test_what_the_worker_would_refuse_is_refused_when_a_run_is_requested() -> None:
    broken = OwnSchedule.model_construct(value=-1.0, warmup_epochs=0.0, name="own")
    config = RunConfig(epochs=20, schedule=OwnSchedule(value=1.0))
    check_runnable(config)
    with pytest.raises(ComponentError, match=r"^schedule.name=own .* is -1.0; it must be a finite number"):
        check_runnable(config.model_copy(update={"schedule": broken}))

    class Plain(UNetConfig):
        has_encoder: ClassVar[bool | None] = False
        has_blocks: ClassVar[bool | None] = False

    config = config.model_copy(update={"model": Plain()})
    check_runnable(config)
    slow, again = SGDConfig(layer_decay=0.5), RuntimeConfig(recompute=True)
    with pytest.raises(
        ComponentError, match=r"^optimizer.layer_decay: 0.5 has no effect, as unet has no enc"
    ):
        check_runnable(config.model_copy(update={"optimizer": slow}))
    with pytest.raises(ConfigError, match=r"^runtime.recompute: unet has no blocks\(\) for it; it must be"):
        check_runnable(config.model_copy(update={"runtime": again}))
    with pytest.raises(ComponentError, match="has_encoder is False in its section; for this network it is"):
        check_structure(UNetConfig(width=1).build(3, 2), Plain())


@pytest.mark.usefixtures("own_schedule")
def test_a_schedule_hears_of_time_in_both_measures() -> None:
    heard = []

    class Hears(OwnSchedule):
        def shape(self, done: float, epoch: float) -> float:
            heard.append((done, epoch))
            return 0.5

    config = RunConfig(epochs=10, schedule=OwnSchedule(warmup_epochs=2), optimizer=SGDConfig(lr=3))
    config = config.model_copy(update={"schedule": Hears(warmup_epochs=2)})
    assert learning_rate(config, 10, 5) == 1.5
    assert learning_rate(config, 30, 5) == 1.5
    assert heard == [(0, 2), (0.5, 6)]


def rates_at(steps: Sequence[int], per_epoch: int = 10, **values: Any) -> list[float]:
    config = with_values(
        RunConfig(), {"optimizer.lr": 1, **{k.replace("__", "."): v for k, v in values.items()}}
    )
    return [learning_rate(config, step, per_epoch) for step in steps]


def test_schedules_have_the_shapes_that_are_published() -> None:
    resnet38 = {"epochs": 204, "optimizer__lr": 1.6e-3, "schedule__hold": 140, "schedule__fall_from": 0.5}
    found = rates_at((0, 1399, 1400, 1720, 2039), schedule__name="linear", **resnet38)
    assert found == pytest.approx([1.6e-3, 1.6e-3, 8e-4, 4e-4, 8e-4 / 640])
    drops = {"epochs": 10, "schedule__name": "step", "schedule__milestones": "2,5.5"}
    assert rates_at((0, 19, 20, 54, 55), **drops) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    in_iterations = {**drops, "schedule__milestones": "19,30", "schedule__by": "iterations"}
    assert rates_at((18, 19, 29, 30), **in_iterations, schedule__min_lr=0.05) == pytest.approx(
        [1, 0.1, 0.1, 0.05]
    )
    assert rates_at((0, 30, 60), epochs=9, schedule__name="step", schedule__every=3) == pytest.approx(
        [1, 0.1, 0.01]
    )
    poly = {"epochs": 10, "schedule__name": "poly", "schedule__power": 2, "schedule__min_lr": 0.2}
    assert rates_at((0, 50, 99), **poly) == pytest.approx([1, 0.4, 0.2 + 0.8 * 0.01**2])
    assert rates_at((0, 9, 50, 59), **poly, schedule__by="epochs") == pytest.approx([1, 1, 0.4, 0.4])
    cycle = rates_at((0, 15, 30, 65, 99), epochs=10, schedule__name="one_cycle", schedule__min_lr=0.0)
    assert cycle == pytest.approx([0.04, 0.52, 1, 0.5, 0.5 * (1 + math.cos(math.pi * 69 / 70))])
    ends = {"epochs": 10, "schedule__min_lr": 0.1}  # which only what falls is scaled to
    found = rates_at((0, 15, 30, 65), schedule__name="one_cycle", **ends)
    assert found == pytest.approx([0.04, 0.52, 1, 0.55])
    line = {**ends, "schedule__name": "linear", "schedule__hold": 5}
    assert rates_at((49, 50, 75), schedule__fall_from=0.5, **line) == pytest.approx([1, 0.5, 0.3])
    assert rates_at((49, 50, 75), schedule__fall_from=0.05, **line) == pytest.approx([1, 0.1, 0.1])
    warm = {"epochs": 10, "schedule__warmup_iterations": 3, "schedule__name": "linear", "schedule__hold": 0.1}
    assert rates_at((0, 2, 3, 99), **warm) == pytest.approx([0.25, 0.75, 1, 1 / 97])
    torchs = optim.lr_scheduler.OneCycleLR(
        SGD([torch.zeros(1)], 1), 1, total_steps=1001, pct_start=0.3, div_factor=25
    )
    found = []
    for _ in range(1000):
        found.append(torchs.get_last_lr()[0])
        torchs.optimizer.step()
        torchs.step()
    assert rates_at(range(1000), 100, epochs=10, schedule__name="one_cycle") == pytest.approx(
        found, abs=0.006
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"name": "step", "milestones": "3,3"},
            "schedule.milestones: '3,3' is not allowed; it must be rising",
        ),
        ({"name": "step", "milestones": "80"}, "schedule.milestones: 80 is not reached in 60 epochs"),
        (
            {"name": "step", "milestones": "8", "every": 3},
            "schedule.every: has no effect beside schedule.mil",
        ),
        ({"name": "linear", "hold": 60}, "schedule.hold: 60 leaves nothing of 60 epochs"),
        ({"min_lr": 0.1}, "schedule.min_lr: belongs to schedule.name=cosine, linear"),
        ({"name": "poly", "min_lr": 0.1}, "schedule.min_lr: 0.1 is above optimizer.lr=0.001"),
        ({"name": "one_cycle", "warmup_epochs": 1}, "schedule.warmup_epochs: one_cycle rises by itself"),
        (
            {"warmup_epochs": 1, "warmup_iterations": 5},
            "schedule.warmup_iterations: schedule.warmup_epochs is",
        ),
    ],
)
def test_a_schedule_that_does_not_suit_the_run_is_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        with_values(RunConfig(), {f"schedule.{key}": value for key, value in values.items()})
    assert str(refused.value).startswith(told)


def test_times_in_iterations_are_judged_once_their_number_is_known() -> None:
    config = with_values(RunConfig(epochs=2), {"schedule.warmup_iterations": 10})
    refuse_unsuitable(config, 6)
    with pytest.raises(
        ComponentError, match=r"^schedule.warmup_iterations: 10 leaves nothing of 8 iterations"
    ):
        refuse_unsuitable(config, 4)


@pytest.mark.usefixtures("own_schedule")
def test_a_schedule_may_reckon_with_numpy() -> None:
    config = RunConfig(epochs=10, schedule=OwnSchedule.model_construct(value=np.float32(0.5)))
    assert type(learning_rate(config, 99, 10)) is float
    assert learning_rate(config, 99, 10) == 0.0005


# ---------------------------------------------------------------------- configs

ADAMW = get_recipe("quick")
OLD = {"name": "adamw", "lr": 0.003, "momentum": 0.9, "weight_decay": 0.01, "clip_norm": 0.0}


def old_table() -> dict[str, Any]:
    """The quick recipe's config as an earlier version wrote it: AdamW with a momentum."""
    return {**ADAMW.model_dump(mode="json"), "optimizer": OLD}


def test_the_momentum_that_adamw_never_had_is_no_difference() -> None:
    assert RunConfig.of_stored(old_table()) == ADAMW
    assert config_from_json(json.dumps(old_table()).encode()) == ADAMW
    assert variant_of(old_table()) == variant_of(ADAMW.model_dump(mode="json"))


def test_a_file_with_the_momentum_of_adamw_is_read_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text(to_toml(ADAMW).replace('name = "adamw"', 'name = "adamw"\nmomentum = 0.9'))
    with pytest.warns(
        OldKey, match=r"old.toml: optimizer.momentum: has no effect with optimizer.name=adamw and can be"
    ):
        assert load_config(path) == ADAMW


def test_a_momentum_is_refused_where_it_has_no_effect() -> None:
    line = (
        "optimizer.momentum: belongs to optimizer.name=sgd or rmsprop; optimizer.name=adamw has "
        "optimizer.beta1, optimizer.beta2, optimizer.eps"
    )
    with pytest.raises(ConfigError, match=f"^{line}$"):
        with_values(ADAMW, {"optimizer.momentum": 0.9})
    changed = with_values(ADAMW, {"optimizer.momentum": 0.9, "optimizer.name": "sgd"})
    assert changed.optimizer == SGDConfig(lr=0.003, weight_decay=0.01, momentum=0.9)
    assert differences(ADAMW, changed)["optimizer.momentum"] == (None, 0.9)
    assert with_values(changed, {"optimizer.name": "adamw"}) == ADAMW


def test_another_optimizer_has_its_own_defaults_and_keeps_what_was_chosen() -> None:
    with_momentum = with_values(RunConfig(), {"optimizer.name": "rmsprop", "optimizer.momentum": 0.9})
    assert with_values(with_momentum, {"optimizer.name": "sgd"}).optimizer == SGDConfig(momentum=0.9)

    class Slow(AdamWConfig):
        name: Literal["slow"] = option("slow", "Optimizer")  # type: ignore[assignment]
        beta2: float = option(0.5, "Share of the old mean of their squares in the new one", ge=0, lt=1)

    OPTIMIZERS.register(Slow)
    try:
        other = with_values(ADAMW, {"optimizer.name": "slow"}).optimizer
        assert isinstance(other, Slow)
        assert (other.lr, other.beta2) == (0.003, 0.5)
    finally:
        del OPTIMIZERS._sections["slow"], OPTIMIZERS._origins["slow"]
        OPTIMIZERS._changed()


def test_the_nearest_name_is_told() -> None:
    for key, typo, near in (("optimizer.name", "adamv", "adam"), ("schedule.name", "cosin", "cosine")):
        with pytest.raises(ConfigError, match=f"{key}: '{typo}' is not allowed; .*did you mean {near}"):
            with_values(RunConfig(), {key: typo})


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("optimizer.name", ("sgd", "adamw", "adam", "rmsprop")),
        ("schedule.name", ("constant", "cosine", "poly", "linear", "step")),
        ("model.name", ("unet", "modern_unet")),
    ],
)
def test_components_with_the_same_keys_are_variants_of_their_own(key: str, names: tuple[str, ...]) -> None:
    base = with_values(RunConfig(), {"optimizer.lr": 0.5, "schedule.warmup_epochs": 3})
    words = {variant_of(with_values(base, {key: name}).model_dump(mode="json")) for name in names}
    assert len(words) == len(names)


def test_a_variant_does_not_depend_on_whether_its_plugin_is_loaded() -> None:
    table = {**RunConfig().model_dump(mode="json"), "optimizer": {**SGDConfig().model_dump(), "name": "own"}}
    del table["optimizer"]["momentum"], table["optimizer"]["nesterov"]
    unknown = variant_of(table)
    missing = RunConfig.of_stored(table).missing()
    assert missing == [
        "optimizer.name=own: no such optimizer here; it may come from a package that is not installed"
    ]
    from engine.components.origin import Origin, registering

    with registering(Origin("file", "/own.py", "")):
        OPTIMIZERS.register(Own)
    try:
        assert isinstance(RunConfig.of_stored(table).optimizer, Own)
        assert variant_of(table) == unknown
    finally:
        del OPTIMIZERS._sections["own"], OPTIMIZERS._origins["own"]
        OPTIMIZERS._changed()


def test_what_pretrains_from_nothing_learns_at_one_rate() -> None:
    config = with_values(
        ADAMW, {"pretrain.epochs": 2, **{f"optimizer.{key}": value for key, value in FACTORS.items()}}
    )
    first = pretraining_of(config)
    assert first is not None
    assert first.optimizer == ADAMW.optimizer
