"""Which part of each image the steps of an epoch show, known before the pixels are read."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.data.batches import Crops
from engine.learning.distributed import Group
from engine.training.state import TrainState
from engine.training.step import draws_of_step


def crops_of_epoch(
    state: TrainState, images: int, order: Tensor, local_size: int, focus: Tensor | None, group: Group
) -> Crops | None:
    """Where the steps of the state's epoch cut their crops out of this rank's part of it, `order`, in batches
    of `local_size`; None where that is decided when the pixels are there.

    The draws are those of the steps themselves, so a crop lies where it would lie in the whole image.
    """
    config, window = state.config, state.augment.cut
    if window is None or window.crop is None:
        return None
    corners = []
    for step, part in enumerate(torch.split(order, local_size)):
        first = step * local_size
        global_size = min(config.batch_size, images - step * config.batch_size)
        points = None if focus is None else focus[first : first + local_size]
        draws = draws_of_step(config.seed, state.epoch, step, global_size, group, points)
        corners.append(window.corners(len(part), config.data.size, draws))
    return Crops(window.crop, torch.cat(corners))
