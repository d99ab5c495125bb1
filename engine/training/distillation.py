"""A trained network teaches another: its soft targets are learned beside the labels.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015; pixel by pixel as in Liu et
al., "Structured Knowledge Distillation for Semantic Segmentation", CVPR 2019.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from engine.classes import VOID
from engine.config.run_config import RunConfig
from engine.config.sections import DistillConfig
from engine.inference.network import LoadedModel, load_model
from engine.learning.checkpoint import CheckpointError
from engine.learning.hardware import Hardware
from engine.losses.functions import wide
from engine.models.builtin import MODELS
from engine.models.contract import SegmentationNetwork, outputs_of


@dataclass(frozen=True)
class Teacher:
    """A trained network in evaluation mode on its device, and how much its word counts. `path` is that of its
    checkpoint, of which `epoch` and `sha256` are."""

    model: SegmentationNetwork
    built_in: bool
    path: Path
    epoch: int
    sha256: str
    config: DistillConfig

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """What it makes of normalised images [B, 3, H, W]: logits [B, C, H, W]. No gradient reaches it, and
        nothing in it changes."""
        return outputs_of(self.model, images).logits

    def loss(self, logits: Tensor, taught: Tensor, labels: Tensor, counted: Tensor | None = None) -> Tensor:
        """How far the student's logits [B, C, H, W] are from those that are `taught`, float64 [], times
        `distill.weight`.

        T^2 KL(softmax(taught / T) || softmax(logits / T)), the mean over valid pixels; for a part of a batch,
        the sum over its own by `counted`, [], those of the whole. T^2 keeps the size of its gradient when T
        changes. Void pixels take no part, as in every loss: there a teacher has not
        learned either, and beside a shrunken image there is nothing to see.
        """
        temperature = self.config.temperature
        valid = labels != VOID  # [B, H, W]
        ours = functional.log_softmax(wide(logits) / temperature, dim=1)
        theirs = functional.log_softmax(wide(taught) / temperature, dim=1)
        apart = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)  # [B, H, W]
        counted = valid.sum() if counted is None else counted
        total = (apart * valid).double().sum() / torch.where(counted > 0, counted, 1)
        return self.config.weight * temperature**2 * total


def load_teacher(
    config: RunConfig, run_path: Path, hardware: Hardware, classes: Sequence[str] = ()
) -> Teacher | None:
    """The network that `distill.from` of a run's config names; None where none does. Raises CheckpointError.

    `classes` are those that it has to know; none: whatever it knows.
    """
    if not config.distill.teacher:
        return None
    path = Path(os.path.normpath(run_path / config.distill.teacher))
    try:
        loaded = load_model(path, None, classes)
    except CheckpointError as error:
        raise type(error)(f"distill.from: {error}") from error
    if problem := loaded.section.size_problem(*config.train_size):
        raise CheckpointError(
            f"distill.from: {path}: cannot teach on images of {config.train_size_key}: {problem}"
        )
    return Teacher(
        model=_frozen(loaded, config, hardware),
        built_in=MODELS.is_built_in(loaded.section.name),
        path=path,
        epoch=loaded.epoch,
        sha256=loaded.sha256,
        config=config.distill,
    )


def _frozen(loaded: LoadedModel, config: RunConfig, hardware: Hardware) -> SegmentationNetwork:
    model = loaded.model.to(hardware.device)
    if config.runtime.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model.eval().requires_grad_(False)
