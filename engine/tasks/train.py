"""The train task: one loop from the first epoch to the last, to be left after any step and entered again.

A run is a function of its config. Order and augmentation of step `s` of epoch `e` are drawn from
generators seeded with (seed, e, s), so no generator has to survive and a checkpoint may be written after
any step. A run that was stopped or killed and resumed on the same CPU ends with the same bits as one that
was not.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import torch
from torch import Generator, Tensor, nn

from engine.classes import VOID
from engine.data.augment import augment
from engine.data.batches import Batches, make_batches, normalise
from engine.data.dataset import Dataset, open_dataset
from engine.journal import Compiled, Data, Epoch, Finished, Model, Progress, Result, Speed
from engine.learning.ceiling import matrix_ceiling
from engine.learning.compiling import CompileVerdict
from engine.learning.flops import flops_per_sample
from engine.learning.hardware import Hardware, choose_hardware, settle_arithmetic
from engine.learning.losses import Loss, build_loss
from engine.learning.optimizers import learning_rate
from engine.metrics.scores import Scores
from engine.models.registry import count_parameters
from engine.tasks.gallery import write_gallery, write_picture
from engine.tasks.job import Diverged, Job, StopRequested, record_start
from engine.tasks.meter import EpochMeter, score_fields
from engine.tasks.score import score_split
from engine.tasks.state import Best, TrainState, find_resumption, keep_epoch, new_state, restore, save


def train(job: Job) -> None:
    """Train the job's config to its last epoch.

    Raises StopRequested after saving a checkpoint, Diverged with the last good checkpoint kept, and whatever
    goes wrong on the way.
    """
    config = job.config
    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    resumption = find_resumption(job.run.checkpoints, hardware)
    record_start(job, hardware, resumption.epoch)
    for warning in resumption.warnings:
        job.warn(warning)
    data = open_data(job)
    job.classes, job.train_images = len(data.class_set), len(data.train)
    job.data_bytes = sum(cache.images.nbytes + cache.labels.nbytes for cache in data.caches)
    class_names = list(data.class_set.names)
    state = new_state(config, hardware, class_names, lambda verdict: record_verdict(job, verdict))
    restore(job, state, resumption)
    flops = describe_model(job, state.model, len(class_names))

    train_batches, val_batches = make_batches([data.train, data.val], hardware.device)
    loss_function = build_loss(config.loss)
    rates: list[float] = []
    begun = time.monotonic()
    while state.epoch < config.epochs:
        try:
            train_meter = train_epoch(job, state, train_batches, len(data.train), loss_function, hardware)
            epoch = state.epoch + 1
            lr = learning_rate(config, epoch * state.steps - 1, state.steps)
            _refuse_divergence(train_meter.mean_loss(), epoch)
            train_event, _ = train_meter.event(epoch, "train", class_names, lr)
            events = [train_event]
            if epoch % config.evaluation.every == 0 or epoch == config.epochs:
                val_meter = score_split(
                    job,
                    state.model,
                    loss_function,
                    val_batches,
                    len(data.val),
                    len(class_names),
                    hardware,
                    epoch,
                )
                _refuse_divergence(val_meter.mean_loss(), epoch)
                val_event, val_scores = val_meter.event(epoch, "val", class_names, lr)
                keep_best(state, epoch, val_meter, val_scores)
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
        if config.gallery.every and (epoch % config.gallery.every == 0 or epoch == config.epochs):
            write_gallery(job, state.model, data.val, data.class_set, hardware, epoch)
        if config.checkpoint.keep_every and epoch % config.checkpoint.keep_every == 0:
            keep_epoch(job, state)
        if epoch == config.epochs or state.save_is_due(config.checkpoint.seconds):
            save(job, state)
    if len(rates) > 1:
        record_speed(job, hardware, flops, rates)
    if config.gallery.every:
        write_picture(job, data.class_set)
    finish(job, state, class_names, len(data.val), time.monotonic() - begun)


def train_epoch(
    job: Job, state: TrainState, batches: Batches, images: int, loss_function: Loss, hardware: Hardware
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
        generator = step_generator(config.seed, epoch, state.step)
        pixels, labels = augment(config.augment, batch.images, batch.labels, generator)
        lr = learning_rate(config, epoch * steps + state.step, steps)
        for group in state.optimizer.param_groups:
            group["lr"] = lr

        state.optimizer.zero_grad(set_to_none=True)
        for part, part_labels, share in micro_batches(pixels, labels, config.runtime.micro_batch):
            with hardware.autocast():
                logits = state.forward(normalise(part))  # [B, C, H, W]
            loss = loss_function(logits, part_labels)
            state.scaler.scale(loss * share).backward()  # type: ignore[no-untyped-call]
            meter.add(loss, logits, part_labels)
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
    pixels: Tensor, labels: Tensor, size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor | float]]:
    """Parts of at most `size` images (0: all) with their share of the batch's valid pixels.

    A mean over pixels is the sum over parts of the part's mean times this share, so gradients add up to those
    of the whole batch, but for batch norm, which sees the part alone.
    """
    if size == 0 or size >= len(labels):
        yield pixels, labels, 1.0
        return
    total = (labels != VOID).sum().clamp(min=1)
    for part, part_labels in zip(torch.split(pixels, size), torch.split(labels, size), strict=True):
        yield part, part_labels, (part_labels != VOID).sum() / total


def open_data(job: Job) -> Dataset:
    """The data set at the config's size, with its cache built when it is not there; on the record."""
    begun = time.monotonic()

    def report(done: int, total: int) -> None:
        if job.progress_is_due():
            job.report(Progress(phase="cache", epoch=0, step=done, steps=total))
        job.check_stop()

    data = open_dataset(job.config.data, job.cache_dir, report, job.say)
    for cache in data.caches:
        if cache.rebuilt_because:
            job.warn(f"cache {cache.key} was built again: {cache.rebuilt_because}")
    if data.skipped:
        job.warn(f"{len(data.skipped)} faulty images or labels are left out (data.skip_bad)")
    job.record(
        Data(
            train_images=len(data.train),
            val_images=len(data.val),
            classes=list(data.class_set.names),
            colors=[c.hex_color for c in data.class_set.classes],
            seconds=round(time.monotonic() - begun, 3),
            cache=[str(cache.path) for cache in data.caches],
            skipped=[f"{fault.path}: {fault.problem}" for fault in data.skipped],
        )
    )
    return data


