"""MixStyle: after early layers, an image's features take a mixture of their own mean and deviation in each
channel and of those of another image.

Zhou, Yang, Qiao, Xiang: "Domain Generalization with MixStyle", ICLR 2021, arXiv 2104.02008.

Which images mix and how much is drawn for the global batch by a stream of the step. So it is the same after a
resumption, in a replayed CUDA graph, and on several devices, which send each other means and deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from engine.components.origin import ComponentError
from engine.learning.distributed import Group
from engine.models.contract import SegmentationNetwork

EPS = 1e-6
"""Added to variances, as in the paper's code."""


class MixStyle:
    """Mixes styles after the encoder's layers of these numbers, from 1: with this probability, by a share of
    Beta(alpha, alpha).

    `images` is the most that a device has of a batch, `part` how many of them go through the network at once;
    0: all. Images of one pass are mixed, on several devices those of all, unless a batch is cut into parts.
    """

    def __init__(
        self,
        model: SegmentationNetwork,
        probability: float,
        alpha: float,
        numbers: Sequence[int],
        images: int,
        part: int,
        device: torch.device,
        group: Group,
    ) -> None:
        self._model, self._probability, self._alpha = model, probability, alpha
        self._part, self._group = part, group
        names = layers_by_number(model, numbers)
        # What is kept of each layer and image: how much it keeps of its own style, and whose else it takes.
        self._kept = torch.ones(len(names), images, device=device)
        self._others = torch.zeros(len(names), images, dtype=torch.int64, device=device)
        self._shown = slice(0, 0)
        self._views: dict[tuple[int, int], tuple[list[Tensor], list[Tensor]]] = {}
        self._now: tuple[list[Tensor], list[Tensor]] | None = None
        self._images, self._shares = 0, False
        for index, name in enumerate(names):
            model.get_submodule(name).register_forward_hook(partial(self._mix, index, name))

    def draw(self, generator: Generator, images: int, first: int, count: int) -> None:
        """Draw for the `images` images of a step, of which this device has `count` from `first` on."""
        layers = len(self._kept)
        chance, order = torch.rand(2, layers, images, generator=generator)
        seed = int(torch.randint(2**62, (1,), generator=generator))
        share = np.random.default_rng(seed).beta(self._alpha, self._alpha, (layers, images))
        kept = torch.where(chance < self._probability, torch.from_numpy(share).float(), 1.0)
        most = -(-images // self._group.count)
        self._images = images
        self._shares = self._group.count > 1 and not 0 < self._part < most
        if self._shares:
            others = order.argsort(1)[:, first : first + count]
        else:
            own = torch.split(order[:, first : first + count], self._part or count, 1)
            others = torch.cat([each.argsort(1) for each in own], 1)
        device = self._kept.device
        self._kept[:, :count].copy_(kept[:, first : first + count].to(device, non_blocking=True))
        self._others[:, :count].copy_(others.to(device, non_blocking=True))

    def show(self, start: int, count: int) -> None:
        """Mix the styles of `count` of this device's images from `start` on, which pass next."""
        if (start, count) not in self._views:
            part = slice(start, start + count)
            self._views[start, count] = list(self._kept[:, part]), list(self._others[:, part])
        self._now = self._views[start, count]

    def _mix(self, index: int, name: str, layer: nn.Module, given: Any, output: Any) -> Any:
        """A layer's output, a map [B, C, h, w] or [B, h, w, C] or tokens [B, N, C], with mixed styles in
        training."""
        # The network decides, not the layer: frozen batch norms are in evaluation mode in training, too.
        if not self._model.training or self._now is None:
            return output
        if not isinstance(output, Tensor) or output.ndim not in (3, 4):
            raise ComponentError(
                f"augment.mixstyle_layers: {name} gives no map of features; other layers may be named"
            )
        kept, others = self._now[0][index], self._now[1][index]
        if len(kept) != len(output):
            return output  # a pass that is none of a step
        pixels = pixel_axes(layer, output)
        with torch.no_grad():
            var, mean = torch.var_mean(output.float(), dim=pixels, correction=0)  # [B, C]
            style = torch.stack([mean, (var + EPS).sqrt()], 1)  # [B, 2, C]
            whole = self._group.whole_batch(style, self._images) if self._shares else style
            mixed = torch.lerp(whole[others], style, kept[:, None, None])
            scale = mixed[:, 1] / style[:, 1]
            shift = mixed[:, 0] - scale * style[:, 0]
            # Who keeps its style keeps its bits.
            still = (kept == 1)[:, None]
            scale, shift = torch.where(still, 1.0, scale), torch.where(still, 0.0, shift)
        shape = [1 if axis in pixels else size for axis, size in enumerate(output.shape)]
        return output * scale.view(shape).to(output.dtype) + shift.view(shape).to(output.dtype)


def pixel_axes(layer: nn.Module, output: Tensor) -> tuple[int, ...]:
    """The axes of a layer's output that are its pixels or tokens. Maps of Swin have their channels last,
    which a layer norm of as many channels gives away."""
    if output.ndim == 3:
        return (1,)
    sizes = {part.normalized_shape[-1] for part in layer.modules() if isinstance(part, nn.LayerNorm)}
    is_last = output.shape[-1] in sizes and output.shape[1] not in sizes
    return (1, 2) if is_last else (2, 3)


def layers_by_number(model: SegmentationNetwork, numbers: Sequence[int]) -> list[str]:
    """Names of the parts that end the encoder's layers of these numbers, from 1. Raises ComponentError."""
    layers = model.layers()
    if not layers or max(numbers) > len(layers):
        told = f"has {len(layers)} layers" if layers else "has no encoder"
        raise ComponentError(
            f"augment.mixstyle_layers: {','.join(map(str, numbers))} is not allowed; the encoder of "
            f"{type(model).__name__} {told}"
        )
    return [_last_called(model, layers[number - 1], number) for number in numbers]


def _last_called(model: nn.Module, names: Sequence[str], number: int) -> str:
    """The last of a layer's parts that is called; of a collection of parts its last."""
    parts = dict(model.named_modules())
    for name in reversed(names):
        while name in parts and isinstance(parts[name], nn.ModuleDict | nn.ModuleList) and len(parts[name]):
            name = f"{name}.{list(parts[name]._modules)[-1]}"
        if name in parts:
            return name
    raise ComponentError(
        f"augment.mixstyle_layers: layer {number}, {' and '.join(names)}, gives no map of features"
    )
