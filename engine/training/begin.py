"""What a task that learns does first: settle hardware, open data, make the network or find it again."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from engine.components.origin import ComponentError
from engine.config.step_parts import refuse_too_small_parts
from engine.data.catalog import DataError
from engine.data.class_pixels import count_class_pixels, read_class_pixels, write_class_pixels
from engine.data.dataset import Dataset, open_dataset
from engine.data.membership import Membership, Trained
from engine.learning.checkpoint import CheckpointError
from engine.learning.compile_autotune import CompileDecision
from engine.learning.enough_images import enough_by_network
from engine.learning.flops import flops_per_image, flops_per_sample
from engine.learning.hardware import Hardware, choose_hardware, settle_arithmetic
from engine.learning.step_graph import GraphDecision
from engine.models.pretrained import IMAGENET, NORMALISATIONS
from engine.models.registry import count_parameters
from engine.run.directory import RunDir, RunDirError
from engine.run.environment import Environment
from engine.run.events import Compiled, Data, Model, Progress, Taught
from engine.run.journal import read_all
from engine.schedules import refuse_unsuitable
from engine.tasks import TASKS
from engine.training.distillation import Teacher, load_teacher
from engine.training.objectives import Segmentation, output_channels
from engine.training.sampling import Sampling, sampling_of
from engine.training.saving import find_resumption, restore
from engine.training.state import TrainState, new_state
from engine.training.warm_start import start_from_makers, start_from_source, take_embeddings
from engine.worker.job import Job, StopRequested, keep_environment, record_start


@dataclass(frozen=True)
class Learning:
    """All that the epochs need. `flops` are those of one forward pass of one sample as training sees it."""

    hardware: Hardware
    data: Dataset
    state: TrainState
    flops: int
    sampling: Sampling


def start(job: Job, state: TrainState) -> None:
    """Give a new network the weights that the config names, if it names any."""
    config = job.config
    whole = bool(config.init.weights) and config.init.parts == "all"
    taken: set[str] = set()
    if whole and (source := config.model.weights_source()):
        job.say(f"model.weights, {source}, is not loaded: init.weights is")
    if not whole:
        with job.group.main_rank_first():  # which downloads them
            taken |= start_from_makers(job, state)
    if config.init.weights:
        taken |= start_from_source(job, state)
    tell_of_random_weights(job, state, taken)
    take_embeddings(job, state)


def tell_of_random_weights(job: Job, state: TrainState, taken: set[str]) -> None:
    """Tell where a network that could begin with weights gets none, and warn of a frozen encoder of which
    none are among those that were `taken`."""
    config, model, optimizer = job.config, job.config.model, job.config.optimizer
    has_key = "weights" in type(model).model_fields
    if has_key and not taken:
        job.say(f"{model.name} trains from scratch, as neither model.weights nor init.weights is given")
    is_frozen = optimizer.encoder_lr_factor == 0 or optimizer.freeze_encoder > 0
    if is_frozen and not any(state.model.is_encoder(name) for name in taken):
        key = "encoder_lr_factor=0" if optimizer.encoder_lr_factor == 0 else "freeze_encoder"
        gives = "model.weights=FILE" if has_key else "init.weights=FILE"
        if config.init.weights and not has_key:
            gives = "init.parts=all"
        job.warn(f"optimizer.{key} freezes an encoder with random weights; {gives} gives it some")


def begin(job: Job, start: Callable[[Job, TrainState], None] = start) -> Learning:
    """Come up, where the run began or where it was left, with all of it on the record. At its beginning,
    `start` gives the network its weights."""
    config = job.config
    hardware = choose_hardware(config, job.group.rank)
    settle_arithmetic(config, hardware)
    with job.group.main_rank_first():  # which moves a damaged checkpoint out of the way
        resumption = find_resumption(job.run.checkpoints)
    record_start(job, hardware, resumption.epoch)
    for warning in resumption.warnings:
        job.warn(warning)
    with job.group.main_rank_first():  # which builds the cache if there is none
        data = open_data(job)
    classes = class_names(job, data)
    enough = enough_by_network(output_channels(config, len(classes)))
    refuse_too_small_parts(config, len(data.train), job.group.count, enough)
    refuse_unsuitable(config, math.ceil(len(data.train) / config.batch_size))
    state = new_state(
        config,
        hardware,
        classes,
        lambda decision: record_compile_decision(job, decision),
        job.group,
        lambda decision: report_graph_decision(job, decision),
        find_teacher(job, hardware, data),
    )
    state.length.images = len(data.train)
    if state.teacher is not None and not isinstance(state.objective, Segmentation):
        raise ComponentError(f"distill.from: task={config.task} has targets of its own; it must be empty")
    if isinstance(state.objective, Segmentation) and state.objective.of_classes is not None:
        pixels = torch.tensor(counted_class_pixels(job, data), device=hardware.device)
        state.objective.of_classes.learn_class_pixels(pixels)
    if resumption.content is not None:
        restore(job, state, resumption)
    else:
        start(job, state)
        for path in files_of_weights(job):
            warn_of_seen_images(job, path, data, "the network of the initial weights")
    flops = describe_model(job, state.model, output_channels(config, len(classes)))
    with job.group.main_rank_first():  # which looks for the classes if nobody has
        sampling = sampling_of(config, data.train, job.cache_dir, partial(report_cache, job))
    if sampling.centroids is not None:
        found = len(set(sampling.centroids.train_id.tolist())), len(sampling.centroids.sample)
        told = f"{found[0]} classes at {found[1]:,} places"
        job.say(f"{100 * sampling.share:.3g} % of each epoch are chosen by class: {told}")
    return Learning(hardware, data, state, flops, sampling)


def find_teacher(job: Job, hardware: Hardware, data: Dataset) -> Teacher | None:
    """The network that teaches a run, on the record; None where `distill.from` names none.

    Raises CheckpointError when its checkpoint cannot be used, or is not that which the run began with.
    """
    teacher = load_teacher(job.config, job.run.path, hardware, class_names(job, data))
    if teacher is None:
        return None
    recorded = (event for event in read_all(job.run.journal) if isinstance(event, Taught))
    before = next(recorded, None)
    if before is not None and before.sha256 != teacher.sha256:
        raise CheckpointError(
            f"{teacher.path}: has changed since it began to teach this run: its SHA-256 was "
            f"{before.sha256[:12]} and is {teacher.sha256[:12]}; restore it, or make a new run with "
            f"`seg-engine rerun {job.run.id}`"
        )
    if before is None:
        event = Taught(source=str(teacher.path), epoch=teacher.epoch, sha256=teacher.sha256)
        job.record(event)
        job.say(f"taught by {event.told}")
    warn_of_seen_images(job, teacher.path, data, "the teacher")
    return teacher


def files_of_weights(job: Job) -> list[Path]:
    """The files whose weights a run begins with."""
    init, makers = job.config.init, job.config.model.weights_file()
    given = [init.weights, "" if init.weights and init.parts == "all" else makers]
    return [Path(os.path.normpath(job.run.path / file)) for file in given if file]


def warn_of_seen_images(job: Job, checkpoint: Path, data: Dataset, who: str) -> None:
    """Warn where a checkpoint's run, if it is here, has learned from images that this run validates on; an
    image is known by what is in its file."""
    run = RunDir(checkpoint.parent.parent)
    if not run.config_file.exists():
        return  # a split.json beside a file from elsewhere may be anything
    try:
        learned_from = Membership.read(run.split_file)
    except DataError as error:
        job.warn(str(error))
        return
    if learned_from is None:
        return
    seen = {image for image, _ in learned_from.train.values()}
    judging = sum(image in seen for image, _ in data.membership.val.values())
    if judging:
        job.warn(
            f"{who} has learned from {judging} of the {len(data.val)} validation images, so validation "
            "scores are too high; runs of the same data.split and data.split_seed hold out the same images"
        )


def report_cache(job: Job, done: int, total: int) -> None:
    """Tell how much of the data is decoded or looked at. Raises StopRequested."""
    if job.progress_is_due():
        job.report(Progress(phase="cache", epoch=0, step=done, steps=total))
    cause = job.own_stop()
    if cause is not None:
        raise StopRequested(cause)


def open_data(job: Job) -> Dataset:
    """The data set at the config's size, with its cache built when it is not there; on the record."""
    begun = time.monotonic()
    began_with = Membership.read(job.run.split_file)
    known = None if began_with is not None else Trained.find(job.run)
    data = open_dataset(
        job.config.data,
        job.cache_dir,
        partial(report_cache, job),
        job.say,
        labels=job.config.needs_labels,
        began_with=began_with,
        trained_before=pretraining_membership(job),
    )
    if known is not None:
        known.refuse_other_counts(len(data.train), len(data.val))
    if began_with is None and job.group.is_main:
        data.membership.write(job.run.split_file)
    if job.group.is_main:
        keep_environment(
            job,
            Environment(data_sha256=data.membership.data_digest, split_sha256=data.membership.split_digest),
        )
    job.classes, job.train_images = len(data.class_set), len(data.train)
    job.data_bytes = sum(cache.nbytes for cache in data.caches)
    for cache in data.caches:
        if cache.rebuilt_because:
            job.warn(f"cache {cache.key} was built again: {cache.rebuilt_because}")
    for note in data.notes:
        job.warn(note)
    classes = data.class_set.classes if job.config.needs_labels else ()
    job.record(
        Data(
            train_images=len(data.train),
            val_images=len(data.val),
            classes=[c.name for c in classes],
            colors=[c.hex_color for c in classes],
            seconds=round(time.monotonic() - begun, 3),
            cache=[str(cache.path) for cache in data.caches],
            skipped=[f"{fault.path}: {fault.problem}" for fault in data.skipped],
        )
    )
    return data


