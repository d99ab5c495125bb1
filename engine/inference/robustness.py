"""The robustness task: score a split as it is and corrupted in every way and strength, at the labels' own
size.

Each image is decoded once and corrupted at its own size, then goes through the network as any other does.
What is counted is written to outputs/robustness.npz every `checkpoint.seconds` and at every end; a run that
was stopped goes on with the images that are not in it, unless the checkpoint's file or one of those images
has changed since, or is gone."""

from __future__ import annotations

import time
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.config.task_sections import RobustnessConfig
from engine.data.cases import read_labelled
from engine.data.catalog import Sample
from engine.data.corruptions import CLEAN, CORRUPTIONS, STRENGTHS, corrupt
from engine.data.decode import resize_image, train_id_table
from engine.data.pairs import Pairs
from engine.inference.ahead import computed_ahead
from engine.inference.compiled import compiled_for
from engine.inference.crf.refinement import Refinement, crf_scores
from engine.inference.network import Network
from engine.inference.progress import Steps, read_ahead
from engine.inference.scoring import CONTENTS, Scoring, contents_array, told_outdated
from engine.learning.class_maps import class_map
from engine.learning.transfers import to_device
from engine.metrics.confusion import confusion_per_image
from engine.metrics.scores import Scores, scores_from_confusion
from engine.run.events import Finished
from engine.run.files import replacing
from engine.run.scoring_events import CorruptionResult
from engine.training.begin import describe_model
from engine.worker.job import Job

Asked = tuple[Sample, tuple[str, int]]
"""An image, and a corruption with its strength."""

ToScore = tuple[list[NDArray[np.uint8]], NDArray[np.uint8], NDArray[np.uint8] | None]
"""What the network is to see of it, its train ids at the size of its labels and, for a CRF, its pixels
there."""

VARIANTS = ((CLEAN, 0), *((corruption, strength) for corruption in CORRUPTIONS for strength in STRENGTHS))

COUNTS = "robustness.npz"


def robustness(job: Job) -> None:
    """Score corrupted images. Raises StopRequested with what was counted kept, CheckpointError, DataError."""
    about = job.config.robustness
    assert about is not None
    begun = time.monotonic()
    scoring = Scoring.of(job, about)
    pairs, network = scoring.pairs, scoring.network
    refinement = Refinement.of(job, network, "original")
    counts = Counts.of(job, pairs, network, refinement)
    job.record(scoring.begun("original", len(counts.names)))
    describe_model(job, network.model, len(network.classes))
    count_images(job, about, pairs, network, counts, refinement)
    scoring.refuse_void(counts.confusions)
    for result in counts.results(about):
        job.record(result)
    if refinement is not None:
        for place, (corruption, strength) in enumerate(VARIANTS):
            before, after = (
                crf_scores(counts.scores(of), network.classes) for of in (place + len(VARIANTS), place)
            )
            images = len(counts.names)
            job.record(refinement.result(about.split, images, before, after, corruption, strength))
    job.record(Finished(epoch=0, seconds=round(time.monotonic() - begun, 3)))


