"""Scoring a split at the input size with the network as it stands."""

from __future__ import annotations

import torch
from torch import nn

from engine.data.batches import Batches, normalise
from engine.journal import Progress
from engine.learning.hardware import Hardware
from engine.learning.losses import Loss
from engine.tasks.job import Job
from engine.tasks.meter import EpochMeter


@torch.inference_mode()
def score_split(
    job: Job,
    model: nn.Module,
    loss_function: Loss,
    batches: Batches,
    images: int,
    classes: int,
    hardware: Hardware,
    epoch: int,
) -> EpochMeter:
    """Pass `images` images through `model` in evaluation mode. Raises StopRequested between two batches."""
    batch_size = job.config.evaluation.batch_size or job.config.batch_size
    steps = -(-images // batch_size)
    model.eval()
    meter = EpochMeter(classes, hardware.device)
    for step, batch in enumerate(batches(torch.arange(images), batch_size), start=1):
        meter.data_arrived()
        labels = batch.labels
        with hardware.autocast():
            logits = model(normalise(batch.images))
        meter.add(loss_function(logits, labels), logits, labels)
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
