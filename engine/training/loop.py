"""The epochs of a task that learns: one loop from first to last, to be left after any step and entered again.

A run is a function of its config. Order, augmentation and noise of step `s` of epoch `e` are drawn from
generators seeded with (seed, e, s), so no generator has to survive and a checkpoint may be written after
any step. A run that was stopped or killed and resumed on the same CPU ends with the same bits as one that
was not.

Several ranks run this loop side by side, each with its local batch. A step's gradient is that
of the global batch, whoever computes which part of it; so batch size and learning rate mean the same on any
number of devices. Only batch norm and losses that are not means over pixels see a local batch or, with
`runtime.micro_batch`, a micro-batch alone.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from engine.data.batches import Batches, make_batches
from engine.learning.ceiling import matrix_ceiling
from engine.learning.compiled_passes import CompiledPasses
from engine.learning.hardware import Hardware
from engine.learning.transfers import Arrival
from engine.metrics.recorded import RecordedMetrics
from engine.run.event import MetricScore
from engine.run.events import Epoch, Finished, Progress, Speed
from engine.training.begin import Learning
from engine.training.crops import crops_of_epoch
from engine.training.meter import EpochMeter
from engine.training.objectives import Objective
from engine.training.sampling import Sampling
from engine.training.saving import REMEDY, keep_epoch, save
from engine.training.state import Best, TrainState
from engine.training.step import training_step
from engine.training.validate import batches_left, score_split, validation_passes
from engine.worker.job import Diverged, Job, StopRequested


def run_epochs(
    job: Job, learning: Learning, after_epoch: Callable[[int, bool], None] = lambda epoch, is_last: None
) -> Finished:
    """Train until the run is as long as it is to be, or `early_stop` ends it; returns what is to be recorded
    of the end.
    `after_epoch` is called with the number of each that is complete, and whether it is the last.

    Raises StopRequested after saving a checkpoint, Diverged with the last good checkpoint kept, and whatever
    goes wrong on the way.
    """
    config, state, hardware, group = job.config, learning.state, learning.hardware, job.group
    length = state.length
    data, flops = learning.data, learning.flops
    train_batches, val_batches = make_batches(
        [data.train, data.val], hardware.device, group.count, job.check_stop_while_waiting
    )
    passes = validation_passes(job, learning)
    metrics = RecordedMetrics(data.class_set, job.warn)
    rates: list[float] = []
    begun = time.monotonic()
    length.start_clock()
    while not state.is_over():
        try:
            train_meter = train_epoch(job, state, train_batches, len(data.train), learning.sampling).over(
                group
            )
            epoch = state.epoch + 1
            _refuse_divergence(train_meter.loss(), epoch)
            train_event = train_meter.event(epoch, "train", state.classes, state.lr)
            events = [train_event]
            if epoch % config.validation.every == 0 or length.is_over(epoch):
                val_meter, of_others = validate(job, learning, val_batches, epoch, passes)
                length.validated()
                val_event = val_meter.event(epoch, "val", state.classes, state.lr)
                if group.is_main:
                    of_own = metrics.of(val_meter.matrix(), val_meter.matrices()) if state.classes else []
                    val_event = val_event.model_copy(update={"metrics": [*of_own, *of_others]})
                keep_best(state, val_event, val_meter)
                state.early_stop.validated(val_event)
                events.append(val_event)
        except StopRequested:
            _refuse_divergence(state.meter.over(group).loss(), state.epoch + 1)
            save(job, state)
            raise
        used = length.budget_used(epoch, 0)
        for event in events:
            job.record(event.model_copy(update={"budget_used": used}))
        say_epoch(job, length.told(epoch), events)
        rates.append(train_event.images_per_second or 0.0)
        if len(rates) == 1:
            record_speed(job, hardware, flops, rates)
            length.start_clock()  # what the machine could do is no work of the run's
        state.finish_epoch()
        job.epochs_done = state.epoch
        is_last = state.is_over_after(epoch)
        after_epoch(epoch, is_last)
        if config.checkpoint.keep_every and epoch % config.checkpoint.keep_every == 0:
            keep_epoch(job, state)
        due = is_last or state.save_is_due(config.checkpoint.seconds)
        if group.largest(int(due)):  # each has a clock of its own
            save(job, state)
    length.read_clock()
    if len(rates) > 1:
        record_speed(job, hardware, flops, rates)
    ended_early = not length.is_over(state.epoch)
    if told := state.early_stop.told() if ended_early else length.at_end():
        job.say(told)
    return Finished(
        epoch=state.epoch,
        seconds=round(time.monotonic() - begun, 3),
        cause="early_stop" if ended_early else length.cause,
    )


def validate(
    job: Job, learning: Learning, batches: Batches, epoch: int, passes: CompiledPasses | None = None
) -> tuple[EpochMeter, list[MetricScore]]:
    """Score the validation split: where there is an average of the weights, with it and with them. Returns
    the counts of those that `ema.use` names, which choose the best epoch, and the others' scores as metrics.

    Raises StopRequested between two batches, with the weights in their place.
    """
    state, data = learning.state, learning.data
    meters: dict[str, EpochMeter] = {}
    used = state.config.ema.use if state.average is not None else "raw"
    if passes is not None:
        passes.begin(batches_left(state.config, state, len(data.val), job.group))
    for weights in ("raw", "average") if state.average is not None else ("raw",):
        with state.validated_weights(weights):
            job.group.even_out(state.model)
            meters[weights] = score_split(
                job,
                state.model,
                state.objective,
                batches,
                len(data.val),
                len(state.classes),
                learning.hardware,
                epoch,
                passes,
            )
        _refuse_divergence(meters[weights].loss(), epoch)
    others = {weights: meter for weights, meter in meters.items() if weights != used}
    meters[used].include_time_of(others.values())
    return meters[used], [score for weights, meter in others.items() for score in _as_metrics(weights, meter)]


def _as_metrics(weights: str, meter: EpochMeter) -> list[MetricScore]:
    """The scores of weights that do not choose the best epoch: `raw_dice` and so on."""
    found = [MetricScore(name=f"{weights}_loss", value=meter.loss(), better="lower")]
    if meter.confusion is not None:
        scores = meter.confusion.compute()
        for name, value in (("dice", scores.dice), ("miou", scores.miou)):
            bounded = MetricScore(name=f"{weights}_{name}", value=value, low=0, high=1, better="higher")
            found.append(bounded)
    return found


def train_epoch(
    job: Job, state: TrainState, batches: Batches, images: int, sampling: Sampling | None = None
) -> EpochMeter:
    """Train from the state's step to the end of its epoch, or of its budget; `state.meter` counts this rank's
    part of the pass. Without a `sampling` each image is seen once.

    Raises StopRequested after a whole step, with the state fit to be saved.
    """
    config, epoch, meter, group = job.config, state.epoch, state.meter, job.group
    state.begin_epoch(images)
    plan = (sampling or Sampling(images, config.seed)).plan(epoch)
    images = state.length.images_after(epoch)
    order, local_size = group.share_of(plan.order[:images], config.batch_size)
    focus = None if plan.focus is None else group.share_of(plan.focus[:images], config.batch_size)[0]
    meter.start_clock()
    arrival: Arrival | None = None
    crops = crops_of_epoch(state, images, order, local_size, focus, group)
    for batch in batches(order, local_size, start=state.step, crops=crops):
        if state.length.cuts(state.step):
            break
        meter.data_arrived()
        if focus is not None:
            first = state.step * local_size
            batch = replace(batch, focus=focus[first : first + local_size])
        global_size = min(config.batch_size, images - state.step * config.batch_size)
        sums = training_step(state, batch, global_size, group)
        job.step_done()
        if arrival is None and job.progress_is_due():
            arrival = Arrival([sums])  # told when it is here: to read it now, the host would wait
        if arrival is not None and arrival.is_here():
            loss = _loss_of(state.objective, *arrival.tensors())
            arrival = None
            _refuse_divergence(loss, epoch + 1)
            job.report(
                Progress(
                    phase="train",
                    epoch=epoch + 1,
                    step=state.step,
                    steps=state.steps,
                    loss=loss,
                    images_per_second=round(meter.images_per_second * group.count, 3),
                    eta_seconds=state.eta(),
                    budget_used=state.length.budget_used(epoch, state.step),
                )
            )
        job.check_stop()
    return meter


def _loss_of(objective: Objective, sums: Tensor) -> float | None:
    """The loss of a batch's sums, float64 [terms]; None where nothing counts."""
    return float(objective.value(sums)) if sums[0] else None


def keep_best(state: TrainState, event: Epoch, meter: EpochMeter) -> None:
    """Hold the weights of the best epoch so far; of equal ones the first."""
    state.val_dice = event.dice
    best = Best.of(event, meter)
    if not best.beats(state.best):
        return
    best.weights = {name: tensor.detach().clone() for name, tensor in state.model.state_dict().items()}
    best.average, best.length = state.averaged(), state.length.state()
    state.best = best


def say_epoch(job: Job, epoch: str, events: list[Epoch]) -> None:
    """Log the scores of an epoch, which is told as "epoch 3/60"."""
    for event in events:
        loss = "undefined" if event.loss is None else f"{event.loss:.4f}"
        dice = f", dice {'undefined' if event.dice is None else f'{event.dice:.5f}'}"
        job.say(
            f"{epoch} {event.split}: loss {loss}"
            f"{dice if event.class_dice else ''}, {event.images_per_second:.1f} images/s"
        )


def record_speed(job: Job, hardware: Hardware, flops: int, rates: list[float]) -> None:
    """Hold the median speed of the epochs so far against what the devices could do together."""
    if not job.group.is_main:
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
        raise Diverged(f"the loss became {loss} in epoch {epoch}; {REMEDY}")
