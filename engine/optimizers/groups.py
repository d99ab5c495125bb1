"""From an optimizer's section and a network to the optimizer: which weights decay, how fast each learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from engine.components.origin import ComponentError
from engine.components.outside import defined_in
from engine.models.contract import SegmentationNetwork
from engine.optimizers import OptimizerSection, refuse_idle_factors


def build_optimizer(section: OptimizerSection, network: SegmentationNetwork) -> Optimizer:
    """The optimizer of a section over all parameters of a network that have a gradient.

    Raises ComponentError when a factor would have no effect, or when the optimizer breaks its contract.
    """
    groups = parameter_groups(section, network)
    wanted = [[id(parameter) for parameter in group["params"]] for group in groups]
    optimizer = section.build(groups)
    if not isinstance(optimizer, Optimizer):
        raise _broken(section, f"build() gives a {type(optimizer).__name__}, not a torch.optim.Optimizer")
    made = [[id(parameter) for parameter in group["params"]] for group in optimizer.param_groups]
    if made != wanted:
        raise _broken(section, "its param_groups are not the groups that build() was given")
    return optimizer


def parameter_groups(section: OptimizerSection, network: SegmentationNetwork) -> list[dict[str, Any]]:
    """A network's parameters by weight decay and learning rate: those that decay, then the others, each with
    one group for every factor on the learning rate, in the order of the network.

    With all factors at 1 there are two groups. If the encoder is frozen at first, its groups are apart.
    Checkpoints rely on the order: the optimizer's state is found again by it. Raises ComponentError when a
    factor would have no effect.
    """
    refuse_idle_factors(section, type(network).__name__, bool(network.encoder_names))
    parameters = {name: each for name, each in network.named_parameters() if each.requires_grad}
    biases = bias_names(network)
    if section.bias_lr_factor != 1 and not biases & parameters.keys():
        raise ComponentError(
            f"optimizer.bias_lr_factor: {section.bias_lr_factor:g} has no effect, as no layer of "
            f"{type(network).__name__} has a bias; it must be 1"
        )
    factors = {
        name: _factor(section, network, name) * (section.bias_lr_factor if name in biases else 1.0)
        for name in parameters
    }
    waits = section.freeze_encoder
    kinds = {name: (factors[name], waits if network.is_encoder(name) else 0) for name in parameters}
    groups = []
    for decays in (True, False):
        for factor, frozen in dict.fromkeys(kinds.values()):
            names = [
                name
                for name, each in parameters.items()
                if kinds[name] == (factor, frozen) and network.decays(name, each) == decays
            ]
            group: dict[str, Any] = {
                "params": [parameters[name] for name in names],
                "names": names,
                "weight_decay": section.weight_decay if decays else 0.0,
                "lr_factor": factor,
            }
            groups.append(group | ({"frozen_iterations": frozen} if frozen else {}))
    return groups


def bias_names(network: nn.Module) -> set[str]:
    """The names of the biases of layers: parameters of one dimension called a bias, in a module of which some
    other parameter has two or more. So the shifts of norms are none."""
    names: set[str] = set()
    for prefix, module in network.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if any(each.ndim >= 2 for each in own.values()):
            dotted = f"{prefix}." if prefix else ""
            names |= {f"{dotted}{name}" for name, each in own.items() if each.ndim == 1 and "bias" in name}
    return names


def set_learning_rate(optimizer: Optimizer, lr: float, done: int) -> None:
    """Give each group its part of the learning rate: none while fewer iterations are `done` than it is
    frozen. Groups from old checkpoints have no factor."""
    for group in optimizer.param_groups:
        part = 0.0 if done < group.get("frozen_iterations", 0) else lr * group.get("lr_factor", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(part)
        else:
            group["lr"] = part


def keep_learning_rate_on(optimizer: Optimizer, device: torch.device) -> None:
    """Have the groups' learning rates in the device's memory, where a CUDA graph of the step reads them."""
    for group in optimizer.param_groups:
        group["lr"] = torch.full((), float(group["lr"]), device=device)


def keep_learning_rate_on_host(optimizer: Optimizer) -> None:
    """Have the groups' learning rates as plain numbers again."""
    for group in optimizer.param_groups:
        group["lr"] = float(group["lr"])


