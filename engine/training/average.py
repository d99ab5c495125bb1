"""The average task: the mean of the weights of several checkpoints, as a network of its own.

Of epochs of one run: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization"
(SWA), UAI 2018. Of several runs: Wortsman et al., "Model soups", ICML 2022.

The statistics of batch norm are those of features, and no network has had the features that averaged weights
make. So they are not averaged but estimated again, as Izmailov et al. do, in a pass over the training images.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.config.run_config import FROZEN_NORMS
from engine.data.batches import Batches, make_batches
from engine.data.membership import Membership
from engine.inference.gallery import write_gallery, write_picture
from engine.learning.batch_norm import batch_norms
from engine.learning.checkpoint import CheckpointError, check_fits, load_with_digest, save_checkpoint
from engine.learning.weight_average import validated_weights
from engine.metrics.recorded import RecordedMetrics
from engine.run.directory import RunDir
from engine.run.events import Averaged, AveragedFrom, Checkpoint, Finished, Progress
from engine.run.journal import read_all
from engine.tasks.average import OF_TRAINING
from engine.training.begin import Learning, begin, warn_of_seen_images
from engine.training.loop import say_epoch, validate
from engine.training.saving import identity, scores_of
from engine.training.state import Best, TrainState
from engine.training.step import augmented
from engine.training.train import record_result
from engine.worker.job import Job

EPOCH = 1
"""What the one pass and its checkpoint are numbered."""


def average(job: Job) -> None:
    """Average the checkpoints that the config names, estimate the statistics of batch norm, score the network
    on the validation images and write it to best.pt and, if it is wanted, to another file.

    Raises StopRequested between two batches with nothing kept, CheckpointError when a checkpoint is gone,
    damaged, or of another network or other classes, or when the file is there already, and DataError.
    """
    config, about = job.config, job.config.average
    assert about is not None
    begun = time.monotonic()
    refuse_existing(job)
    adopt_split(job)
    sources: list[AveragedFrom] = []
    learning = begin(job, lambda job, state: sources.extend(start_from_average(job, state)))
    state, data = learning.state, learning.data
    for path in checkpoints(job):
        warn_of_seen_images(job, path, data, "one of the runs")
    train_batches, val_batches = make_batches(
        [data.train, data.val], learning.hardware.device, 1, job.check_stop_while_waiting
    )
    estimate_statistics(job, learning, train_batches)
    meter, _ = validate(job, learning, val_batches, EPOCH)
    metrics = RecordedMetrics(data.class_set, job.warn).of(meter.matrix(), meter.matrices())
    event = meter.event(EPOCH, "val", state.classes, lr=0.0).model_copy(update={"metrics": metrics})
    job.record(event)
    say_epoch(job, f"mean of {len(about.checkpoints)} checkpoints,", [event])
    state.best = Best.of(event, meter)
    save_average(job, state, sources)
    if config.gallery.every:
        write_gallery(job, state.model, data.val, data.class_set, learning.hardware, EPOCH)
        write_picture(job, data.class_set)
    record_result(job, state, data)
    job.record(Finished(epoch=EPOCH, seconds=round(time.monotonic() - begun, 3)))


def refuse_existing(job: Job) -> None:
    """Raise CheckpointError where somebody else has made the file that the config names since the run was
    requested. What is there after an attempt of this run was made by it."""
    assert job.config.average is not None
    out = job.config.average.out
    if not out or not Path(out).exists():
        return
    if not any(isinstance(event, Averaged) for event in read_all(job.run.journal)):
        raise CheckpointError(f"{out}: already exists; move it away, or use another --out")


def checkpoints(job: Job) -> Iterator[Path]:
    """The files whose weights are averaged."""
    assert job.config.average is not None
    for given in job.config.average.checkpoints:
        yield Path(os.path.normpath(job.run.path / given))


def adopt_split(job: Job) -> None:
    """Hold out what the first of the runs held out, whatever its data set has become since."""
    first = Membership.read(RunDir(next(checkpoints(job)).parent.parent).split_file)
    if first is not None and not job.run.split_file.exists():
        first.write(job.run.split_file)


def start_from_average(job: Job, state: TrainState) -> list[AveragedFrom]:
    """Put the mean of the checkpoints into a new state, and on the record where it comes from, which is
    returned. Where a run has an average of its weights and uses it, that is what counts. Whole numbers, such
    as counts of batches, are those of the first."""
    model = job.config.model
    sums: dict[str, Tensor] = {}
    sources = []
    for path in checkpoints(job):
        content, sha256 = load_with_digest(path)
        if not {"model", "model_config", "classes", "epoch"} <= content.keys():
            raise CheckpointError(f"{path}: contains no segmentation network")
        own = {key: value for key, value in model.model_dump(mode="json").items() if key in OF_TRAINING}
        of_network = {**content, "model_config": {**content["model_config"], **own}}
        check_fits(path, of_network, model, state.classes)
        for name, tensor in validated_weights(content).items():
            if not tensor.is_floating_point():
                sums.setdefault(name, tensor)
            elif name in sums:
                sums[name] += tensor
            else:
                sums[name] = tensor.double()
        sources.append(AveragedFrom(source=str(path), epoch=content["epoch"], sha256=sha256))
        job.say(f"averaged: {sources[-1].told}")
    mean = {name: each / len(sources) if each.is_floating_point() else each for name, each in sums.items()}
    state.model.load_state_dict(mean)
    job.record(Averaged(sources=sources))
    return sources


@torch.no_grad()
def estimate_statistics(job: Job, learning: Learning, batches: Batches) -> None:
    """Make the running statistics of batch norm the mean over one epoch's batches, augmented as in training;
    a batch counts by its images. All other layers are as in evaluation.

    Nothing changes where there is no batch norm, or where `batch_norm` has it frozen: then the runs kept the
    statistics that their weights came with. Raises StopRequested between two batches.
    """
    config, state, hardware = job.config, learning.state, learning.hardware
    norms = list(batch_norms(state.model))
    if not norms or config.batch_norm in FROZEN_NORMS:
        return
    images, plan = len(learning.data.train), learning.sampling.plan(0)
    state.begin_epoch(images)
    state.model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
    seen = 0
    for batch in batches(plan.order, config.batch_size):
        if plan.focus is not None:
            first = state.step * config.batch_size
            batch = replace(batch, focus=plan.focus[first : first + config.batch_size])
        pixels, targets = augmented(state, batch, len(batch.images))
        size = config.runtime.micro_batch or len(pixels)
        for part, part_targets in zip(torch.split(pixels, size), torch.split(targets, size), strict=True):
            seen += len(part)
            for norm in norms:
                norm.momentum = len(part) / seen  # 1 at first: what was averaged is forgotten
            with hardware.autocast():
                state.model(state.objective.inputs(part, part_targets))
        state.step += 1
        job.step_done()
        if job.progress_is_due():
            job.report(Progress(phase="average", epoch=EPOCH, step=state.step, steps=state.steps))
        job.check_stop()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    job.say(f"the statistics of {len(norms)} batch norms are those of {seen} training images")


def save_average(job: Job, state: TrainState, sources: list[AveragedFrom]) -> None:
    """Write best.pt and the file that the config names besides; both say what they were made of, which need
    not be there any more."""
    about, best = job.config.average, state.best
    assert about is not None
    assert best is not None
    content: dict[str, Any] = {**identity(state), **scores_of(best), "model": state.model.state_dict()}
    content["averaged"] = [{"source": each.source, "sha256": each.sha256} for each in sources]
    save_checkpoint(job.run.checkpoints / "best.pt", content)
    if about.out:
        save_checkpoint(Path(about.out), content)
        job.say(f"wrote {about.out}")
    job.record(Checkpoint(kind="best", epoch=best.epoch, path="checkpoints/best.pt", dice=best.dice))
