"""What a network learns: which targets a batch has, what the network is shown, how far its outputs are off.

The training loop is the same for every task; an objective is what differs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.classes import VOID
from engine.config.run_config import RunConfig
from engine.data.batches import normalise
from engine.losses import LossSection
from engine.losses.functions import CrossEntropy, LearnsOfClasses, build_loss, sums_and_value
from engine.models.contract import outputs_of
from engine.models.layers import bilinear
from engine.tasks import TASKS
from engine.training.rng import Noise


class Objective(Protocol):
    """Images are uint8 [B, H, W, 3], labels train ids, uint8 [B, H, W]; outputs are [B, C, H, W].

    The loss is a function of `terms` sums over what it counts, the first of which is how much it counts.
    """

    terms: int
    auxiliary_weight: float
    """What the loss of auxiliary logits counts beside that of the logits."""

    def targets(self, images: Tensor, labels: Tensor, noise: Noise) -> Tensor:
        """What is right for a batch, [B, ...]; what is random in it comes from `noise`."""

    def inputs(self, images: Tensor, targets: Tensor) -> Tensor:
        """What the network is shown, float32 [B, 3, H, W]."""

    def sums(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """float64 [terms], with a gradient for the outputs; sums of parts of a batch add up to its own."""

    def value(self, sums: Tensor) -> Tensor:
        """The loss of added sums, a float64 scalar: finite where nothing is counted."""

    def weight(self, targets: Tensor) -> Tensor | int:
        """How much a part of a batch counts in the mean over the whole: most often the first of its sums."""


def loss_of(objective: Objective, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of one batch, a float64 scalar."""
    return sums_and_loss(objective, outputs, targets)[1]


def sums_and_loss(objective: Objective, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of one batch, float64 [terms], and their loss, a float64 scalar."""
    if isinstance(objective, Segmentation):
        return sums_and_value(objective.loss, outputs, targets)
    sums = objective.sums(outputs, targets)
    return sums, objective.value(sums)


def auxiliary_loss(objective: Objective, auxiliary: Iterable[Tensor], targets: Tensor) -> Tensor:
    """The weighted sum of the losses of auxiliary logits, each [B, C, h, w]: those that are smaller than the
    targets are resized to them. A float64 scalar; even with a weight of 0 each head has a gradient, as ranks
    share those of all parameters."""
    losses = [loss_of(objective, at_size(logits, targets.shape[-2:]), targets) for logits in auxiliary]
    return objective.auxiliary_weight * torch.stack(losses).sum()


def at_size(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits [B, C, h, w] at `size` (height, width), by bilinear interpolation."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return bilinear(logits.float(), size)


class Part(NamedTuple):
    """What a step makes of a part of a batch: logits [B, C, H, W], what a loss of the network's own is
    computed of, the sums of the loss of the logits, float64 [terms], what is minimised, float64 [], and
    whether a meter has counted the part."""

    logits: Tensor
    own: tuple[Tensor, ...]
    sums: Tensor
    loss: Tensor
    counted: bool = False


class Tally(NamedTuple):
    """What a meter of so many classes adds to: the state of its `ConfusionSum`, and the sums of the loss,
    float64 [terms]."""

    classes: int
    confusion: Tensor
    sums: Tensor


class WithLoss(nn.Module):
    """A network between what an objective shows it and the loss: compiled, the pixels are normalised by its
    first kernel, and the loss is computed with its last.

    `weight` is what the loss of the logits counts in what is minimised, beside that of auxiliary heads.
    Unless something else `learns_of` the logits, they come without a gradient: it would be zeros. With a
    `tally`, where one kernel can compute the loss and count, it does.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        weight: float,
        learns_of: bool,
        tally: Tally | None = None,
    ) -> None:
        super().__init__()
        self.network, self._objective = network, objective
        self._weight, self._learns_of = weight, learns_of
        self._classes = 0 if tally is None else tally.classes
        if tally is not None:  # as buffers, whose places a compiled network takes to be fixed
            self.register_buffer("_confusion", tally.confusion, persistent=False)
            self.register_buffer("_sums", tally.sums, persistent=False)

    def forward(self, pixels: Tensor, targets: Tensor) -> Part:
        """Of pixels uint8 [B, H, W, 3] and targets [B, ...]; under autocast, in which the loss takes no
        part."""
        outputs = outputs_of(self.network, self._objective.inputs(pixels, targets))
        logits = outputs.logits
        with torch.autocast(logits.device.type, enabled=False):
            judged = logits if self._weight else logits.detach()
            counts = self._counts(judged, targets)
            if counts:
                from engine.training.count_kernel import CountedCrossEntropy

                sums, value = CountedCrossEntropy.apply(judged, targets, self._confusion, self._sums)
            else:
                sums, value = sums_and_loss(self._objective, judged, targets)
            loss = value if self._weight == 1 else value * self._weight
            if outputs.auxiliary:
                loss = loss + auxiliary_loss(self._objective, outputs.auxiliary, targets)
        return Part(logits if self._learns_of else logits.detach(), outputs.own, sums.detach(), loss, counts)

    def _counts(self, logits: Tensor, targets: Tensor) -> bool:
        """Whether one kernel computes the loss and counts."""
        loss = self._objective.loss if isinstance(self._objective, Segmentation) else None
        serves = isinstance(loss, CrossEntropy) and loss.kernels_serve(logits, targets)
        return serves and logits.shape[1] == self._classes


