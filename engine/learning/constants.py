"""Constants on the device, without the host waiting for it."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """float32 [len(values)], made once a device: a tensor made of numbers there makes the host wait."""
    with torch.inference_mode(False):  # a step that trains may use it later
        return torch.tensor(values, device=device)
