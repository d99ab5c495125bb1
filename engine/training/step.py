"""The training step: the one place where a network learns.

The training loop, `seg-engine bench` and the search for a batch that fits into memory all take this step, so
that what is measured and what is advised is what a run does.

A global batch of B images is cut into local batches of b images, one a rank, and a local batch into
micro-batches of m images, each of which goes through the network at once. Gradients add up to those of the
mean over the global batch, however it was cut. Two things see a micro-batch alone: batch norm, unless
`batch_norm` says otherwise, and losses that are no mean, such as soft Dice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from engine.augment.functions import Draws
from engine.classes import VOID
from engine.data.batches import Batch
from engine.learning.constants import unit
from engine.learning.distributed import ALONE, Group, sharing_nothing
from engine.optimizers import CLIP_TYPES
from engine.optimizers.groups import capturable, set_learning_rate
from engine.optimizers.one_launch import OneLaunch
from engine.schedules import learning_rate
from engine.training.objectives import Objective
from engine.training.rng import StepNoise, mask_generator, step_generator, style_generator
from engine.training.state import TrainState


def training_step(state: TrainState, batch: Batch, images: int, group: Group = ALONE) -> Tensor:
    """One optimizer step on a global batch of `images` images, of which `batch` is this rank's local batch.

    Needs a model in training mode and `state.steps`. Counts the local batch in `state.meter`, advances
    `state.step`, and returns the sums of the local batch's loss, float64 [terms]. Counted is the loss of the
    logits alone, which compares with that of validation, where there are no auxiliary ones and no teacher.
    The sums are those of the last step only until the next.

    What is random is drawn and the batch is augmented before `work`, which a CUDA graph may replay.
    """
    config, objective = state.config, state.objective
    pixels, targets = augmented(state, batch, images, group)  # uint8 [b, H, W, 3], [b, ...]

    # A rank for which the batch has no image left computes on one that counts for nothing: all ranks must
    # take part when weights and gradients are added up.
    first = min(group.place(images)[0], images - 1)
    where = config.seed, state.epoch, state.step
    state.dropouts.draw(mask_generator(*where), images, first, len(pixels))
    if state.styles is not None:
        state.styles.draw(style_generator(*where), images, first, len(pixels))
    if state.own_term is not None:
        state.own_term.begin(where, images, first, targets, group)
    has_images = state.statistics.counts = group.place(images)[1] > 0
    own = targets if has_images else targets[:0]
    local_share = share_of_step(objective, own, group)
    taught_pixels = None if state.teacher is None else taught_pixels_of_step(own, group)

    place = state.length.schedule_step(state.epoch, state.step)
    state.lr = learning_rate(config, place, state.length.steps)
    # Of whole epochs: the last one may have fewer steps.
    set_learning_rate(state.optimizer, state.lr, state.epoch * state.length.steps + state.step)

    def work(pixels: Tensor, targets: Tensor) -> Tensor:
        counted = proven_gradients(state, pixels, targets, local_share, has_images, taught_pixels)
        apply_gradients(state)
        if state.average is not None:
            state.average.update()
        return counted

    counted = state.take_step(work, pixels, targets, images)
    if has_images:
        state.meter.passed(len(targets))
    state.step_done()
    return counted


def proven_gradients(
    state: TrainState,
    pixels: Tensor,
    targets: Tensor,
    local_share: Tensor | float,
    has_images: bool,
    taught_pixels: Tensor | None = None,
) -> Tensor:
    """`add_gradients`; a compiled network that fails in its first full step is given up, and the plain one
    does the step. What a compiled network cannot do may only show in its backward pass.

    Several ranks try it before the step, in a pass that counts for nothing: in the step itself, one that
    fails would leave the others waiting for its gradients.
    """

    def add() -> Tensor:
        return add_gradients(state, pixels, targets, local_share, has_images, taught_pixels)

    if not state.is_proving:
        return add()
    counts, buffers = state.meter.state(), [buffer.clone() for buffer in state.model.buffers()]
    if state.group.count > 1:
        with sharing_nothing(state.network):
            state.autotune.prove(add)
    else:
        try:
            return add()
        except Exception as error:
            if not state.autotune.give_up(error):
                raise
    state.meter.load(counts)
    for buffer, before in zip(state.model.buffers(), buffers, strict=True):
        buffer.copy_(before)  # statistics of batch norm
    return add()


def apply_gradients(state: TrainState) -> None:
    """Clip the gradients and move the weights. A CUDA graph can capture it."""
    scaler, optimizer, section = state.scaler, state.optimizer, state.config.optimizer
    if section.clip_norm > 0:
        groups = optimizer.param_groups
        never = (each.grad for group in groups if group.get("lr_factor") == 0 for each in group["params"])
        if idle := [gradient for gradient in never if gradient is not None]:
            torch._foreach_zero_(idle)  # what never learns takes no part in the norm of what does
        scaler.unscale_(optimizer)
        limit, order = section.clip_norm, CLIP_TYPES[section.clip_type]
        if isinstance(optimizer, OneLaunch):
            optimizer.clip_next(limit, order)
        else:
            clip_grad_norm_(state.model.parameters(), limit, order)
    with capturable(optimizer):
        scaler.step(optimizer)
    scaler.update()


def add_gradients(
    state: TrainState,
    pixels: Tensor,
    targets: Tensor,
    local_share: Tensor | float,
    has_images: bool,
    taught_pixels: Tensor | None = None,
) -> Tensor:
    """Gradients of a local batch, pixels uint8 [b, H, W, 3] and targets [b, ...], into the parameters.

    `local_share` is that of `share_of_step`, `taught_pixels` those of `taught_pixels_of_step`. Counts the
    batch in `state.meter` if it `has_images`; returns the sums of its loss, float64 [terms]. Does nothing on
    the host that a replayed graph would have to do.
    """
    config, objective = state.config, state.objective
    state.optimizer.zero_grad(set_to_none=True)
    counted: Tensor | None = None
    done = 0
    if state.teacher is not None and taught_pixels is None and 0 < config.runtime.micro_batch < len(targets):
        taught_pixels = (targets != VOID).sum()
    for part, part_targets, share, last in micro_batches(
        pixels, targets, config.runtime.micro_batch, objective
    ):
        state.dropouts.show(done, len(part))
        if state.styles is not None:
            state.styles.show(done, len(part))
        with nullcontext() if last else state.gradients_stay_here():
            with state.hardware.autocast():
                made = state.forward(part, part_targets)
                taught = state.taught(part, part_targets)
            loss = times(made.loss, share, local_share)
            if state.teacher is not None and taught is not None:
                # Of pixels that all count alike; a share may be of pixels that are weighed by class.
                learned = state.teacher.loss(made.logits, taught, part_targets, taught_pixels)
                loss = loss + times(learned, float(has_images))
            if state.own_term is not None:
                loss = loss + state.own_term.of_part(made.own, part_targets, done)
            scaled = state.scaler.scale(loss)
            scaled.backward(unit(scaled.dtype, scaled.device))  # type: ignore[no-untyped-call]
        done += len(part)
        counted = made.sums if counted is None else counted + made.sums
        if has_images and not made.counted:
            state.meter.count(made.sums, made.logits, part_targets)
    assert counted is not None, "a batch has a part"
    return counted


def times(loss: Tensor, *shares: Tensor | float) -> Tensor:
    """The product; a share that is the number 1 takes no kernel, forward or back."""
    for share in shares:
        if isinstance(share, Tensor) or share != 1:
            loss = loss * share
    return loss


def augmented(state: TrainState, batch: Batch, images: int, group: Group = ALONE) -> tuple[Tensor, Tensor]:
    """A local batch as this step shows it: images uint8 [b, H, W, 3] and targets [b, ...].

    What is random is drawn for the global batch of `images` images, by streams of this step alone: an
    image gets the same whichever rank has it, and after a resumption.
    """
    where = state.config.seed, state.epoch, state.step
    draws = replace(draws_of_step(*where, images, group, batch.focus), are_cropped=batch.is_cropped)
    pixels, labels = state.augment(batch.images, batch.labels, draws)
    return pixels, state.objective.targets(pixels, labels, StepNoise(*where, images, draws.first))


def draws_of_step(
    seed: int, epoch: int, step: int, images: int, group: Group = ALONE, focus: Tensor | None = None
) -> Draws:
    """What augmentation draws for this rank's part of the global batch of a step, of `images` images."""
    first = min(group.place(images)[0], images - 1)
    return Draws(step_generator(seed, epoch, step), images, first, group, focus)


