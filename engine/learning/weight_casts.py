"""The weights of a network in the type it computes in, cast all at once.

Autocast casts the weights of each layer as it comes to them, and their gradients back: two launches a step
for each of a hundred weights. On a GPU a launch takes as long as most of the casts; here one casts many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from engine.models.layers import TransposedConvolution

CAST_BY_AUTOCAST = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
    TransposedConvolution,
)
"""Layers, these and no subclasses, which could use their weights in other ways before autocast sees them."""


class CastAtOnce(nn.Module):
    """A network whose convolutions and linear layers see their weights in `dtype`, as under autocast: with
    the same results and gradients, to the last bit. The weights themselves, and all others, stay as they are.

    Call it under autocast to `dtype`. Gradients become known all at once, at the end of the backward pass.
    With `casts_images` they are cast with the weights: where only convolutions read them.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, casts_images: bool = False) -> None:
        super().__init__()
        self.network, self.dtype, self._casts_images = network, dtype, casts_images
        layers = [
            (f"{place}.{name}".lstrip("."), layer._parameters, name)
            for place, layer in network.named_modules()
            if type(layer) in CAST_BY_AUTOCAST
            for name, weight in layer._parameters.items()
            if weight is not None
        ]
        self._names = [name for name, _, _ in layers]
        self._places: list[tuple[dict[str, Any], str]] = [(own, name) for _, own, name in layers]

    def forward(self, images: Tensor) -> Any:
        weights = [own[name] for own, name in self._places]
        if self._casts_images:
            images, *cast = Cast.apply(self.dtype, 1, images, *weights)
        else:
            cast = Cast.apply(self.dtype, 0, *weights)
        if torch.compiler.is_compiling():
            return functional_call(self.network, dict(zip(self._names, cast, strict=True)), (images,))
        # As functional_call does, in a tenth of its time, which would be a fifth of a small network's step.
        self._put(cast)
        try:
            return self.network(images)
        finally:
            self._put(weights)

    def _put(self, weights: Sequence[Tensor]) -> None:
        """Let the layers have these weights."""
        for (own, name), weight in zip(self._places, weights, strict=True):
            own[name] = weight


class Cast(torch.autograd.Function):
    """Tensors in another type, and their gradients in their own; the first `fixed` have none."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, fixed: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.was = tensors[0].dtype
        made = tuple(cast_all(tensors, dtype))
        ctx.mark_non_differentiable(*made[:fixed])
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        known = iter(cast_all([each for each in gradients if each is not None], ctx.was))
        return None, None, *(None if each is None else next(known) for each in gradients)


def cast_all(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Copies in another type."""
    made = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    if made:
        torch._foreach_copy_(made, list(tensors))
    return made
