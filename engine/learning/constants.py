"""Constants on the device, without the host waiting for it."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from engine.models.compiling import constant_result


@lru_cache
def unit(dtype: torch.dtype, device: torch.device) -> Tensor:
    """1, []: the gradient of a loss, which torch would make anew for each."""
    with torch.inference_mode(False):
        return torch.ones((), dtype=dtype, device=device)


@constant_result
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """float32 [len(values)], made once a device: a tensor made of numbers there makes the host wait."""
    made: Tensor = _constant(values, device)
    return made


@lru_cache
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a step that trains may use it later
        return torch.tensor(values, device=device)