def share_of_step(objective: Objective, targets: Tensor, group: Group) -> Tensor | float:
    """The factor that makes the mean of all ranks' gradients that of the global batch's mean loss: this
    rank's share of it, times the number of ranks."""
    if group.count == 1:
        return 1.0
    weight = torch.as_tensor(objective.weight(targets), dtype=torch.float64, device=targets.device)
    return (weight * group.count / _or_one(group.total(weight.clone()))).float()


def taught_pixels_of_step(labels: Tensor, group: Group) -> Tensor | None:
    """What the teacher's loss of each rank is divided by, so that the mean of the ranks' gradients is that of
    the global batch: its valid pixels, [], by the number of ranks. None for one rank, which has them all."""
    if group.count == 1:
        return None
    return group.total((labels != VOID).sum().double()) / group.count


def micro_batches(
    pixels: Tensor, targets: Tensor, size: int, objective: Objective
) -> Iterator[tuple[Tensor, Tensor, Tensor | float, bool]]:
    """Parts of at most `size` images (0: all) with their share of the local batch's mean loss, and whether it
    is the last one.

    The mean over a batch is the sum over parts of the part's mean times this share.
    """
    if size == 0 or size >= len(targets):
        yield pixels, targets, 1.0, True
        return
    weight = objective.weight(targets)
    total = _or_one(weight) if isinstance(weight, Tensor) else max(1, weight)
    left = len(targets)
    for part, part_targets in zip(torch.split(pixels, size), torch.split(targets, size), strict=True):
        left -= len(part_targets)
        yield part, part_targets, objective.weight(part_targets) / total, left == 0


def _or_one(total: Tensor) -> Tensor:
    """What shares are parts of; 1 for 0. With class weights it may lie between the two."""
    return torch.where(total > 0, total, 1)  # if would make the host wait for the device
