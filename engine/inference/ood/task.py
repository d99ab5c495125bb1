"""The ood task: fit the scores, calibrate their thresholds, score every image, evaluate.

Images come from their files and go through the network one by one; scores of pixels are counted, not kept. So
memory does not depend on the number of images. A stopped run keeps the fit, which takes a pass over the
training images, and scores the images again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.classes import VOID
from engine.config.task_sections import OodConfig
from engine.data.cases import Material, Read, open_material, read_labelled
from engine.data.catalog import DataError, Sample
from engine.data.decode import train_id_table
from engine.data.pairs import Pairs, refuse_other_classes
from engine.inference.network import Network, are_finite, load_network, refuse_infinite, trained_run
from engine.inference.ood.features import PooledFeatures
from engine.inference.ood.fits import SHARES, Fit, fit_identity, fit_path, load_fit, save_fit
from engine.inference.ood.pictures import Pictures
from engine.inference.ood.results import Accumulator, write_decisions
from engine.inference.ood.score_set import ScoreSet
from engine.inference.progress import Steps, read_ahead
from engine.learning.class_maps import class_map
from engine.learning.hardware import choose_hardware, settle_arithmetic
from engine.metrics.confusion import confusion_per_image
from engine.metrics.detection import ScoreCounter, accepting_threshold
from engine.metrics.scores import MetricsError, scores_from_confusion
from engine.run.events import Finished
from engine.run.scoring_events import Detecting
from engine.training.begin import describe_model
from engine.worker.job import Job, record_start


def ood(job: Job) -> None:
    """Evaluate out-of-distribution detection with a trained network.

    Raises StopRequested, CheckpointError, DataError.
    """
    config, about = job.config, job.config.ood
    assert about is not None
    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    record_start(job, hardware, resumed_from_epoch=0)
    begun = time.monotonic()
    material = open_material(config.data, about, job.cache_dir, trained=trained_run(job, about))
    for note in material.notes:
        job.warn(note)
    network = load_network(config, job.run.path, hardware, ())
    refuse_other_classes(
        Pairs(material.root, material.class_set, material.training, ()), network.classes, about.source
    )
    job.record(begin(about, material, network))
    describe_model(job, network.model, len(network.classes))
    with PooledFeatures(network.model) as features:
        detector = Detector(network, features, ScoreSet(len(network.classes)))
        fit = find_fit(job, about, material, detector)
        accumulator = Accumulator(about, detector.scores, fit)
        pictures = Pictures(job, material.class_set, fit, about.pictures)
        score_cases(job, about, material, detector, accumulator, pictures)
        accumulator.settle()
        if accumulator.needs_second_pass:
            second_pass(job, material, detector, accumulator)
    write_decisions(job.run.outputs, accumulator)
    for result in accumulator.results():
        job.record(result)
    pictures.record(network.epoch)
    job.record(Finished(epoch=0, seconds=round(time.monotonic() - begun, 3)))


@dataclass(frozen=True)
class Detector:
    """The network and its scores."""

    network: Network
    features: PooledFeatures
    scores: ScoreSet

    def outputs(self, read: Read, name: str) -> tuple[Tensor, Tensor]:
        """Logits [1, C, h, w] at the input size and pooled features [D]. Raises PredictionError."""
        self.features.begin()
        logits = self.network.logits(self.network.views(read.image))
        refuse_infinite(bool(are_finite(logits)), name)
        return logits, self.features.last


def begin(about: OodConfig, material: Material, network: Network) -> Detecting:
    return Detecting(
        source=about.source,
        checkpoint=about.checkpoint,
        sha256=network.sha256,
        epoch=network.epoch,
        in_root=about.in_root,
        out_root=about.out_root,
        pseudo=about.pseudo,
        accept=about.accept,
        training=len(material.training),
        calibrating=len(material.calibrating),
        cases=len(material.cases),
        masked=sum(case.masked for case in material.cases),
        classes=list(network.classes),
        colors=[c.hex_color for c in material.class_set.classes],
        **about.window_fields,
    )


# --- Fit and calibrate -------------------------------------------------------------------------


def find_fit(job: Job, about: OodConfig, material: Material, detector: Detector) -> Fit:
    """The fit of this checkpoint: that of an earlier run, or a new one, kept for the next."""
    network = detector.network
    identity = fit_identity(
        network.sha256,
        network.seen,
        network.hardware.precision,
        about.accept,
        material.training,
        material.calibrating,
        material.class_set,
        material.root,
    )
    checkpoint = Path(job.run.path, about.checkpoint).resolve()
    path = fit_path(checkpoint, network.sha256, job.run.outputs)
    known = load_fit(path, identity)
    if known is not None:
        job.say(f"fit and thresholds loaded from {path}")
        detector.scores.restore(known.scores)
        return known
    fit = new_fit(job, about, material, detector)
    try:
        save_fit(path, identity, fit)
    except OSError as error:
        job.warn(f"{path}: cannot save the fit for the next evaluation: {error.strerror}")
    return fit


def new_fit(job: Job, about: OodConfig, material: Material, detector: Detector) -> Fit:
    """Fit on the training images, then calibrate on those held out, at the size of their labels."""
    table = train_id_table(material.class_set)
    steps = len(material.training) + len(material.calibrating)

    def read(sample: Sample) -> Read:
        image, labels = read_labelled(sample, material.class_set, material.root)
        return Read(image, None, table[labels])

    progress = Steps(job, "fit", steps)
    for sample, pair in read_ahead(job, material.training, read):
        detector.scores.fit(*detector.outputs(pair, sample.name))
        progress.done()

    counters = {name: ScoreCounter() for name in detector.scores.pixel}
    of_images: dict[str, list[float]] = {name: [] for name in detector.scores.names}
    for sample, pair in read_ahead(job, material.calibrating, read):
        logits, features = detector.outputs(pair, sample.name)
        assert pair.target is not None
        maps = detector.scores.maps(logits, pair.target.shape)
        known = pair.target != VOID
        with named(sample.name):
            for name, counter in counters.items():
                counter.add(maps[name][known], False)
        for name, value in detector.scores.of_image(maps, features).items():
            of_images[name].append(value)
        progress.done()
    if not len(next(iter(counters.values()))):
        raise DataError(f"{material.root}: every label of the held-out images is void")
    quantiles = {name: counter.quantiles(SHARES) for name, counter in counters.items()}
    return Fit(
        scores=detector.scores.state(),
        pixel={name: counter.accepting_threshold(about.accept) for name, counter in counters.items()},
        image={name: accepting_threshold(np.array(some), about.accept) for name, some in of_images.items()},
        quantiles=quantiles,
    )


# --- Score -------------------------------------------------------------------------------------


def score_cases(
    job: Job,
    about: OodConfig,
    material: Material,
    detector: Detector,
    accumulator: Accumulator,
    pictures: Pictures,
) -> None:
    """Score every case and count. Raises StopRequested between two images."""
    pictured = {name for origin in ("in", "out") for name in pictures.choose(material.cases, origin)}
    progress = Steps(job, "ood", len(material.cases))
    for case, read in read_ahead(job, material.cases, lambda case: case.read()):
        logits, features = detector.outputs(read, case.name)
        maps = detector.scores.maps(logits, read.image.size[::-1])
        with named(case.name):
            accumulator.count_pixels(maps, read.mask)
            image = accumulator.count_image(
                case, read.mask, detector.scores.of_image(maps, features), dice_of(logits, read.target)
            )
        job.record(image)
        if (case.origin, case.name) in pictured:
            pictures.keep(case, read, logits, detector.scores)
        progress.done()


def second_pass(job: Job, material: Material, detector: Detector, accumulator: Accumulator) -> None:
    """Count components at the thresholds of the best pixel F1, which are known only after the first pass."""
    masked = [case for case in material.cases if case.masked]
    progress = Steps(job, "ood", len(masked))
    for case, read in read_ahead(job, masked, lambda case: case.read()):
        logits, _ = detector.outputs(read, case.name)
        assert read.mask is not None
        accumulator.count_best_components(detector.scores.maps(logits, read.mask.shape), read.mask)
        progress.done()


def dice_of(logits: Tensor, target: NDArray[np.uint8] | None) -> float | None:
    """The mean Dice of one image at the size of its labels; None without labels."""
    if target is None:
        return None
    height, width = target.shape
    predicted = class_map(logits, (height, width), "bilinear-logits")
    truth = torch.from_numpy(target).to(predicted.device)
    counts = confusion_per_image(predicted[None], truth[None], logits.shape[1])[0]
    return scores_from_confusion(counts.cpu().numpy()).dice


class named:
    """Within it, a MetricsError names the image whose scores it is about."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, value: BaseException | None, trace: object) -> None:
        if isinstance(value, MetricsError):
            raise MetricsError(f"{self.name}: {value}") from value
