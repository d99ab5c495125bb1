"""The evaluate task: one image after the other, at the size of its own labels or at the input size.

Images come from their files, a few read ahead, and go through the network one by one; their class maps are
made in bands. So memory does not depend on the number of images. The confusion matrix of every image is kept
in outputs/confusions.npz, written every `checkpoint.seconds` and at every end: a run that was stopped goes on
with the images that are not in it, unless the checkpoint's file or one of those images has changed since, or
is gone. Of the images with the lowest Dice so far (`evaluate.keep`) the prediction stays in the gallery.

With a CRF, both the predictions before it and those after it are scored in the same pass. All that is told
without a word about it is of those after; those before have outputs/confusions-before-crf.npz and are part of
the event `crf_result`.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.config.task_sections import EvaluateConfig
from engine.data.catalog import DataError, Sample
from engine.data.decode import map_in_order, read_pair, resize_image, resize_labels, train_id_table
from engine.data.instance_ids import read_instance_ids
from engine.data.pairs import Pairs
from engine.inference.ahead import computed_ahead
from engine.inference.compiled import compiled_for
from engine.inference.counting import Beside
from engine.inference.crf.refinement import Refinement, crf_scores
from engine.inference.latency import machine_of
from engine.inference.network import Network
from engine.inference.progress import readers
from engine.inference.scoring import CONTENTS, Scoring, contents_array, told_outdated
from engine.inference.worst import WorstGallery
from engine.learning.class_maps import class_map
from engine.learning.latency import measure_latency
from engine.learning.transfers import to_device
from engine.metrics.confusion import confusion_per_image
from engine.metrics.image_confusions import ImageConfusions, load_beside, load_image_confusions
from engine.metrics.instances import InstanceIds
from engine.metrics.latency import Setting, latency_result
from engine.metrics.recorded import RecordedMetrics
from engine.metrics.scores import MetricsError
from engine.models.registry import count_parameters
from engine.run.events import Finished, Progress
from engine.run.scoring_events import ImageScores, Result
from engine.training.begin import describe_model
from engine.training.meter import score_fields
from engine.worker.job import Job

CONFUSIONS = "confusions.npz"
BEFORE_CRF = "confusions-before-crf.npz"


def evaluate(job: Job) -> None:
    """Score a checkpoint on a split.

    Raises StopRequested with what was scored kept, CheckpointError, DataError and PredictionError.
    """
    about = job.config.evaluate
    assert about is not None
    begun = time.monotonic()
    scoring = Scoring.of(job, about)
    pairs, network = scoring.pairs, scoring.network
    refinement = Refinement.of(job, network, about.at)
    beside = Beside.of(about, network.classes)
    kept = Kept.of(job, pairs, network, beside, refinement)
    job.record(scoring.begun(about.at, len(kept.confusions)))
    flops = describe_model(job, network.model, len(network.classes))
    speed = measure_latency(network.model, network.size, scoring.hardware, network.windows)
    job.say(f"one image takes {1000 * speed.median:.1f} ms")
    if network.windows.size is None:  # in windows it is no pass at a size
        setting = Setting(network.size, "engine", scoring.hardware.precision)
        job.record(latency_result(setting, speed, machine_of(scoring.hardware)))

    with WorstGallery(job.run.gallery, pairs.class_set, network.epoch, about.keep) as gallery:
        gallery.go_on_with(kept.confusions)
        score_images(job, about, pairs, network, kept, gallery, refinement)
        gallery.record(job)
    pooled = kept.confusions.pooled()
    scoring.refuse_void(pooled)
    scores = kept.confusions.scores()
    metrics = RecordedMetrics(pairs.class_set.marked(about.critical), job.warn)
    job.record(
        Result(
            split=about.split,
            at=about.at,
            epoch=network.epoch,
            images=len(kept.confusions),
            confusion=pooled.tolist(),
            metrics=metrics.of(pooled, kept.confusions.matrices()) + beside.metrics(network.classes),
            source=about.source,
            checkpoint=about.checkpoint,
            label_resize=about.label_resize if about.at == "original" else "",
            tta=about.tta,
            parameters=count_parameters(network.model),
            flops_per_sample=flops,
            latency_seconds=speed.median,
            latency_p95_seconds=speed.percentile(0.95),
            frames_per_second=1 / speed.median,
            crf="" if refinement is None else refinement.words,
            **about.window_fields,
            **score_fields(scores, list(network.classes)),
        )
    )
    if refinement is not None and kept.before is not None:
        before, after = (crf_scores(one, network.classes) for one in (kept.before.scores(), scores))
        job.record(refinement.result(about.split, len(kept.confusions), before, after))
    job.record(Finished(epoch=0, seconds=round(time.monotonic() - begun, 3)))


@dataclass
class Kept:
    """The confusions of the images scored so far, and their file; `before` are those without the CRF."""

    path: Path
    pairs: Pairs
    confusions: ImageConfusions
    beside: Beside
    before: ImageConfusions | None = None
    _saved_at: float = field(default_factory=time.monotonic)

    @classmethod
    def of(
        cls,
        job: Job,
        pairs: Pairs,
        network: Network,
        beside: Beside,
        refinement: Refinement | None = None,
    ) -> Kept:
        """What an earlier attempt left; with a warning nothing, when that cannot be gone on with."""
        path = job.run.outputs / CONFUSIONS
        made_by = network.sha256 if refinement is None else f"{network.sha256}; {refinement.words}"
        fresh = cls(path, pairs, ImageConfusions(network.classes, made_by), beside)
        if refinement is not None:
            fresh.before = ImageConfusions(network.classes, network.sha256)
        if not path.exists():
            return fresh
        try:
            earlier = cls(path, pairs, load_image_confusions(path), beside)
            if refinement is not None:
                earlier.before = load_image_confusions(fresh.before_path).first(len(earlier.confusions))
        except MetricsError as error:
            job.warn(f"{error}; all images are scored again")
            return fresh
        if (earlier.confusions.classes, earlier.confusions.checkpoint) != (network.classes, made_by):
            what = "checkpoint has" if refinement is None else "checkpoint or the CRF has"
            job.warn(f"the {what} changed; all images are scored again")
            return fresh
        contents = load_beside(path, CONTENTS).get(CONTENTS)
        if outdated := told_outdated(earlier.confusions.names, contents, pairs):
            job.warn(f"{outdated}; all images are scored again")
            return fresh
        if earlier.before is not None and earlier.before.names != earlier.confusions.names:
            job.warn(f"{fresh.before_path}: is of other images; all images are scored again")
            return fresh
        try:
            beside.go_on_with(path)
        except MetricsError as error:
            job.warn(f"{path}: {error}; all images are scored again")
            return fresh
        return earlier

    @property
    def before_path(self) -> Path:
        return self.path.with_name(BEFORE_CRF)

    def save(self) -> None:
        if self.before is not None:
            self.before.save(self.before_path)  # first: it may have more images than the other, never fewer
        contents = contents_array(self.confusions.names, self.pairs)
        self.confusions.save(self.path, {CONTENTS: contents} | self.beside.arrays())
        self._saved_at = time.monotonic()

    def save_is_due(self, seconds: float) -> bool:
        return time.monotonic() - self._saved_at >= seconds


@dataclass(frozen=True)
class Read:
    """A sample decoded: `views` for the network, train ids `target` uint8 [H, W] at the size to score at."""

    name: str
    image: Image.Image
    views: list[NDArray[np.uint8]]
    target: NDArray[np.uint8]
    pixels: NDArray[np.uint8] | None = None
    """For a CRF: the image uint8 [H, W, 3] at the size to score at."""
    instances: InstanceIds | None = None
    """Cityscapes' instance ids, where the data set has them and they are asked for."""

    @property
    def scale(self) -> float:
        """Pixels of the image for one that is scored."""
        return self.image.width * self.image.height / self.target.size