def counted_class_pixels(job: Job, data: Dataset) -> list[int]:
    """Of how many training pixels each class is, as the run counted them when it began."""
    with job.group.main_rank_first():
        known = read_class_pixels(job.run.class_pixels_file, data.class_set)
        if known is None:
            known = count_class_pixels(data.train, data.class_set)
            write_class_pixels(job.run.class_pixels_file, data.class_set, known)
            total = max(1, sum(known))
            shares = zip(data.class_set.names, known, strict=True)
            told = ", ".join(f"{name} {100 * count / total:.3g} %" for name, count in shares)
            job.say(f"classes are weighed by their shares of the training pixels: {told}")
    return known


def pretraining_membership(job: Job) -> Membership | None:
    """Of the pre-training run that this run starts from, where it saw the same data, divided alike."""
    source, data = job.config.init.weights, job.config.data
    if not source or not job.config.needs_labels:
        return None
    first = RunDir(Path(os.path.normpath(job.run.path / source)).parent.parent)
    try:
        before = first.read_config()
    except RunDirError:
        return None  # a checkpoint that lies by itself
    same = ("root", "split", "split_seed", "split_rule", "val_fraction", "val_folders")
    with_labels = before.task in TASKS and before.needs_labels
    if with_labels or any(getattr(before.data, key) != getattr(data, key) for key in same):
        return None
    return Membership.read(first.split_file)


