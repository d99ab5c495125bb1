"""Warm start: a run begins with the weights of a file instead of random ones.

Convolutions do not mind the size of the image, so weights of another resolution fit as they are. The head
has a channel a class. That of another run is taken only where the classes are the same, and starts at random
where they are not, as after pre-training. A file that was made elsewhere does not name its classes: its head
is taken where it has as many.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.learning.checkpoint import CheckpointError, is_checkpoint
from engine.learning.weight_average import validated_weights
from engine.models.class_embeddings import read_embeddings
from engine.models.contract import SegmentationNetwork
from engine.models.pretrained import WeightsError
from engine.models.weight_files import read_content, weights_in
from engine.models.weight_fit import Fit, fit_weights, shape_of
from engine.run.events import WarmStart
from engine.training.state import TrainState
from engine.worker.job import Job

FIT_INSTEAD = "init.weights=FILE init.strict=false takes the weights that fit"
"""What takes weights of `model.weights` that are of another network in part."""


def start_from_source(job: Job, state: TrainState) -> set[str]:
    """Put the weights of `init.weights` into a new state; what was and was not taken is on the record.
    Returns the names of those that were.

    Raises CheckpointError when the file is not there, damaged or cannot be read without running code from it,
    when it is of another network and `init.strict` is set, or when none of its weights fits.
    """
    path = Path(os.path.normpath(job.run.path / job.config.init.weights))
    strict = job.config.init.strict
    instead = "init.strict=false takes the weights that fit" if strict else ""
    return _start_from_file(job, state, path, instead, job.config.init.parts)


def start_from_makers(job: Job, state: TrainState) -> set[str]:
    """Put the weights of `model.weights` into a new state: those of a file, or those that the makers of the
    network offer by name. What was and was not taken is on the record. Returns the names of those that were.

    Raises CheckpointError as `start_from_source` does, and EngineError when a download fails.
    """
    model = job.config.model
    if file := model.weights_file():
        return _start_from_file(job, state, Path(os.path.normpath(job.run.path / file)), FIT_INSTEAD)
    if offered := model.named_weights():
        return _take(job, state, model.weights_source(), fit_weights(state.model, offered), None, FIT_INSTEAD)
    return set()


def take_embeddings(job: Job, state: TrainState) -> None:
    """Put the class embeddings of `model.text`, if it names a file, into a new state; checkpoints have them
    from then on. Raises WeightsError, one line."""
    file = job.config.model.embeddings_file()
    if not file:
        return
    path = Path(file)
    read = read_embeddings(path)
    vectors = torch.from_numpy(read.of(state.classes, path))
    size, wanted = vectors.shape[1], state.model.get_buffer(state.model.embeddings_name).shape[1]
    if size != wanted:  # the file is another one than it was then
        raise WeightsError(
            f"{path}: has embeddings of {size} numbers, those that the run was made with had {wanted}; a new "
            "run takes these"
        )
    state.model.load_state_dict({state.model.embeddings_name: vectors}, strict=False)
    if state.average is not None:
        state.average.restart()
    job.say(f"{path}: embeddings of {len(vectors)} classes, {read.source or 'of unknown origin'}")


def _start_from_file(job: Job, state: TrainState, path: Path, instead: str, parts: str = "all") -> set[str]:
    content = read_content(path)
    own = is_checkpoint(content)
    fit = _fit_checkpoint(state, content) if own else fit_weights(state.model, weights_in(content, path))
    epoch = int(content["epoch"]) if own else None
    wanted = _of_parts(fit, state.model, parts)
    if fit.taken and not wanted.taken:
        raise CheckpointError(
            f"{path}: has nothing of the {parts}, which is all that init.parts={parts} takes"
        )
    return _take(job, state, str(path), wanted, epoch, instead)


def _of_parts(fit: Fit, model: SegmentationNetwork, parts: str) -> Fit:
    """What fits, less what is not in the `parts` of `init.parts`; nor does it matter whether that fits."""
    if parts == "all":
        return fit
    left = {name for name in (*fit.taken, *fit.misfits) if model.is_encoder(name) != (parts == "encoder")}
    taken = {name: tensor for name, tensor in fit.taken.items() if name not in left}
    misfits = {name: told for name, told in fit.misfits.items() if name not in left}
    beside = [name for name in fit.taken if name in left]
    return replace(fit, taken=taken, new=[*fit.new, *beside], unused=[*fit.unused, *beside], misfits=misfits)


def _take(job: Job, state: TrainState, source: str, fit: Fit, epoch: int | None, instead: str) -> set[str]:
    """Put what fits into a state, and on the record; `source` is what the weights are called. Those of
    another network are refused where `instead` says what takes a part of them. Returns the names of those
    that fit."""
    if not fit.taken:
        names = f": it has {', '.join(fit.unused[:2])}, here there are {', '.join(fit.new[:2])}"
        why = f": {fit.shapes[0]}" if fit.shapes else names
        raise CheckpointError(f"{source}: none of its weights fits this network{why}")
    if fit.problem and instead:
        raise CheckpointError(f"{source}: is of another network: {fit.problem}; {instead}")
    state.model.load_state_dict(fit.taken, strict=False)
    if state.average is not None:
        state.average.restart()
    event = WarmStart(
        source=source,
        epoch=epoch,
        names_of=fit.source,
        taken=len(fit.taken),
        new=fit.new,
        unused=fit.unused,
        other_shapes=fit.shapes,
    )
    job.record(event)
    job.say(event.told)
    return set(fit.taken)


def _fit_checkpoint(state: TrainState, content: Mapping[str, Any]) -> Fit:
    """What a checkpoint of this program fills: names are the same there."""
    own, offered = state.model.state_dict(), validated_weights(content)
    taken = {name for name in own.keys() & offered.keys() if own[name].shape == offered[name].shape}
    if content["classes"] != state.classes:
        taken -= {name for name in taken if state.model.is_head(name)}
    new = [name for name in own if name not in taken]
    unused = [name for name in offered if name not in taken]
    # A part that only one of both has, as an auxiliary head is, says no more of the others than a head does.
    shared = _parts(own) & _parts(offered)
    misfits = {
        name: f"{name}, {_shape(offered.get(name))} there and {_shape(own.get(name))} here"
        for name in (*new, *unused)
        if name.split(".")[0] in shared and not state.model.is_head(name)
    }
    return Fit("", {name: offered[name] for name in taken}, new, unused, [], misfits)


def _parts(weights: Mapping[str, Tensor]) -> set[str]:
    return {name.split(".")[0] for name in weights}


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else shape_of(tensor)
