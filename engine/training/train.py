"""The train task: learn the classes of a data set from its labels."""

from __future__ import annotations

import numpy as np

from engine.data.dataset import Dataset
from engine.inference.gallery import write_gallery, write_picture
from engine.metrics.recorded import RecordedMetrics
from engine.run.scoring_events import Result
from engine.training.begin import begin
from engine.training.loop import run_epochs
from engine.training.meter import score_fields
from engine.training.state import TrainState
from engine.worker.job import Job


def train(job: Job) -> None:
    """Train the job's config to its last epoch, keep a gallery on the way, record the best epoch's scores.

    Raises what `run_epochs` raises.
    """
    config = job.config
    learning = begin(job)
    data, state = learning.data, learning.state

    def keep_gallery(epoch: int, is_last: bool) -> None:
        wanted = config.gallery.every and job.group.is_main
        if wanted and (epoch % config.gallery.every == 0 or is_last):
            with state.validated_weights():
                write_gallery(job, state.model, data.val, data.class_set, learning.hardware, epoch)

    finished = run_epochs(job, learning, keep_gallery)
    if config.gallery.every and job.group.is_main:
        write_picture(job, data.class_set)
    record_result(job, state, data)
    job.record(finished)


def record_result(job: Job, state: TrainState, data: Dataset) -> None:
    """Put the best checkpoint's scores on the record."""
    if state.best is None:
        job.warn("no validation Dice was defined in any epoch, so there is no best checkpoint")
        return
    confusion, scores = state.best.read(len(state.classes))
    job.record(
        Result(
            split="val",
            at="input",
            epoch=state.best.epoch,
            images=len(data.val),
            confusion=confusion,
            metrics=RecordedMetrics(data.class_set, job.say).of(np.array(confusion, dtype=np.int64)),
            **score_fields(scores, state.classes),
        )
    )
