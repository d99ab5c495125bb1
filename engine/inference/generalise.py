"""The generalise task: one network in environments that it has not seen, at the labels' own size.

The images that the run held out come first, as all else is held against them: corrupted ones image by image,
other data sets as a whole. The confusion matrix of every image is kept, of each environment in a file of its
own below outputs/generalise, written every `checkpoint.seconds` and at every end: a run that was stopped goes
on with the images that are in none, unless the checkpoint's file or an image has changed since, or is gone.

The matrices that are kept have all classes of the network; merging classes is a sum of their rows and
columns (`engine.metrics.merging`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.classes import ClassSet
from engine.config.task_sections import GeneraliseConfig
from engine.data.cases import read_labelled
from engine.data.catalog import DataError, Sample
from engine.data.corruptions import corrupt
from engine.data.decode import train_id_table
from engine.data.environments import Environment, notes_of, open_environments
from engine.data.pairs import Pairs, refuse_other_classes
from engine.inference.ahead import computed_ahead
from engine.inference.compiled import compiled_for
from engine.inference.network import Network, load_network, trained_run
from engine.inference.progress import Steps, read_ahead
from engine.inference.scoring import CONTENTS, contents_array, told_outdated
from engine.learning.class_maps import class_map
from engine.learning.hardware import choose_hardware, settle_arithmetic
from engine.learning.transfers import to_device
from engine.metrics.bootstrap import Difference, paired_differences, unpaired_differences
from engine.metrics.confusion import confusion_per_image
from engine.metrics.image_confusions import ImageConfusions, load_beside, load_image_confusions
from engine.metrics.merging import Merging
from engine.metrics.scores import MetricsError
from engine.run.events import Finished
from engine.run.scoring_events import EnvironmentResult, Generalising
from engine.training.begin import describe_model
from engine.training.meter import score_fields
from engine.worker.job import Job, record_start

FOLDER = "generalise"

ToScore = tuple[list[NDArray[np.uint8]], NDArray[np.uint8]]
"""What the network is to see of an image, and its train ids at the size of its labels."""


def generalise(job: Job) -> None:
    """Score every environment. Raises StopRequested with what was counted kept, CheckpointError, DataError
    and PredictionError."""
    about = job.config.generalise
    assert about is not None
    begun = time.monotonic()
    hardware = choose_hardware(job.config)
    settle_arithmetic(job.config, hardware)
    record_start(job, hardware, resumed_from_epoch=0)
    environments = open_environments(job.config, job.cache_dir, trained=trained_run(job, about))
    network = load_network(job.config, job.run.path, hardware, ())
    for each in environments:
        refuse_other_classes(each.pairs, network.classes, about.source)
    for note in notes_of(environments):
        job.warn(note)
    folder = job.run.outputs / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{place:02}.npz" for place in range(len(environments))]
    counts = [_kept(job, each.pairs, network, path) for each, path in zip(environments, paths, strict=True)]
    merging = merging_of(about, network.classes, environments[0].pairs.class_set)
    steps = sum(len(each.pairs) for each in environments)
    done = sum(map(len, counts))
    job.record(_begun(about, network, merging, environments, done))
    describe_model(job, network.model, len(network.classes))
    progress = Steps(job, "generalise", steps, done)
    network = compiled_for(job, network, steps - done)
    for place, (environment, counted, path) in enumerate(zip(environments, counts, paths, strict=True)):
        count_images(job, about, environment, network, counted, path, progress)
        job.record(result_of(about, place, environment, merging, counted, counts[0]))
    job.record(Finished(epoch=0, seconds=round(time.monotonic() - begun, 3)))


def merging_of(about: GeneraliseConfig, classes: Sequence[str], class_set: ClassSet) -> Merging:
    """What is scored of a network's classes. Raises DataError for a group of classes that it has not."""
    groups = {group.name: group.members for group in about.groups}
    named = (*(member for members in groups.values() for member in members), *about.left_out)
    if strange := [name for name in named if name not in classes]:
        raise DataError(f"generalise.groups: the network has no class called {', '.join(strange)}")
    return Merging.of(classes, [c.hex_color for c in class_set.classes], groups, about.left_out)


def told_merging(about: GeneraliseConfig) -> str:
    """What is merged and left out, in words; "" where all classes are scored as they are."""
    groups = [
        f"{group.name}: {' + '.join(group.members)}" for group in about.groups if len(group.members) > 1
    ]
    groups += [f"left out: {', '.join(about.left_out)}"] if about.left_out else []
    return "; ".join(groups)


