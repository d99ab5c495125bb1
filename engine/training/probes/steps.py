"""What probes take training steps with: a state like that of a run, and random images."""

from __future__ import annotations

import torch

from engine.config.run_config import RunConfig
from engine.data.batches import Batch
from engine.learning.hardware import Hardware
from engine.models.contract import outputs_of
from engine.training.distillation import Teacher
from engine.training.rng import ScoringNoise
from engine.training.state import TrainState, new_state


def state_for_steps(
    config: RunConfig, hardware: Hardware, classes: int, images: int, teacher: Teacher | None = None
) -> TrainState:
    """The state of a run at the first step of an epoch of `images` images."""
    names = [str(index) for index in range(classes)] if config.needs_labels else []
    state = new_state(config, hardware, names, teacher=teacher)
    state.begin_epoch(images)
    return state


def random_batch(config: RunConfig, hardware: Hardware, classes: int, images: int) -> Batch:
    """Images [images, H, W, 3] and labels [images, H, W] of the config's size, uint8, on the device."""
    shape = (images, *config.data.size)
    return Batch(
        torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, device=hardware.device),
        torch.randint(0, classes, shape, dtype=torch.uint8, device=hardware.device),
    )


@torch.inference_mode()
def score_whole_images(state: TrainState, batch: Batch) -> None:
    """What a validation batch takes where training sees crops, and so much less."""
    targets = state.objective.targets(batch.images, batch.labels, ScoringNoise(state.config.seed, 0))
    state.model.eval()
    with state.hardware.autocast():
        logits = outputs_of(state.model, state.objective.inputs(batch.images, targets)).logits
    state.objective.sums(logits, targets)
    state.model.train()
