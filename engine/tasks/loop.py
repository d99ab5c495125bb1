"""The epochs of a task that learns: one loop from first to last, to be left after any step and entered again.

A run is a function of its config. Order, augmentation and noise of step `s` of epoch `e` are drawn from
generators seeded with (seed, e, s), so no generator has to survive and a checkpoint may be written after
any step. A run that was stopped or killed and resumed on the same CPU ends with the same bits as one that
was not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Generator, Tensor, nn

from engine.data.augment import augment
from engine.data.batches import Batches, make_batches
from engine.journal import Epoch, Progress, Speed
from engine.learning.ceiling import matrix_ceiling
from engine.learning.hardware import Hardware
from engine.learning.optimizers import learning_rate
from engine.tasks.begin import Learning
from engine.tasks.job import Diverged, Job, StopRequested
from engine.tasks.meter import EpochMeter
from engine.tasks.objectives import Objective
from engine.tasks.score import score_split
from engine.tasks.state import Best, TrainState, keep_epoch, save


def run_epochs(job: Job, learning: Learning, after_epoch: Callable[[int], None] = lambda epoch: None) -> None:
    """Train to the last epoch; `after_epoch` is called with the number of each that is complete.

    Raises StopRequested after saving a checkpoint, Diverged with the last good checkpoint kept, and whatever
    goes wrong on the way.
    """
    config, state, hardware = job.config, learning.state, learning.hardware
    data, objective, flops = learning.data, learning.objective, learning.flops
    train_batches, val_batches = make_batches([data.train, data.val], hardware.device)
    rates: list[float] = []
    while state.epoch < config.epochs:
        try:
            train_meter = train_epoch(job, state, train_batches, len(data.train), objective, hardware)
            epoch = state.epoch + 1
            lr = learning_rate(config, epoch * state.steps - 1, state.steps)
            _refuse_divergence(train_meter.mean_loss(), epoch)
            train_event = train_meter.event(epoch, "train", state.classes, lr)
            events = [train_event]
            if epoch % config.evaluation.every == 0 or epoch == config.epochs:
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
                _refuse_divergence(val_meter.mean_loss(), epoch)
                val_event = val_meter.event(epoch, "val", state.classes, lr)
                keep_best(state, val_event, val_meter)
                events.append(val_event)
        except StopRequested:
            _refuse_divergence(state.meter.mean_loss(), state.epoch + 1)
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
        if epoch == config.epochs or state.save_is_due(config.checkpoint.seconds):
            save(job, state)
    if len(rates) > 1:
        record_speed(job, hardware, flops, rates)


def train_epoch(
    job: Job, state: TrainState, batches: Batches, images: int, objective: Objective, hardware: Hardware
) -> EpochMeter:
    """Train from the state's step to the end of its epoch; `state.meter` counts the pass.

    Raises StopRequested after a whole step, with the state fit to be saved.
    """
    config, epoch, meter = job.config, state.epoch, state.meter
    order = shuffled(images, config.seed, epoch)
    state.steps = steps = math.ceil(images / config.batch_size)
    parameters = list(state.model.parameters())
    state.model.train()
    meter.start_clock()
    for batch in batches(order, config.batch_size, start=state.step):
        meter.data_arrived()
        changes = step_generator(config.seed, epoch, state.step)
        pixels, labels = augment(config.augment, batch.images, batch.labels, changes)
        noise = noise_generator(config.seed, epoch, state.step, hardware.device)
        targets = objective.targets(pixels, labels, noise)
        lr = learning_rate(config, epoch * steps + state.step, steps)
        for group in state.optimizer.param_groups:
            group["lr"] = lr

        state.optimizer.zero_grad(set_to_none=True)
        for part, part_targets, share in micro_batches(
            pixels, targets, config.runtime.micro_batch, objective
        ):
            with hardware.autocast():
                answers = state.forward(objective.inputs(part, part_targets))  # [B, C, H, W]
            loss = objective.loss(answers, part_targets)
            state.scaler.scale(loss * share).backward()  # type: ignore[no-untyped-call]
            meter.add(loss, answers, part_targets)
        if config.optimizer.clip_norm > 0:
            state.scaler.unscale_(state.optimizer)
            nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)
        state.scaler.step(state.optimizer)
        state.scaler.update()

        state.step += 1
        state.step_done()
        job.step_done()
        if job.progress_is_due():
            value = float(loss.detach())
            _refuse_divergence(value, epoch + 1)
            job.report(
                Progress(
                    phase="train",
                    epoch=epoch + 1,
                    step=state.step,
                    steps=steps,
                    loss=value,
                    images_per_second=round(meter.images_per_second, 3),
                    eta_seconds=state.eta(config.epochs, images),
                )
            )
        job.check_stop()
    return meter


def micro_batches(
    pixels: Tensor, targets: Tensor, size: int, objective: Objective
) -> Iterator[tuple[Tensor, Tensor, Tensor | float]]:
    """Parts of at most `size` images (0: all) with their share of the batch's mean loss.

    The mean over a batch is the sum over parts of the part's mean times this share, so gradients add up to
    those of the whole batch, but for batch norm, which sees the part alone.
    """
    if size == 0 or size >= len(targets):
        yield pixels, targets, 1.0
        return
    total = max(1, objective.weight(targets))
    for part, part_targets in zip(torch.split(pixels, size), torch.split(targets, size), strict=True):
        yield part, part_targets, objective.weight(part_targets) / total


def shuffled(images: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0..images-1 that depends on seed and epoch alone."""
    return torch.randperm(images, generator=step_generator(seed, epoch, -1))


def step_generator(seed: int, epoch: int, step: int) -> Generator:
    """A CPU generator for one step of one epoch; step -1 is the order of the epoch."""
    return Generator().manual_seed(_mixed(seed, epoch, step + 1))


def noise_generator(seed: int, epoch: int, step: int, device: torch.device) -> Generator:
    """A generator of noise for one step of one epoch, on the device: the CPU would be too slow for a GPU."""
    return Generator(device).manual_seed(_mixed(seed, epoch, step + 1, 1))


def _mixed(*words: int) -> int:
    """One seed of several numbers, of the 63 bits that torch takes."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1


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
        dice = f", dice {'undefined' if event.dice is None else f'{event.dice:.5f}'}"
        job.say(
            f"epoch {event.epoch}/{job.config.epochs} {event.split}: loss {event.loss:.4f}"
            f"{dice if event.class_dice else ''}, {event.images_per_second:.1f} images/s"
        )


def record_speed(job: Job, hardware: Hardware, flops: int, rates: list[float]) -> None:
    """Hold the median speed of the epochs so far against what the device could do."""
    rate = statistics.median(rates)
    achieved, ceiling = 3 * flops * rate, matrix_ceiling(hardware)
    job.record(
        Speed(
            images_per_second=rate,
            achieved_flops=achieved,
            ceiling_flops=ceiling,
            first_step_seconds=job.first_step_seconds,
        )
    )
    job.say(f"{achieved / 1e9:.1f} of {ceiling / 1e9:.1f} GFLOP/s, {100 * achieved / ceiling:.0f} %")


def _refuse_divergence(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise Diverged(
            f"the loss became {loss} in epoch {epoch}; "
            "a smaller optimizer.lr or optimizer.clip_norm=1 may help"
        )
