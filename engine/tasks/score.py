"""Scoring a split at the input size with the network as it stands."""

from __future__ import annotations

import torch
from torch import nn

from engine.data.batches import Batches
from engine.journal import Progress
from engine.learning.hardware import Hardware
from engine.tasks.job import Job
from engine.tasks.meter import EpochMeter
from engine.tasks.objectives import Objective


@torch.inference_mode()
def score_split(
    job: Job,
    model: nn.Module,
    objective: Objective,
    batches: Batches,
    images: int,
    classes: int,
    hardware: Hardware,
    epoch: int,
) -> EpochMeter:
    """Pass `images` images through `model` in evaluation mode. Raises StopRequested between two batches.

    What is random in the targets is the same each time.
    """
    batch_size = job.config.evaluation.batch_size or job.config.batch_size
    steps = -(-images // batch_size)
    model.eval()
    meter = EpochMeter(classes, hardware.device)
    generator = torch.Generator(hardware.device).manual_seed(job.config.seed)
    for step, batch in enumerate(batches(torch.arange(images), batch_size), start=1):
        meter.data_arrived()
        targets = objective.targets(batch.images, batch.labels, generator)
        with hardware.autocast():
            answers = model(objective.inputs(batch.images, targets))
        meter.add(objective.loss(answers, targets), answers, targets)
        if job.progress_is_due():
            job.report(
                Progress(
                    phase="val",
                    epoch=epoch,
                    step=step,
                    steps=steps,
                    images_per_second=round(meter.images_per_second, 3),
                )
            )
        job.check_stop()
    return meter
