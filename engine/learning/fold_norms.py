"""Batch norms folded into the convolutions before them, as networks are deployed."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode

from engine.errors import EngineError
from engine.models.contract import outputs_of

MOST_DIFFERENT = 1e-3
"""Largest difference of the logits, as a share of the largest logit: rounding of float32 through a deep
network is below it, a norm in the wrong place far above."""

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
"""Of just these types: classes derived from them may do something else with their weights. Torch folds
nothing into transposed convolutions of several groups."""


class FoldError(EngineError):
    """The norms of a network cannot be folded; the message is one line."""


@torch.no_grad()
def with_folded_norms(model: nn.Module, size: tuple[int, int]) -> nn.Module:
    """A copy of a network in evaluation mode whose batch norms are part of the convolutions before them,
    where there is one whose output nothing else reads; checked on a random image of `size` (height, width) to
    give the same logits. Raises FoldError."""
    folded = copy.deepcopy(model)
    for conv, norm in foldable(model, size):
        fold(folded, conv, norm)
    image = torch.randn(1, 3, *size, device=next(model.parameters()).device)
    before, after = (outputs_of(each, image).logits.float() for each in (model, folded))
    largest = float((before - after).abs().max())
    if not largest <= MOST_DIFFERENT * float(before.abs().max()):
        raise FoldError(f"folding its batch norms changes the logits by {largest:.2g}, so it is not measured")
    return folded


def fold(model: nn.Module, conv: str, norm: str) -> None:
    """Make the norm of that name part of the convolution of that name."""
    convolution, batch_norm = model.get_submodule(conv), model.get_submodule(norm)
    assert isinstance(convolution, CONVOLUTIONS)
    assert isinstance(batch_norm, _BatchNorm)
    transposed = isinstance(convolution, nn.ConvTranspose2d)
    fused = fuse_conv_bn_eval(convolution, batch_norm, transpose=transposed)
    # Norms of timm have an activation of their own, which stays.
    rest = [getattr(batch_norm, name) for name in ("drop", "act") if hasattr(batch_norm, name)]
    _put(model, conv, fused)
    _put(model, norm, nn.Sequential(*rest) if rest else nn.Identity())


def _put(model: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, part)


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how many operations read each tensor, by its id."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for given in (*args, *(kwargs or {}).values()):
            several = given if isinstance(given, list | tuple) else (given,)
            self.count.update(id(each) for each in several if isinstance(each, Tensor))
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def foldable(model: nn.Module, size: tuple[int, int]) -> list[tuple[str, str]]:
    """Names of convolutions, and of the norms that alone read what they make: found by a pass without
    arithmetic, so any way to write a network will do. A part that is passed twice is left as it is."""
    shadow = copy.deepcopy(model).to("meta")
    reads, passed = _Reads(), Counter[str]()
    made: dict[int, tuple[str, Tensor]] = {}  # with the tensor, so that its id stays its own
    found: list[tuple[str, str, int]] = []

    def after(name: str) -> Any:
        def hook(part: nn.Module, given: Any, output: Tensor) -> None:
            passed[name] += 1
            made[id(output)] = (name, output)
            reads.count[id(output)] = 0

        return hook

    def before(name: str) -> Any:
        def hook(part: nn.Module, given: tuple[Tensor, ...]) -> None:
            passed[name] += 1
            if id(given[0]) in made:
                found.append((made[id(given[0])][0], name, id(given[0])))

        return hook

    for name, part in shadow.named_modules():
        if type(part) in CONVOLUTIONS and not (isinstance(part, nn.ConvTranspose2d) and part.groups > 1):
            part.register_forward_hook(after(name))
        elif isinstance(part, _BatchNorm) and part.running_mean is not None:
            part.register_forward_pre_hook(before(name))
    with reads:
        shadow(torch.empty(1, 3, *size, device="meta"))
    return [
        (conv, norm)
        for conv, norm, output in found
        if passed[conv] == passed[norm] == reads.count[output] == 1
    ]
