"""The predict task on a video: its frames in order, coloured by class, as another video.

Frames are decoded, predicted and encoded one after the other, so memory does not depend on their number. What
is written lies in parts (`engine.video.writing`): whoever stops or kills the run loses at most the last part.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.config.task_sections import PredictConfig
from engine.data.catalog import DataError
from engine.data.decode import map_in_order
from engine.inference.ahead import computed_ahead
from engine.inference.compiled import compiled_for
from engine.inference.network import Network
from engine.inference.progress import readers
from engine.learning.class_maps import class_map
from engine.run.events import Progress
from engine.run.journal import read_all
from engine.run.scoring_events import Predicting
from engine.training.begin import describe_model
from engine.video.reading import Frame, Video
from engine.video.views import Painter
from engine.video.writing import PART_SECONDS, VideoParts
from engine.worker.job import Job


@dataclass(frozen=True)
class Read:
    """A frame decoded; `views` for the network."""

    frame: Frame
    views: list[NDArray[np.uint8]]


def predict_video(job: Job, about: PredictConfig, network: Network) -> None:
    """Write the video. Raises StopRequested, VideoError, PredictionError, and DataError for a video that is
    damaged, and where another is there already and may not be replaced."""
    refuse_existing(job, about)
    prediction = VideoPrediction.of(job, about, network)
    job.record(
        Predicting(
            source=about.source,
            checkpoint=about.checkpoint,
            sha256=network.sha256,
            epoch=network.epoch,
            images=max(prediction.video.frames, prediction.parts.done),
            done=prediction.parts.done,
            out=str(prediction.out),
            label_resize=about.label_resize,
            tta=about.tta,
            classes=list(network.classes),
            colors=list(about.colors),
            **about.window_fields,
        )
    )
    describe_model(job, network.model, len(network.classes))
    prediction.make(job, about, network)


def refuse_existing(job: Job, about: PredictConfig) -> None:
    """Raise DataError where the output was made by somebody else since the run was requested. What is there
    after an attempt of this run was made by it."""
    out = Path(job.run.path, about.out).resolve()
    has_begun = any(isinstance(event, Predicting) for event in read_all(job.run.journal))
    if out.exists() and not (about.overwrite or has_begun):
        raise DataError(f"{out}: already exists; use another --out or add --overwrite")


@dataclass(frozen=True)
class VideoPrediction:
    """A video that a run predicts, with what earlier attempts have made of it."""

    video: Video
    parts: VideoParts
    out: Path

    @classmethod
    def of(cls, job: Job, about: PredictConfig, network: Network) -> VideoPrediction:
        """Parts of another checkpoint, or of the file as it was before it changed, are removed. Raises
        VideoError."""
        video = Video.open(Path(about.images[0]))
        status = video.path.stat()
        made_of = f"{network.sha256} {status.st_size} {status.st_mtime_ns}"
        folder = job.run.outputs / f"parts-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
        for other in job.run.outputs.glob("parts-*"):
            if other != folder:
                shutil.rmtree(other)
        seconds = min(PART_SECONDS, job.config.checkpoint.seconds)
        return cls(video, VideoParts(folder, video, seconds), Path(job.run.path, about.out).resolve())

    def make(self, job: Job, about: PredictConfig, network: Network) -> None:
        """Predict what is left and put the video together. Raises StopRequested between two frames, and
        DataError, with what could be read written, for a video that is damaged."""
        video, parts, begun, before = self.video, self.parts, time.monotonic(), self.parts.done
        painter = Painter(about.view, about.colors)
        size = video.height, video.width
        network = compiled_for(job, network, max(0, video.frames - before))

        def read(frame: Frame) -> Read:
            return Read(frame, network.views(Image.fromarray(frame.pixels)))

        def predict(read: Read) -> tuple[Tensor, tuple[Tensor]]:
            logits = network.logits(read.views)
            return logits, (class_map(logits, size, about.label_resize),)

        if video.note:
            job.warn(video.note)
        try:
            frames = video.read(skip=parts.done)
            with closing(map_in_order(read, frames, readers(), job.check_stop_while_waiting)) as reading:
                predicted = computed_ahead(reading, predict, lambda read: f"frame {read.frame.index}")
                for each, (classes,) in predicted:
                    parts.add(each.frame, painter.paint(each.frame.pixels, classes))
                    job.step_done()
                    if job.progress_is_due():
                        self._report(job, begun, before)
                    job.check_stop()
        finally:
            parts.end_part()
        self._report(job, begun, before)
        done = parts.done
        self.out.parent.mkdir(parents=True, exist_ok=True)
        parts.finish(self.out)
        if video.fault:
            raise DataError(f"{video.fault}; {self.out} has {done} frames")

    def _report(self, job: Job, begun: float, before: int) -> None:
        done, of = self.parts.done, max(self.video.frames, self.parts.done)
        rate = (done - before) / max(time.monotonic() - begun, 1e-9)
        job.report(
            Progress(
                phase="predict",
                epoch=0,
                step=done,
                steps=of,
                images_per_second=round(rate, 3),
                eta_seconds=round((of - done) / rate, 1) if rate else None,
            )
        )