class Segmentation:
    """Which class each pixel is of: the targets are the labels."""

    def __init__(self, config: LossSection, classes: int) -> None:
        self.loss = loss = build_loss(config, classes)
        self.auxiliary_weight = config.auxiliary
        self.terms, self.sums, self.value = loss.terms, loss.sums, loss.value
        self.of_classes = loss if isinstance(loss, LearnsOfClasses) and loss.class_weighted else None
        """The loss, where it wants to know how often each class is."""

    def targets(self, images: Tensor, labels: Tensor, noise: Noise) -> Tensor:
        return labels

    def inputs(self, images: Tensor, targets: Tensor) -> Tensor:
        return normalise(images)

    def weight(self, targets: Tensor) -> Tensor | int:
        """The pixels that are of a class; where classes have weights, the sum of theirs."""
        return (targets != VOID).sum() if self.of_classes is None else self.of_classes.weight(targets)


class Denoising:
    """Which noise was added to an image, in L2.

    Brempong et al., "Denoising Pretraining for Semantic Segmentation", CVPR 2022 workshops: of an image x of
    variance about 1 and noise e of variance 1 the network sees (x + s e) / sqrt(1 + s^2), whose variance is
    again about 1, and its outputs are to be e. Auxiliary heads, at whose size there is no such noise, are not
    trained.
    """

    terms = 2
    auxiliary_weight = 0.0

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def targets(self, images: Tensor, labels: Tensor, noise: Noise) -> Tensor:
        # In the order of the image's memory, so that both add up without a copy.
        return noise.like(images).movedim(-1, 1)  # [B, 3, H, W]

    def inputs(self, images: Tensor, targets: Tensor) -> Tensor:
        return (normalise(images) + self.noise * targets) / math.sqrt(1 + self.noise**2)

    def sums(self, outputs: Tensor, targets: Tensor) -> Tensor:
        total = functional.mse_loss(outputs.float(), targets, reduction="sum").double()
        return torch.stack([torch.full_like(total, targets.numel()), total])

    def value(self, sums: Tensor) -> Tensor:
        return sums[1] / sums[0].detach().clamp(min=1)

    def weight(self, targets: Tensor) -> Tensor | int:
        """The values of the noise."""
        return targets.numel()


def segmentation(config: RunConfig, classes: int) -> Objective:
    """To tell classes apart."""
    return Segmentation(config.loss, classes)


def denoising(config: RunConfig, classes: int) -> Objective:
    """To find the noise that was added to images."""
    return Denoising(config.pretrain.noise)


def build_objective(config: RunConfig, classes: int) -> Objective:
    """The objective of a config's task; `classes` are those of its labels."""
    return TASKS[config.task].objective(config, classes)


def output_channels(config: RunConfig, classes: int) -> int:
    """Channels of the network's outputs: a logit a class, or the noise of each colour."""
    return TASKS[config.task].channels(classes)
