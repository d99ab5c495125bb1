"""How much arithmetic a network is."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.config.run_config import RunConfig
from engine.learning.windows import Windows
from engine.models.contract import check_shapes
from engine.models.registry import CHANNELS, build_model


def flops_per_image(config: RunConfig, outputs: int) -> int:
    """FLOPs of an image of `data.size` where images are scored: as a whole, or of all its windows."""
    windows = Windows.of(config.windowed).count(config.data.size)
    return windows * flops_per_sample(config, outputs, config.scored_size)


def flops_per_sample(config: RunConfig, outputs: int, size: tuple[int, int] | None = None) -> int:
    """FLOPs of one forward pass of one image in evaluation, for `outputs` channels, by torch's own counter.
    `size` is (height, width); None: that of the images.

    A multiply-add counts as two. Counted on meta tensors: shapes only, no memory, no time.
    """
    with torch.device("meta"):
        model = build_model(config.model, outputs)
        check_shapes(model, config.model, CHANNELS, outputs)
        image = torch.empty(1, CHANNELS, *(size or config.data.size))
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.eval()(image)  # batch norm in training cannot do with one pixel of one image
    return int(counter.get_total_flops())