def state_of(optimizer: Optimizer) -> dict[str, Any]:
    """What a checkpoint keeps of an optimizer: its learning rates are numbers, wherever they were."""
    state = optimizer.state_dict()
    groups = [{**group, "lr": float(group["lr"])} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


def load_state(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Take over the state that `state_of` gave; the learning rates stay where they are."""
    rates = [group["lr"] for group in optimizer.param_groups]
    # Where the step is computed is a matter of the device that the run goes on with.
    where = [
        {key: own[key] for key in ("capturable", "foreach", "fused") if key in own}
        for own in optimizer.param_groups
    ]
    groups = [{**group, **own} for group, own in zip(saved["param_groups"], where, strict=True)]
    optimizer.load_state_dict({**saved, "param_groups": groups})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(rate, Tensor):
            group["lr"] = rate.fill_(float(group["lr"]))


@contextmanager
def capturable(optimizer: Optimizer) -> Iterator[None]:
    """Within it torch's own fused optimizers let a CUDA graph capture their step, as they always could."""
    initialised = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    capturing = initialised and torch.cuda.is_current_stream_capturing()
    groups = [
        group
        for group in optimizer.param_groups
        if capturing and group.get("fused") and "capturable" in group
    ]
    before = [group["capturable"] for group in groups]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, was in zip(groups, before, strict=True):
            group["capturable"] = was


def is_state_of(saved: dict[str, Any], optimizer: Optimizer) -> bool:
    """Whether the saved state of an optimizer is that of the same parameters in the same groups.

    Groups from old checkpoints have no names; there, the numbers of parameters have to do.
    """
    groups, own = saved["param_groups"], optimizer.param_groups
    return len(groups) == len(own) and all(
        len(group["params"]) == len(mine["params"]) and group.get("names", mine["names"]) == mine["names"]
        for group, mine in zip(groups, own, strict=True)
    )


def divide_as(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Divide the parameters among the groups of a new optimizer as a saved state has them, if just which of
    them decay is another: an earlier version may have spared others, and a run goes on as it began."""
    groups, own = saved["param_groups"], optimizer.param_groups
    theirs, ours = (
        {name: _pace(group) for group in division for name in group.get("names", ())}
        for division in (groups, own)
    )
    if theirs != ours or [_pace(group) for group in groups] != [_pace(group) for group in own]:
        return
    if not all(_agree_in_order(group["names"], mine["names"]) for group in groups for mine in own):
        return
    pairs = [zip(group["names"], group["params"], strict=True) for group in own]
    parameters = {name: parameter for pair in pairs for name, parameter in pair}
    for group, new in zip(own, groups, strict=True):
        group["names"] = list(new["names"])
        group["params"] = [parameters[name] for name in new["names"]]


def _pace(group: dict[str, Any]) -> tuple[float, int]:
    """What tells groups apart beside their weight decay."""
    return group.get("lr_factor", 1.0), group.get("frozen_iterations", 0)


def _agree_in_order(one: list[str], other: list[str]) -> bool:
    both = set(one) & set(other)
    return [name for name in one if name in both] == [name for name in other if name in both]


def _factor(section: OptimizerSection, network: SegmentationNetwork, name: str) -> float:
    """The learning rate of a parameter over that of the schedule."""
    if network.is_head(name):
        return section.head_lr_factor
    if not network.is_encoder(name):
        return 1.0
    count, layer = len(network.layers()), network.layer_of(name)
    # What is in no layer, such as a norm after the last one, learns like what comes after the encoder.
    above = 0 if layer is None else count - layer
    return float(section.encoder_lr_factor * section.layer_decay**above)


def _broken(section: OptimizerSection, problem: str) -> ComponentError:
    return ComponentError(f"optimizer.name={section.name} ({defined_in(type(section))}): {problem}")
