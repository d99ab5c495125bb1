"""The task crf-search: find the parameters of a CRF that suit a network, on training images.

The network sees each image once; its logits stay in memory. Each trial refines all of them with one set of
parameters and pools their confusion matrices. The first trial is without a CRF and the second has the
defaults; half of those that follow are drawn at random, the others change one parameter of the best so far.
The measure is the mean IoU.

A trial is drawn from the seed, its number and what the earlier ones found, all of which the journal has: a
run that was stopped goes on as if it had not been. What is found lies with the checkpoint, see `found`."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from annotated_types import Le
from numpy.typing import NDArray
from torch import Tensor

from engine.config.crf import CrfParameters
from engine.config.task_sections import CrfSearchConfig
from engine.data.catalog import DataError, Sample
from engine.data.decode import read_pair, resize_image, resize_labels, train_id_table
from engine.data.pairs import Pairs, refuse_other_classes
from engine.data.search_images import SearchImages, open_search_images
from engine.inference.crf.found import Found, found_path, save_found
from engine.inference.crf.lattice import CrfError
from engine.inference.crf.mean_field import DenseCrf
from engine.inference.crf.refinement import Refinement, use_of, words
from engine.inference.network import Network, are_finite, load_network, refuse_infinite, trained_run
from engine.inference.progress import read_ahead
from engine.learning.class_maps import class_map
from engine.learning.hardware import choose_hardware, settle_arithmetic
from engine.learning.transfers import to_device
from engine.metrics.confusion import confusion_per_image
from engine.metrics.scores import Scores, scores_from_confusion
from engine.run.crf_events import CrfFound, CrfSearching, CrfTrial
from engine.run.environment import text_digest
from engine.run.events import Finished, Progress
from engine.run.journal import read_all
from engine.training.begin import describe_model
from engine.worker.job import Job, record_start

PHASE = "crf-search"
LARGEST = {
    name: float(bound.le)  # type: ignore[arg-type]
    for name, about in CrfParameters.model_fields.items()
    for bound in about.metadata
    if isinstance(bound, Le)
}
"""What a config allows of each parameter."""
LEAST_TRIALS = 2
"""Without a CRF and with the defaults: they are made whatever the time limit."""


def crf_search(job: Job) -> None:
    """Try parameters and keep the best. Raises StopRequested, CheckpointError, DataError, PredictionError."""
    about = job.config.crf_search
    assert about is not None
    begun = time.monotonic()
    hardware = choose_hardware(job.config)
    settle_arithmetic(job.config, hardware)
    record_start(job, hardware, resumed_from_epoch=0)
    trained = trained_run(job, about)
    chosen = open_search_images(job.config.data, about.images, about.seed, job.cache_dir, trained)
    network = load_network(job.config, job.run.path, hardware, ())
    refuse_other_classes(chosen.pairs, network.classes, about.source)
    for note in (*chosen.pairs.notes, *([chosen.note] if chosen.note else [])):
        job.warn(note)
    trials = earlier_trials(job, network, chosen)
    begins = beginning(about, chosen, network, len(trials))
    job.record(begins)
    describe_model(job, network.model, len(network.classes))
    if len(trials) < about.trials:
        images = read_images(job, about, chosen.pairs, network)
        cases = [predicted(job, network, *each) for each in images]
        try_parameters(job, about, network, cases, trials, begun)
    keep_best(job, about, network, begins, trials)
    job.record(Finished(epoch=0, seconds=round(time.monotonic() - begun, 3)))


def beginning(about: CrfSearchConfig, chosen: SearchImages, network: Network, done: int) -> CrfSearching:
    return CrfSearching(
        source=about.source,
        checkpoint=about.checkpoint,
        sha256=network.sha256,
        epoch=network.epoch,
        at=about.at,
        images=[sample.name for sample in chosen.pairs.samples],
        contents=text_digest(chosen.pairs.contents),
        learned=chosen.learned,
        trials=about.trials,
        done=done,
        root=str(chosen.pairs.root),
        classes=list(network.classes),
        colors=[c.hex_color for c in chosen.pairs.class_set.classes],
        **about.window_fields,
    )


def earlier_trials(job: Job, network: Network, chosen: SearchImages) -> list[CrfTrial]:
    """The trials of earlier attempts; with a warning none, when checkpoint or images have changed since."""
    images, contents = [sample.name for sample in chosen.pairs.samples], text_digest(chosen.pairs.contents)
    began: CrfSearching | None = None
    trials: list[CrfTrial] = []
    for event in read_all(job.run.journal):
        if isinstance(event, CrfSearching):
            began, trials = event, trials[: event.done]
        elif isinstance(event, CrfTrial) and event.trial == len(trials):
            trials.append(event)
    if began is None:
        return []
    was = began.contents or contents  # of an earlier version, which did not keep it
    if (began.sha256, began.images, was) != (network.sha256, images, contents):
        job.warn("the checkpoint or the images have changed; all trials are made again")
        return []
    return trials


# --- The images ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """An image as the trials need it: logits [1, C, h, w] on the host, and pixels uint8 [H, W, 3] and train
    ids uint8 [H, W] at the size that is scored."""

    logits: Tensor
    pixels: NDArray[np.uint8]
    target: NDArray[np.uint8]


Decoded = tuple[list[NDArray[np.uint8]], NDArray[np.uint8], NDArray[np.uint8]]
"""The views of an image, its pixels and its train ids."""


def read_images(
    job: Job, about: CrfSearchConfig, pairs: Pairs, network: Network
) -> Sequence[tuple[Sample, Decoded]]:
    table = train_id_table(pairs.class_set)

    def read(sample: Sample) -> Decoded:
        pair, faults = read_pair(sample, pairs.class_set, pairs.root)
        if pair is None:
            raise DataError(f"{pairs.root / faults[0].path}: {faults[0].problem}")
        image, labels = pair
        if about.at == "input":
            labels = resize_labels(labels, network.size)
        height, width = labels.shape
        return network.views(image), resize_image(image, (height, width)), table[labels]

    return list(read_ahead(job, pairs.samples, read))


def predicted(job: Job, network: Network, sample: Sample, read: Decoded) -> Case:
    views, pixels, target = read
    logits = network.logits(views)
    refuse_infinite(bool(are_finite(logits)), sample.name)
    job.check_stop()
    return Case(logits.cpu(), pixels, target)


# --- The trials ----------------------------------------------------------------------------------


def try_parameters(
    job: Job,
    about: CrfSearchConfig,
    network: Network,
    cases: Sequence[Case],
    trials: list[CrfTrial],
    begun: float,
) -> None:
    """Make the trials that are left, as long as there is time. Raises StopRequested between two images."""
    spent = sum(trial.seconds for trial in trials) * len(cases)
    while len(trials) < about.trials:
        is_late = about.minutes and spent + time.monotonic() - begun > 60 * about.minutes
        if is_late and len(trials) >= LEAST_TRIALS:
            job.say(f"{about.minutes:g} minutes are over after {len(trials)} trials")
            return
        kind, parameters = proposed(about.seed, trials, [case.target.shape[0] for case in cases])
        trial = scored(job, about, network, cases, kind, parameters, len(trials))
        trials.append(trial)
        job.record(trial)
        told = "without a CRF" if parameters is None else words(parameters)
        job.say(f"trial {trial.trial}: mean IoU {trial.miou or 0:.5f}, {told}")
        job.step_done()
        job.report(Progress(phase=PHASE, epoch=0, step=len(trials), steps=about.trials))
        job.check_stop()


def scored(
    job: Job,
    about: CrfSearchConfig,
    network: Network,
    cases: Sequence[Case],
    kind: str,
    parameters: CrfParameters | None,
    number: int,
) -> CrfTrial:
    """Refine all images with one set of parameters, and score them; one that suits no lattice has no scores,
    and the search goes on."""
    refinement = None if parameters is None else Refinement(DenseCrf(parameters), about.at)
    try:
        scores = _scores(job, about, network, cases, refinement)
    except CrfError as error:
        job.say(f"trial {number}: {error}")
        scores = None
    return CrfTrial.model_validate(
        {
            "trial": number,
            "kind": kind,
            "use": None if parameters is None else use_of(parameters),
            "miou": scores and scores.miou,
            "dice": scores and scores.dice,
            "pixel_accuracy": scores and scores.pixel_accuracy,
            "class_iou": dict(zip(network.classes, scores.class_iou, strict=True)) if scores else {},
            "seconds": (refinement.median_seconds() or 0.0) if refinement is not None else 0.0,
        }
    )


def _scores(
    job: Job,
    about: CrfSearchConfig,
    network: Network,
    cases: Sequence[Case],
    refinement: Refinement | None,
) -> Scores:
    """The pooled scores of all images, refined or, without a refinement, as they are. Raises CrfError."""
    classes, device = len(network.classes), network.hardware.device
    pooled = np.zeros((classes, classes + 1), dtype=np.int64)
    for case in cases:
        logits = case.logits.to(device)
        height, width = case.target.shape
        if refinement is None:
            labels = class_map(logits, (height, width), about.label_resize)
        else:
            labels = refinement.class_map(logits, case.pixels, about.label_resize)
        target = to_device(case.target, device)
        pooled += confusion_per_image(labels[None], target[None], classes)[0].cpu().numpy()
        job.check_stop()
    if not pooled.sum():
        raise DataError("the labels of all images of the search are void, so nothing can be scored")
    return scores_from_confusion(pooled)


def proposed(
    seed: int, trials: Sequence[CrfTrial], heights: Sequence[int]
) -> tuple[str, CrfParameters | None]:
    """The next trial: its kind, and its parameters, None for no CRF. `heights` are those of the images."""
    number = len(trials)
    if number == 0:
        return "none", None
    if number == 1:
        return "default", CrfParameters()
    rng = random.Random(f"{seed}:{number}")
    best = best_trial(trials)
    if number % 2 == 0 or best is None or best.use is None:
        widest = max(20.0, float(np.median(heights)) / 10)
        ranges = {
            "gaussian_weight": (0.3, 4.0),
            "gaussian_sigma": (0.7, 4.0),
            "bilateral_weight": (0.5, 8.0),
            "bilateral_sigma_xy": (3.0, widest),
            "bilateral_sigma_rgb": (3.0, 30.0),
        }
        drawn = {name: _rounded(low * (high / low) ** rng.random()) for name, (low, high) in ranges.items()}
        return "random", CrfParameters.model_validate(drawn)
    around = best.use.model_dump()
    name = rng.choice([name for name in around if name != "iterations"])
    factor = rng.choice([1, -1]) * rng.uniform(0.25, 1.0)
    around[name] = _rounded(min(LARGEST[name], max(0.5, (around[name] or 1.0) * 2**factor)))
    return "nearby", CrfParameters.model_validate(around)


def best_trial(trials: Sequence[CrfTrial]) -> CrfTrial | None:
    """That of the highest mean IoU among those with a CRF, the first of equal ones."""
    with_crf = [trial for trial in trials if trial.use is not None]
    return max(with_crf, key=lambda trial: (trial.miou or 0.0, -trial.trial), default=None)


def _rounded(value: float) -> float:
    """To three digits, which people can type."""
    return float(f"{value:.3g}")


# --- The end -------------------------------------------------------------------------------------


def keep_best(
    job: Job, about: CrfSearchConfig, network: Network, begins: CrfSearching, trials: Sequence[CrfTrial]
) -> None:
    """Put the best parameters beside the checkpoint, where the next evaluation finds them."""
    best = best_trial(trials)
    assert best is not None  # at least two trials were made
    assert best.use is not None
    without = trials[0].miou
    found = Found(
        checkpoint=network.sha256,
        at=about.at,
        parameters=best.use.model_dump(),
        miou=best.miou,
        without=without,
        trial=best.trial,
        run=job.run.id,
        images=begins.images,
    )
    if best.miou is not None and without is not None and best.miou <= without:
        job.warn(f"no parameters raised the mean IoU, which is {without:.5f} without a CRF")
    checkpoint = Path(job.run.path, about.checkpoint).resolve()
    path = found_path(checkpoint, network.sha256, about.at, job.run.outputs)
    try:
        save_found(path, found)
    except OSError as error:
        job.say(f"{path}: cannot be written: {error.strerror}")
        path = job.run.outputs / path.name
        save_found(path, found)
    if path.parent == job.run.outputs:
        keys = " ".join(f"crf.{key}={value:g}" for key, value in found.parameters.items())
        job.warn(f"the parameters cannot be kept with the checkpoint, where --crf finds them; use {keys}")
    job.record(CrfFound(trial=best.trial, miou=best.miou, without=without, path=str(path)))
    told = f"{best.miou or 0:.5f}, {without or 0:.5f} without a CRF"
    job.say(f"best: trial {best.trial}, mean IoU {told}: {words(CrfParameters(**best.use.model_dump()))}")
    job.say(f"kept in {path}")
