"""What depends on the size of a map alone: made in NumPy and kept, on the device from the first use on.

While a network is exported nothing is kept, as a tensor of the trace means nothing later; there it becomes a
constant of the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float32]

CUBIC = -0.5
"""Of the cubic that resamples with smoothing, as in Pillow."""


_KEPT: dict[tuple[Callable[..., Array], tuple[int, ...], torch.device], Tensor] = {}


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def on_device(make: Callable[..., Array], sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """What `make` makes of sizes, float32."""
    key = make, tuple(int(size) for size in sizes), device  # numbers, where a trace has tensors
    if key in _KEPT and not torch.compiler.is_compiling():
        return _KEPT[key]
    with torch.inference_mode(False):
        made = torch.from_numpy(make(*key[1])).to(device)
    if type(made) is Tensor and not torch.compiler.is_compiling():
        _KEPT[key] = made
    return made


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
