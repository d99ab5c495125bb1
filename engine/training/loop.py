"""The epochs of a task that learns: one loop from first to last, to be left after any step and entered again.

A run is a function of its config. Order, augmentation and noise of step `s` of epoch `e` are drawn from
generators seeded with (seed, e, s), so no generator has to survive and a checkpoint may be written after
any step. A run that was stopped or killed and resumed on the same CPU ends with the same bits as one that
was not.

Several ranks run this loop side by side, each with its part of every batch. A step's gradient is that of the
whole batch, whoever computes which part of it; so batch size and learning rate mean the same on any number of
devices. Batch norm and soft Dice loss alone see a rank's part, as they do with `runtime.micro_batch`.
"""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from engine.augment.functions import Draws, build_augmentations
from engine.data.batches import Batches, make_batches
from engine.learning.ceiling import matrix_ceiling
from engine.learning.distributed import Group
from engine.learning.hardware import Hardware
from engine.metrics.recorded import RecordedMetrics
from engine.optimizers.groups import set_learning_rate
from engine.run.events import Epoch, Progress, Speed
from engine.schedules import learning_rate
from engine.training.begin import Learning
from engine.training.meter import EpochMeter
from engine.training.objectives import Objective
from engine.training.rng import StepNoise, shuffled, step_generator
from engine.training.state import Best, TrainState, keep_epoch, save
from engine.training.validate import score_split
from engine.worker.job import Diverged, Job, StopRequested


def run_epochs(job: Job, learning: Learning, after_epoch: Callable[[int], None] = lambda epoch: None) -> None:
    """Train to the last epoch; `after_epoch` is called with the number of each that is complete.

    Raises StopRequested after saving a checkpoint, Diverged with the last good checkpoint kept, and whatever
    goes wrong on the way.
    """
    config, state, hardware, group = job.config, learning.state, learning.hardware, job.group
    data, objective, flops = learning.data, state.objective, learning.flops
    train_batches, val_batches = make_batches(
        [data.train, data.val], hardware.device, group.count, job.check_stop_while_waiting
    )
    metrics = RecordedMetrics(data.class_set, job.warn)
    rates: list[float] = []
    while state.epoch < config.epochs:
        try:
            own = train_epoch(job, state, train_batches, len(data.train), hardware)
            train_meter = own.over(group)
            epoch = state.epoch + 1
            lr = learning_rate(config, epoch * state.steps - 1, state.steps)
            _refuse_divergence(train_meter.loss(), epoch)
            train_event = train_meter.event(epoch, "train", state.classes, lr)
            events = [train_event]
            if epoch % config.validation.every == 0 or epoch == config.epochs:
                group.even_out(state.model)
                val_meter = score_split(
                    job,
                    state.model,
                    objective,
                    val_batches,
                    len(data.val),
                    len(state.classes),
                    hardware,
                    epoch,
                )
                _refuse_divergence(val_meter.loss(), epoch)
                val_event = val_meter.event(epoch, "val", state.classes, lr)
                if state.classes and group.leads:
                    found = metrics.of(val_meter.matrix(), val_meter.matrices())
                    val_event = val_event.model_copy(update={"metrics": found})
                keep_best(state, val_event, val_meter)
                events.append(val_event)
        except StopRequested:
            _refuse_divergence(state.meter.over(group).loss(), state.epoch + 1)
            save(job, state)
            raise
        for event in events:
            job.record(event)
        say_epoch(job, events)
        rates.append(train_event.images_per_second)
        if len(rates) == 1:
            record_speed(job, hardware, flops, rates)
        state.finish_epoch()
        job.epochs_done = state.epoch
        after_epoch(epoch)
        if config.checkpoint.keep_every and epoch % config.checkpoint.keep_every == 0:
            keep_epoch(job, state)
        due = epoch == config.epochs or state.save_is_due(config.checkpoint.seconds)
        if group.largest(int(due)):  # each has a clock of its own
            save(job, state)
    if len(rates) > 1:
        record_speed(job, hardware, flops, rates)


