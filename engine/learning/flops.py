"""How much arithmetic a network is."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.config import RunConfig
from engine.models.registry import CHANNELS, build_model


def flops_per_sample(config: RunConfig, classes: int) -> int:
    """FLOPs of one forward pass of one image, a multiply-add counting as two, by torch's own counter.

    Counted on meta tensors: shapes only, no memory, no time.
    """
    with torch.device("meta"):
        model = build_model(config.model, classes)
        image = torch.empty(1, CHANNELS, *config.data.size)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(image)
    return int(counter.get_total_flops())
