"""The predict task: class maps of images at their own size, one after the other.

An image that cannot be used costs its own class map alone: the others are made, and the run then fails with
the number of those that were not. A later attempt makes only what is missing, and all where the checkpoint's
file has changed since.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.config.task_sections import PredictConfig
from engine.data.catalog import DataError
from engine.data.class_map_files import ClassMapWriter
from engine.data.decode import map_in_order
from engine.data.image_files import FileFault, read_image
from engine.inference.ahead import computed_ahead
from engine.inference.compiled import compiled_for
from engine.inference.crf.refinement import Refinement
from engine.inference.network import Network, load_network
from engine.inference.progress import readers
from engine.inference.video import predict_video
from engine.learning.class_maps import class_map
from engine.learning.hardware import choose_hardware, settle_arithmetic
from engine.run.events import Finished, Progress
from engine.run.journal import read_all
from engine.run.prediction_files import output_name
from engine.run.scoring_events import Predicting
from engine.training.begin import describe_model
from engine.worker.job import Job, record_start


def predict(job: Job) -> None:
    """Write the class maps of the images, or the video.

    Raises StopRequested, CheckpointError, PredictionError, and DataError when some image could not be used,
    a prediction is there already or cannot be written.
    """
    config, about = job.config, job.config.predict
    assert about is not None
    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    record_start(job, hardware, resumed_from_epoch=0)
    begun = time.monotonic()
    network = load_network(config, job.run.path, hardware, about.classes)
    if about.video:
        predict_video(job, about, network)
        job.record(Finished(epoch=0, seconds=round(time.monotonic() - begun, 3)))
        return
    writer = ClassMapWriter.of(Path(job.run.path, about.out).resolve(), about.values, about.colors)
    wanted = [(image, output_name(image, about.naming)) for image in map(Path, about.images)]
    left = still_to_make(job, about, network, writer, wanted)
    job.record(
        Predicting(
            source=about.source,
            checkpoint=about.checkpoint,
            sha256=network.sha256,
            epoch=network.epoch,
            images=len(wanted),
            done=len(wanted) - len(left),
            out=str(writer.out),
            label_resize=about.label_resize,
            tta=about.tta,
            classes=list(network.classes),
            colors=list(about.colors),
            **about.window_fields,
        )
    )
    describe_model(job, network.model, len(network.classes))

    refinement = Refinement.of(job, network, "original")
    faults = write_predictions(job, about, network, writer, left, len(wanted) - len(left), refinement)
    if refinement is not None:
        job.record(refinement.result("", len(wanted) - len(faults)))
    if faults:
        more = f"; the log lists {len(faults) - 1} more" if len(faults) > 1 else ""
        told = f"{len(faults)} of {len(wanted)} images could not be used; the others are done"
        raise DataError(f"{told}: {faults[0]}{more}")
    job.record(Finished(epoch=0, seconds=round(time.monotonic() - begun, 3)))


def still_to_make(
    job: Job, about: PredictConfig, network: Network, writer: ClassMapWriter, wanted: list[tuple[Path, str]]
) -> list[tuple[Path, str]]:
    """The images whose class maps are not there. What an earlier attempt made with other weights is removed.
    Raises DataError where a prediction of somebody else is there and may not be replaced."""
    names = [name for _, name in wanted]
    earlier = [event for event in read_all(job.run.journal) if isinstance(event, Predicting)]
    if not earlier:
        for note in about.notes:
            job.warn(note)
        writer.make_room(names, about.overwrite)
    elif earlier[-1].sha256 != network.sha256:
        job.warn("the checkpoint has changed; all class maps are made again")
        writer.make_room(names, overwrite=True)
    # From here on, what is there was made by this run.
    return [each for each in wanted if not writer.has(each[1])]


@dataclass(frozen=True)
class Read:
    """An image decoded, or what is wrong with it; `views` for the network."""

    name: str
    image: Image.Image | None
    views: list[NDArray[np.uint8]]
    fault: str = ""


def write_predictions(
    job: Job,
    about: PredictConfig,
    network: Network,
    writer: ClassMapWriter,
    left: list[tuple[Path, str]],
    done_before: int,
    refinement: Refinement | None = None,
) -> list[str]:
    """Predict and write what is left; returns what is wrong with images. Raises StopRequested between two."""
    begun, faults = time.monotonic(), []
    network = compiled_for(job, network, len(left))

    def predict(read: Read) -> tuple[Tensor, tuple[Tensor]] | None:
        if read.image is None:
            return None
        logits = network.logits(read.views)
        width, height = read.image.size
        if refinement is not None:
            return logits, (refinement.class_map(logits, np.asarray(read.image), about.label_resize),)
        return logits, (class_map(logits, (height, width), about.label_resize),)

    with closing(read_ahead(job, left, network)) as reading:
        predicted = computed_ahead(reading, predict, lambda read: read.name)
        for done, (read, results) in enumerate(predicted, start=1):
            if read.image is None:
                job.warn(f"left out: {read.fault}")
                faults.append(read.fault)
            else:
                writer.write(read.name, read.image, results[0])
            job.step_done()
            if job.progress_is_due() or done == len(left):
                rate = done / (time.monotonic() - begun)
                job.report(
                    Progress(
                        phase="predict",
                        epoch=0,
                        step=done_before + done,
                        steps=done_before + len(left),
                        images_per_second=round(rate, 3),
                        eta_seconds=round((len(left) - done) / rate, 1),
                    )
                )
            job.check_stop()
    return faults


def read_ahead(job: Job, left: list[tuple[Path, str]], network: Network) -> Generator[Read, None, None]:
    """The images in order, decoded by threads."""

    def read(each: tuple[Path, str]) -> Read:
        path, name = each
        try:
            image = read_image(path)
        except FileFault as fault:
            return Read(name, None, [], str(fault))
        return Read(name, image, network.views(image))

    return map_in_order(read, left, readers(), job.check_stop_while_waiting)