def train_epoch(job: Job, state: TrainState, batches: Batches, images: int, hardware: Hardware) -> EpochMeter:
    """Train from the state's step to the end of its epoch; `state.meter` counts this rank's part of the pass.

    Raises StopRequested after a whole step, with the state fit to be saved.
    """
    config, epoch, meter, group = job.config, state.epoch, state.meter, job.group
    objective = state.objective
    order, own_size = group.share_of(shuffled(images, config.seed, epoch), config.batch_size)
    state.steps = steps = math.ceil(images / config.batch_size)
    parameters = list(state.model.parameters())
    augment = build_augmentations(config.augment)
    state.model.train()
    meter.start_clock()
    for batch in batches(order, own_size, start=state.step):
        meter.data_arrived()
        whole = min(config.batch_size, images - state.step * config.batch_size)
        first, own = group.place(whole)
        changes = Draws(step_generator(config.seed, epoch, state.step), whole, min(first, whole - 1))
        pixels, labels = augment(batch.images, batch.labels, changes)
        noise = StepNoise(config.seed, epoch, state.step, whole, min(first, whole - 1))
        targets = objective.targets(pixels, labels, noise)
        own_share = share_of_step(objective, targets, group) if own else 0.0
        lr = learning_rate(config, epoch * steps + state.step, steps)
        set_learning_rate(state.optimizer, lr)

        state.optimizer.zero_grad(set_to_none=True)
        counted = torch.zeros(objective.terms, dtype=torch.float64, device=hardware.device)
        for part, part_targets, share, last in micro_batches(
            pixels, targets, config.runtime.micro_batch, objective
        ):
            with contextlib.nullcontext() if last else state.gradients_stay_here():
                with hardware.autocast():
                    answers = state.forward(objective.inputs(part, part_targets))  # [B, C, H, W]
                sums = objective.sums(answers, part_targets)
                scaled = state.scaler.scale(objective.value(sums) * share * own_share)
                scaled.backward()  # type: ignore[no-untyped-call]
            counted += sums.detach()
            if own:
                meter.add(sums, answers, part_targets)
        if config.optimizer.clip_norm > 0:
            state.scaler.unscale_(state.optimizer)
            nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)
        state.scaler.step(state.optimizer)
        state.scaler.update()

        state.step += 1
        state.step_done()
        job.step_done()
        if job.progress_is_due():
            value = float(objective.value(counted)) if counted[0] else None
            _refuse_divergence(value, epoch + 1)
            job.report(
                Progress(
                    phase="train",
                    epoch=epoch + 1,
                    step=state.step,
                    steps=steps,
                    loss=value,
                    images_per_second=round(meter.images_per_second * group.count, 3),
                    eta_seconds=state.eta(config.epochs, images),
                )
            )
        job.check_stop()
    return meter


def share_of_step(objective: Objective, targets: Tensor, group: Group) -> Tensor | float:
    """The factor that makes the mean of all ranks' gradients that of the whole batch's mean loss: this rank's
    share of it, times the number of ranks."""
    if group.count == 1:
        return 1.0
    weight = torch.as_tensor(objective.weight(targets), dtype=torch.float64, device=targets.device)
    total = group.total(weight.clone()).clamp(min=1)
    return (weight * group.count / total).float()


def micro_batches(
    pixels: Tensor, targets: Tensor, size: int, objective: Objective
) -> Iterator[tuple[Tensor, Tensor, Tensor | float, bool]]:
    """Parts of at most `size` images (0: all) with their share of the batch's mean loss, and whether it is
    the last one.

    The mean over a batch is the sum over parts of the part's mean times this share, so gradients add up to
    those of the whole batch. Two things see the part alone: batch norm, and soft Dice loss, which is no mean.
    """
    if size == 0 or size >= len(targets):
        yield pixels, targets, 1.0, True
        return
    total = max(1, objective.weight(targets))
    left = len(targets)
    for part, part_targets in zip(torch.split(pixels, size), torch.split(targets, size), strict=True):
        left -= len(part_targets)
        yield part, part_targets, objective.weight(part_targets) / total, left == 0


def keep_best(state: TrainState, event: Epoch, meter: EpochMeter) -> None:
    """Hold the weights of the best epoch so far; of equal ones the first."""
    state.val_dice = event.dice
    best = Best.of(event, meter)
    if not best.beats(state.best):
        return
    best.weights = {name: tensor.detach().clone() for name, tensor in state.model.state_dict().items()}
    state.best = best


def say_epoch(job: Job, events: list[Epoch]) -> None:
    for event in events:
        loss = "undefined" if event.loss is None else f"{event.loss:.4f}"
        dice = f", dice {'undefined' if event.dice is None else f'{event.dice:.5f}'}"
        job.say(
            f"epoch {event.epoch}/{job.config.epochs} {event.split}: loss {loss}"
            f"{dice if event.class_dice else ''}, {event.images_per_second:.1f} images/s"
        )


def record_speed(job: Job, hardware: Hardware, flops: int, rates: list[float]) -> None:
    """Hold the median speed of the epochs so far against what the devices could do together."""
    if not job.group.leads:
        return
    rate = statistics.median(rates)
    achieved, ceiling = 3 * flops * rate, matrix_ceiling(hardware) * job.group.count
    job.record(
        Speed(
            images_per_second=rate,
            achieved_flops=achieved,
            ceiling_flops=ceiling,
            first_step_seconds=job.first_step_seconds,
        )
    )
    job.say(f"{achieved / 1e9:.1f} of {ceiling / 1e9:.1f} GFLOP/s, {100 * achieved / ceiling:.0f} %")


def _refuse_divergence(loss: float | None, epoch: int) -> None:
    if loss is not None and not math.isfinite(loss):
        raise Diverged(
            f"the loss became {loss} in epoch {epoch}; "
            "a smaller optimizer.lr or optimizer.clip_norm=1 may help"
        )