def score_images(
    job: Job,
    about: EvaluateConfig,
    pairs: Pairs,
    network: Network,
    kept: Kept,
    gallery: WorstGallery,
    refinement: Refinement | None = None,
) -> None:
    """Predict and count what is not kept yet. Raises StopRequested between two images."""
    known = set(kept.confusions.names)
    left = [sample for sample in pairs.samples if sample.name not in known]
    begun, classes = time.monotonic(), len(network.classes)
    network = compiled_for(job, network, len(left))

    def judge(read: Read) -> tuple[Tensor, list[Tensor]]:
        """The class map uint8 [H, W] and what it confuses; with a CRF also what the one before it did."""
        logits = network.logits(read.views)
        height, width = read.target.shape
        maps = [class_map(logits, (height, width), about.label_resize)]
        target = to_device(read.target, logits.device)
        if refinement is not None and read.pixels is not None:
            maps.insert(0, refinement.class_map(logits, read.pixels, about.label_resize))
        return logits, [maps[0], *(confusion_per_image(one[None], target[None], classes)[0] for one in maps)]

    try:
        with closing(read_ahead(job, left, about, pairs, network, refinement is not None)) as reading:
            judged = computed_ahead(reading, judge, lambda read: read.name)
            for done, (read, (predicted, confusion, *before)) in enumerate(judged, start=1):
                if kept.before is not None:
                    kept.before.add(read.name, before[0])
                kept.beside.add(predicted, read.target, read.instances, read.scale)
                scores = kept.confusions.add(read.name, confusion)
                if gallery.takes(read.name, scores.dice):
                    height, width = read.target.shape
                    image = resize_image(read.image, (height, width))
                    gallery.keep(read.name, image, read.target, predicted)
                job.record(
                    ImageScores(
                        image=read.name,
                        split=about.split,
                        at=about.at,
                        dice=scores.dice,
                        miou=scores.miou,
                        pixel_accuracy=scores.pixel_accuracy,
                        valid_pixels=scores.valid_pixels,
                        class_dice=dict(zip(network.classes, scores.class_dice, strict=True)),
                    )
                )
                job.step_done()
                if job.progress_is_due() or done == len(left):
                    rate = done / (time.monotonic() - begun)
                    job.report(
                        Progress(
                            phase="evaluate",
                            epoch=0,
                            step=len(kept.confusions),
                            steps=len(pairs),
                            images_per_second=round(rate, 3),
                            eta_seconds=round((len(left) - done) / rate, 1),
                        )
                    )
                if kept.save_is_due(job.config.checkpoint.seconds):
                    gallery.wait()
                    kept.save()
                job.check_stop()
    finally:
        gallery.wait()
        kept.save()


def read_ahead(
    job: Job,
    left: list[Sample],
    about: EvaluateConfig,
    pairs: Pairs,
    network: Network,
    with_pixels: bool = False,
) -> Generator[Read, None, None]:
    """The samples in order, decoded by threads, `with_pixels` for a CRF. Raises DataError at the first that
    cannot be used."""
    table = train_id_table(pairs.class_set)

    def read(sample: Sample) -> Read:
        pair, faults = read_pair(sample, pairs.class_set, pairs.root)
        if pair is None:
            told = f"{pairs.root / faults[0].path}: {faults[0].problem}"
            raise DataError(f"{told}; fix it and resume, or evaluate with data.skip_bad=true")
        image, labels = pair
        instances = read_instance_ids(sample, labels.shape) if about.critical else None
        if about.at == "input":
            labels = resize_labels(labels, network.size)
            instances = resize_labels(instances, network.size) if instances is not None else None
        target = table[labels]
        height, width = target.shape
        pixels = resize_image(image, (height, width)) if with_pixels else None
        return Read(sample.name, image, network.views(image), target, pixels, instances)

    return map_in_order(read, left, readers(), job.check_stop_while_waiting)
