"""Warm start: a run begins with the weights of another checkpoint instead of random ones.

Convolutions do not mind the size of the image, so a checkpoint of another resolution fits as it is. The head
has a channel a class: it is taken only where they are the same, and starts at random where they are not, as
after pre-training.
"""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor

from engine.learning.checkpoint import CheckpointError, load_checkpoint
from engine.run.events import WarmStart
from engine.training.state import TrainState
from engine.worker.job import Job


def start_from_source(job: Job, state: TrainState) -> None:
    """Put the weights of `init.weights` into a new state; what was and was not taken is on the record.

    Raises CheckpointError when the file is not there or damaged, when a weight other than the head's has no
    counterpart and `init.strict` is set, or when none fits.
    """
    path = Path(os.path.normpath(job.run.path / job.config.init.weights))
    content = load_checkpoint(path)
    own, offered = state.model.state_dict(), content["model"]
    taken = {name for name in own.keys() & offered.keys() if own[name].shape == offered[name].shape}
    if content["classes"] != state.classes:
        taken -= {name for name in taken if state.model.is_head(name)}
    new = [name for name in own if name not in taken]
    unused = [name for name in offered if name not in taken]
    if job.config.init.strict:
        misfits = [name for name in (*new, *unused) if not state.model.is_head(name)]
        _refuse_misfits(path, own, offered, misfits)
    if not taken:
        raise CheckpointError(f"{path}: none of its weights fits this network")
    state.model.load_state_dict({name: offered[name] for name in taken}, strict=False)
    event = WarmStart(source=str(path), epoch=int(content["epoch"]), taken=len(taken), new=new, unused=unused)
    job.record(event)
    job.say(event.told)


def _refuse_misfits(
    path: Path, own: dict[str, Tensor], offered: dict[str, Tensor], misfits: list[str]
) -> None:
    if not misfits:
        return
    name = misfits[0]
    there, here = _shape(offered.get(name)), _shape(own.get(name))
    count = len(set(misfits))
    raise CheckpointError(
        f"{path}: is of another network: {count} {'tensor does' if count == 1 else 'tensors do'} not fit, "
        f"the first {name}, {there} there and {here} here; init.strict=false takes the weights that fit"
    )


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else "x".join(str(side) for side in tensor.shape) or "a number"