def count_images(
    job: Job,
    about: GeneraliseConfig,
    environment: Environment,
    network: Network,
    counted: ImageConfusions,
    path: Path,
    progress: Steps,
) -> None:
    """Predict and count what is not counted yet. Raises StopRequested between two images, and DataError where
    no pixel of the environment has a class."""
    pairs, known = environment.pairs, set(counted.names)
    table, classes = train_id_table(pairs.class_set), len(network.classes)
    left = [sample for sample in pairs.samples if sample.name not in known]

    def read(sample: Sample) -> ToScore:
        image, labels = read_labelled(sample, pairs.class_set, pairs.root)
        seen = corrupt(image, environment.corruption, environment.strength, sample.name)
        return network.views(seen), table[labels]

    def judge(each: tuple[Sample, ToScore]) -> tuple[Tensor, list[Tensor]]:
        views, labels = each[1]
        logits = network.logits(views)
        height, width = labels.shape
        predicted = class_map(logits, (height, width), about.label_resize)
        target = to_device(labels, logits.device)
        return logits, [confusion_per_image(predicted[None], target[None], classes)[0]]

    def save() -> None:
        counted.save(path, {CONTENTS: contents_array(counted.names, pairs)})

    saved = time.monotonic()
    try:
        judged = computed_ahead(read_ahead(job, left, read), judge, lambda each: each[0].name)
        for (sample, _), (confusion,) in judged:
            counted.add(sample.name, confusion)
            if time.monotonic() - saved >= job.config.checkpoint.seconds:
                save()
                saved = time.monotonic()
            progress.done()
    finally:
        if left:
            save()
    if not counted.pooled().sum():
        where = f"{pairs.root}: the labels of {environment.split}"
        raise DataError(f"{where} are all void, so nothing can be scored")


def result_of(
    about: GeneraliseConfig,
    place: int,
    environment: Environment,
    merging: Merging,
    counted: ImageConfusions,
    own: ImageConfusions,
) -> EnvironmentResult:
    """The scores of one environment, and what they differ by from those of the run's own images."""
    merged = merging.confusions(counted)
    pooled, scores = merged.pooled(), merged.scores()
    if not pooled.sum():
        raise DataError(f"{environment.name}: all classes that its labels have are left out")
    differences: dict[str, Difference] = {}
    if environment.kind != "own":
        differ = paired_differences if environment.kind == "corruption" else unpaired_differences
        differences = {each.measure: each for each in differ(merged, merging.confusions(own))}
    intervals: dict[str, Any] = {
        f"{measure}_{field}": getattr(differences.get(measure), field, None)
        for measure in ("dice", "miou")
        for field in ("difference", "low", "high")
    }
    return EnvironmentResult(
        environment=environment.name,
        place=place,
        kind=environment.kind,
        root=str(environment.pairs.root),
        layout=environment.layout,
        corruption=environment.corruption,
        strength=environment.strength,
        split=environment.split,
        images=len(counted),
        never_labelled=list(merging.never_labelled(pooled)),
        merged=told_merging(about),
        **intervals,
        **about.window_fields,
        **score_fields(scores, list(merging.classes)),
    )


def _begun(
    about: GeneraliseConfig,
    network: Network,
    merging: Merging,
    environments: Sequence[Environment],
    done: int,
) -> Generalising:
    return Generalising(
        source=about.source,
        checkpoint=about.checkpoint,
        sha256=network.sha256,
        epoch=network.epoch,
        environments=[each.name for each in environments],
        images=sum(len(each.pairs) for each in environments),
        done=done,
        label_resize=about.label_resize,
        tta=about.tta,
        classes=list(merging.classes),
        colors=list(merging.colors),
        **about.window_fields,
    )


def _kept(job: Job, pairs: Pairs, network: Network, path: Path) -> ImageConfusions:
    """What an earlier attempt counted of the same checkpoint; else nothing, with a warning."""
    fresh = ImageConfusions(network.classes, network.sha256)
    if not path.exists():
        return fresh
    try:
        earlier = load_image_confusions(path)
    except MetricsError as error:
        job.warn(f"{error}; its images are scored again")
        return fresh
    if (earlier.classes, earlier.checkpoint) != (fresh.classes, fresh.checkpoint):
        job.warn(f"the checkpoint has changed; the images of {path.name} are scored again")
        return fresh
    contents = load_beside(path, CONTENTS).get(CONTENTS)
    if outdated := told_outdated(earlier.names, contents, pairs):
        job.warn(f"{outdated}; the images of {path.name} are scored again")
        return fresh
    return earlier
