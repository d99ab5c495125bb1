"""What depends on the size of a map alone: made in NumPy and kept, on the device from the first use on.

While a network is exported nothing is kept, as a tensor of the trace means nothing later; there it becomes a
constant of the file. A compiled network asks for it by an operator, as torch.compile does not take two
constants of one function in a graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float32]

CUBIC = -0.5
"""Of the cubic that resamples with smoothing, as in Pillow."""


def resampling(learned: int, wanted: int) -> Array:
    """float32 [wanted, learned]: bicubic resampling along one side, smoothed where it gets smaller, as torch
    does it with `antialias=True`."""
    scale = learned / wanted
    spread = max(scale, 1.0)
    centres = (np.arange(wanted) + 0.5) * scale
    apart = np.abs(np.arange(learned) + 0.5 - centres[:, None]) / spread
    near = ((CUBIC + 2) * apart - (CUBIC + 3)) * apart**2 + 1
    far = (((apart - 5) * apart + 8) * apart - 4) * CUBIC
    weights = np.where(apart < 1, near, np.where(apart < 2, far, 0.0))
    shares: Any = weights / weights.sum(1, keepdims=True)
    return np.asarray(shares, np.float32)


def sines(channels: int, height: int, width: int) -> Array:
    """Places of a map as sines and cosines, float32 [h w, D]: as many channels for y as for x, wavelengths
    rising from the side of the map (Carion et al., "End-to-End Object Detection with Transformers", 2020)."""
    half = -(-channels // 2)
    wavelengths = 10_000.0 ** (np.arange(half) // 2 * 2 / half)
    sides = []
    for side in (height, width):
        angles = (np.arange(1, side + 1) / side * 2 * math.pi)[:, None] / wavelengths
        sides.append(np.where(np.arange(half) % 2 == 0, np.sin(angles), np.cos(angles)))  # [side, half]
    shape = height, width, half
    y, x = np.broadcast_to(sides[0][:, None], shape), np.broadcast_to(sides[1], shape)
    both = np.concatenate([y, x], -1).reshape(height * width, -1)[:, :channels]
    return np.ascontiguousarray(both, np.float32)


_MAKERS: dict[str, Callable[..., Array]] = {each.__name__: each for each in (resampling, sines)}
_KEPT: dict[tuple[str, tuple[int, ...], torch.device], Tensor] = {}


def on_device(make: Callable[..., Array], sizes: Sequence[int], like: Tensor) -> Tensor:
    """What `make`, which is one of `_MAKERS`, makes of sizes: float32, on the device of `like`."""
    numbers = [int(size) for size in sizes]  # where a trace has tensors
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        made: Tensor = _of_compiled(make.__name__, numbers, like.detach())
        return made
    return _made(make.__name__, tuple(numbers), like.device)


def _made(name: str, sizes: tuple[int, ...], device: torch.device) -> Tensor:
    key = name, sizes, device
    is_exported = torch.compiler.is_exporting()
    if key in _KEPT and not is_exported:
        return _KEPT[key]
    with torch.inference_mode(False):
        made = torch.from_numpy(_MAKERS[name](*sizes)).to(device)
    if type(made) is Tensor and not is_exported:
        _KEPT[key] = made
    return made


@torch.library.custom_op("seg_engine::fixed", mutates_args=())
def _of_compiled(name: str, sizes: Sequence[int], like: Tensor) -> Tensor:
    return _made(name, tuple(sizes), like.device).clone()  # an operator gives what is not kept elsewhere


@_of_compiled.register_fake
def _shape_of_compiled(name: str, sizes: Sequence[int], like: Tensor) -> Tensor:
    return like.new_empty(_MAKERS[name](*sizes).shape, dtype=torch.float32)
