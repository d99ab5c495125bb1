"""What the contract asks of a network that another package builds: its layers, blocks and idle weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from engine.models.contract import SegmentationNetwork, outputs_of

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def children_of(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """The parts of a module in the order in which it defines them, with their names; those of containers,
    such as a stage that is a sequence of blocks, instead of the container. Parts without weights are left
    out."""
    for name, child in module.named_children():
        if isinstance(child, CONTAINERS) and any(has_weights(part) for part in child.children()):
            yield from children_of(child, f"{prefix}.{name}")
        elif has_weights(child):
            yield f"{prefix}.{name}", child


def has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def layers_of(module: nn.Module, prefix: str) -> list[tuple[str, ...]]:
    """The layers of an encoder from its input on, as it defines them: each part with matrices, and with it
    the norms that follow."""
    layers: list[tuple[str, ...]] = []
    for name, child in children_of(module, prefix):
        if any(parameter.ndim >= 2 for parameter in child.parameters()) or not layers:
            layers.append((name,))
        else:
            layers[-1] = (*layers[-1], name)
    own = [f"{prefix}.{name}" for name, _ in module.named_parameters(recurse=False)]
    return [(*layers[0], *own), *layers[1:]] if own and layers else layers


def blocks_of(module: nn.Module, prefix: str = "") -> Iterator[nn.Module]:
    """The parts of a module that are made of several layers, for activation checkpointing."""
    for _, child in children_of(module, prefix):
        if sum(1 for part in child.modules() if part._parameters) > 1:
            yield child


def idle_weights(build: Callable[[], SegmentationNetwork], side: int) -> frozenset[str]:
    """The names of the parameters that no output of a network in training depends on; tried on the meta
    device, with two images of side x side."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = build().train()
        with torch.enable_grad():
            made = outputs_of(network, torch.empty(2, 3, side, side))
            sum(logits.float().sum() for logits in (made.logits, *made.auxiliary)).backward()  # type: ignore[union-attr]
    return frozenset(name for name, parameter in network.named_parameters() if parameter.grad is None)
