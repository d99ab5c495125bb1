"""Whether a network can train on so few images at once, asked of the network itself."""

from __future__ import annotations

from functools import lru_cache

import torch

from engine.config.run_config import RunConfig
from engine.config.step_parts import Enough
from engine.learning.batch_norm import set_training_mode
from engine.models import ModelSection
from engine.models.registry import CHANNELS, build_model


def enough_by_network(outputs: int) -> Enough:
    """Says for a config and a number of images whether a training pass of its network, with `outputs`
    channels, has what its norm layers need. Tried on meta tensors: shapes only, no memory, no time."""

    @lru_cache(maxsize=256)
    def trains(section: ModelSection, size: tuple[int, int], images: int, norms: str) -> bool:
        with torch.device("meta"):
            network = build_model(section, outputs)
            set_training_mode(network, norms)
            given = torch.empty(images, CHANNELS, *size)
        try:
            with torch.no_grad():
                network(given)
        except ValueError as error:
            if not is_lack_of_images(error):
                raise
            return False
        return True

    def enough(config: RunConfig, images: int) -> bool:
        return trains(config.model, config.train_size, images, config.batch_norm)

    return enough


def is_lack_of_images(error: BaseException) -> bool:
    """Whether a norm layer had a single value to average: what torch says of batch, group and instance norm
    alike."""
    return isinstance(error, ValueError) and "Expected more than 1" in str(error)