@dataclass
class Counts:
    """For each of VARIANTS the pooled confusion matrix, and the sum and number of the images' own Dice. With
    a CRF first for all predictions after it, then for all before it. `checkpoint` says what they are of."""

    path: Path
    pairs: Pairs
    checkpoint: str
    confusions: NDArray[np.int64]
    dice: NDArray[np.float64]
    names: list[str] = field(default_factory=list)
    _saved_at: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, job: Job, pairs: Pairs, network: Network, refinement: Refinement | None = None) -> Counts:
        """What an earlier attempt left of the same checkpoint and CRF; else nothing."""
        path, classes = job.run.outputs / COUNTS, len(network.classes)
        made_by = network.sha256 if refinement is None else f"{network.sha256}; {refinement.words}"
        rows = len(VARIANTS) * (1 if refinement is None else 2)
        matrices = np.zeros((rows, classes, classes + 1), np.int64)
        empty = cls(path, pairs, made_by, matrices, np.zeros((rows, 2)))
        if not path.exists():
            return empty
        try:
            with np.load(path, allow_pickle=False) as file:
                names = [str(name) for name in file["names"]]
                contents = file.get(CONTENTS)
                counted_of, confusions, dice = str(file["checkpoint"]), file["confusions"], file["dice"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            job.warn(f"{path}: is damaged: {error}; all images are scored again")
            return empty
        earlier = cls(path, pairs, counted_of, confusions, dice, names)
        if (earlier.checkpoint, earlier.confusions.shape) != (empty.checkpoint, empty.confusions.shape):
            what = "checkpoint has" if refinement is None else "checkpoint or the CRF has"
            job.warn(f"the {what} changed; all images are scored again")
            return empty
        if outdated := told_outdated(earlier.names, contents, pairs):
            job.warn(f"{outdated}; all images are scored again")
            return empty
        return earlier

    def add(self, name: str, confusions: list[NDArray[np.int64]]) -> None:
        """Count one image, of which there is a matrix for each row."""
        for place, confusion in enumerate(confusions):
            self.confusions[place] += confusion
            dice = scores_from_confusion(confusion).dice
            self.dice[place] += (dice or 0.0, dice is not None)
        self.names.append(name)

    def save(self) -> None:
        with replacing(self.path) as stream:
            np.savez_compressed(
                stream,
                checkpoint=np.array(self.checkpoint),
                names=np.array(self.names, dtype=np.str_),
                contents=contents_array(self.names, self.pairs),
                confusions=self.confusions,
                dice=self.dice,
            )
        self._saved_at = time.monotonic()

    def save_is_due(self, seconds: float) -> bool:
        return time.monotonic() - self._saved_at >= seconds

    def scores(self, place: int) -> Scores:
        """Those of one row."""
        total, images = self.dice[place]
        mean = float(total / images) if images else None
        return scores_from_confusion(self.confusions[place], dice_image=mean)

    def results(self, about: RobustnessConfig) -> list[CorruptionResult]:
        made = []
        for place, (corruption, strength) in enumerate(VARIANTS):
            scores = self.scores(place)
            made.append(
                CorruptionResult(
                    corruption=corruption,
                    strength=strength,
                    split=about.split,
                    images=len(self.names),
                    dice=scores.dice,
                    dice_image=scores.dice_image,
                    miou=scores.miou,
                    pixel_accuracy=scores.pixel_accuracy,
                    **about.window_fields,
                )
            )
        return made


def count_images(
    job: Job,
    about: RobustnessConfig,
    pairs: Pairs,
    network: Network,
    counts: Counts,
    refinement: Refinement | None = None,
) -> None:
    """Predict and count what is not counted yet. Raises StopRequested between two images."""
    known, table = set(counts.names), train_id_table(pairs.class_set)
    left = [sample for sample in pairs.samples if sample.name not in known]
    progress = Steps(job, "robustness", len(pairs), len(known))

    @lru_cache(maxsize=3)
    def decoded(sample: Sample) -> tuple[Image.Image, NDArray[np.uint8]]:
        image, labels = read_labelled(sample, pairs.class_set, pairs.root)
        return image, table[labels]

    def read(asked: Asked) -> ToScore:
        sample, variant = asked
        image, target = decoded(sample)
        corrupted = corrupt(image, *variant, sample.name)
        height, width = target.shape
        pixels = resize_image(corrupted, (height, width)) if refinement is not None else None
        return network.views(corrupted), target, pixels

    def judge(each: tuple[Asked, ToScore]) -> tuple[Tensor, list[Tensor]]:
        views, labels, pixels = each[1]
        logits = network.logits(views)
        height, width = labels.shape
        maps = [class_map(logits, (height, width), about.label_resize)]
        if refinement is not None and pixels is not None:
            maps.insert(0, refinement.class_map(logits, pixels, about.label_resize))
        target = to_device(labels, logits.device)
        return logits, [confusion_per_image(one[None], target[None], len(network.classes))[0] for one in maps]

    asked = [(sample, variant) for sample in left for variant in VARIANTS]
    network = compiled_for(job, network, len(asked))
    found: list[list[NDArray[np.int64]]] = []
    try:
        judged = computed_ahead(read_ahead(job, asked, read), judge, lambda each: each[0][0].name)
        for ((sample, _), _), confusions in judged:
            found.append(confusions)
            if len(found) == len(VARIANTS):
                after_then_before = zip(*found, strict=True)
                counts.add(sample.name, [confusion for stage in after_then_before for confusion in stage])
                found = []
                if counts.save_is_due(job.config.checkpoint.seconds):
                    counts.save()
                progress.done()
    finally:
        counts.save()