def describe_model(job: Job, model: nn.Module, classes: int) -> int:
    """Put the network's size on the record; returns the FLOPs of one forward pass of one sample."""
    parameters, flops = count_parameters(model), flops_per_sample(job.config, classes)
    job.record(Model(name=job.config.model.name, parameters=parameters, flops_per_sample=flops))
    job.say(f"{job.config.model.name}: {parameters:,} parameters, {flops / 1e9:.2f} GFLOPs a sample")
    return flops


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


def record_verdict(job: Job, verdict: CompileVerdict) -> None:
    """Put what came of torch.compile on the record; a failure is a warning, as the run is slower for it."""
    job.record(Compiled(**asdict(verdict)))
    job.say(f"torch.compile {'kept' if verdict.kept else 'not used'}: {verdict.reason}")
    if verdict.reason.startswith("torch.compile failed"):
        job.warn(f"{verdict.reason}; going on without it")


def shuffled(images: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0..images-1 that depends on seed and epoch alone."""
    return torch.randperm(images, generator=step_generator(seed, epoch, -1))


def step_generator(seed: int, epoch: int, step: int) -> Generator:
    """A CPU generator for one step of one epoch; step -1 is the order of the epoch."""
    mixed = np.random.SeedSequence([seed, epoch, step + 1]).generate_state(1, np.uint64)[0]
    return Generator().manual_seed(int(mixed) >> 1)  # torch takes 63 bits


def keep_best(state: TrainState, epoch: int, meter: EpochMeter, scores: Scores) -> None:
    """Hold the weights of the best validation Dice so far; the first epoch that reaches it wins."""
    state.val_dice = scores.dice
    if scores.dice is None or (state.best is not None and scores.dice <= state.best.dice):
        return
    weights = {name: tensor.detach().clone() for name, tensor in state.model.state_dict().items()}
    state.best = Best(epoch, scores.dice, meter.confusion.state.clone(), weights)


def say_epoch(job: Job, events: list[Epoch]) -> None:
    for event in events:
        dice = "undefined" if event.dice is None else f"{event.dice:.5f}"
        job.say(
            f"epoch {event.epoch}/{job.config.epochs} {event.split}: loss {event.loss:.4f}, dice {dice}, "
            f"{event.images_per_second:.1f} images/s"
        )


def finish(job: Job, state: TrainState, class_names: list[str], val_images: int, seconds: float) -> None:
    """Put the best checkpoint's scores on the record and end the run."""
    if state.best is None:
        job.warn("no validation Dice was defined in any epoch, so there is no best checkpoint")
    else:
        confusion, scores = state.best.read(len(class_names))
        job.record(
            Result(
                split="val",
                at="input",
                epoch=state.best.epoch,
                images=val_images,
                confusion=confusion,
                **score_fields(scores, class_names),
            )
        )
    job.record(Finished(epoch=state.epoch, seconds=round(seconds, 3)))


def _refuse_divergence(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise Diverged(
            f"the loss became {loss} in epoch {epoch}; "
            "a smaller optimizer.lr or optimizer.clip_norm=1 may help"
        )