def class_names(job: Job, data: Dataset) -> list[str]:
    """The classes that the network learns; none from images alone."""
    return list(data.class_set.names) if job.config.needs_labels else []


def describe_model(job: Job, model: nn.Module, outputs: int) -> int:
    """Put the network's size on the record, its FLOPs being those of an image as it is scored; returns the
    FLOPs of one sample as the task sees it: in training those of a crop."""
    parameters, flops = count_parameters(model), flops_per_image(job.config, outputs)
    job.record(Model(name=job.config.model.name, parameters=parameters, flops_per_sample=flops))
    job.say(f"{job.config.model.name}: {parameters:,} parameters, {flops / 1e9:.2f} GFLOPs a sample")
    if (normalised := job.config.model.input_normalisation()) != IMAGENET:
        mean, deviation = (
            ", ".join(f"{each:.4g}" for each in values) for values in NORMALISATIONS[normalised]
        )
        job.say(f"its images are normalised as {normalised}: mean {mean}, standard deviation {deviation}")
    if not TASKS[job.config.task].learns or job.config.train_size == job.config.scored_size:
        return flops
    return flops_per_sample(job.config, outputs, job.config.train_size)


def record_compile_decision(
    job: Job,
    decision: CompileDecision,
    of: Literal["training", "validation", "images"] = "training",
) -> None:
    """Put what came of torch.compile on the record; a failure is a warning, as the run is slower for it."""
    job.record(Compiled(of=of, **asdict(decision)))
    what = "torch.compile of validation" if of == "validation" else "torch.compile"
    job.say(f"{what} {'kept' if decision.kept else 'not used'}: {decision.reason}")
    if decision.reason.startswith("torch.compile failed"):
        job.warn(f"{decision.reason}; going on without it")


def report_graph_decision(job: Job, decision: GraphDecision) -> None:
    """Log whether steps are replayed as a CUDA graph; a failure is a warning, as the run is slower for it."""
    job.say(f"CUDA graph of the step {'kept' if decision.kept else 'not used'}: {decision.reason}")
    if decision.failed:
        job.warn(f"CUDA graph of the step: {decision.reason}; going on without it")
