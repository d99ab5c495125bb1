"""The way of a run's state into checkpoints and back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.learning.checkpoint import (
    CheckpointError,
    DamagedCheckpoint,
    check_fits,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from engine.learning.distributed import Group
from engine.optimizers.groups import divide_as, is_state_of, load_state, state_of
from engine.run.events import Checkpoint
from engine.schedules import learning_rate
from engine.training.state import Best, TrainState
from engine.worker.job import Diverged, Job

REMEDY = "a smaller optimizer.lr or optimizer.clip_norm=1 may help"
"""What a run that diverges is told."""


@dataclass(frozen=True)
class Resumption:
    """Where a run goes on: at a checkpoint, or without one (`content` is None) at its beginning."""

    path: Path
    content: dict[str, Any] | None
    warnings: list[str]
    """What a person should know about it, a line each."""

    @property
    def epoch(self) -> int:
        return int(self.content["epoch"]) if self.content else 0


def find_resumption(checkpoints: Path) -> Resumption:
    """The run's last.pt; when that is damaged best.pt, or else the beginning.

    Damaged files are moved aside, as `<name>.damaged`. A run that finds one aside and no last.pt was ended
    before it could save again and falls back once more. Raises CheckpointError for a file that cannot be
    read or is of another format: going on without it would be a guess.
    """
    last, best = checkpoints / "last.pt", checkpoints / "best.pt"
    warnings: list[str] = []
    content = _load_or_move_aside(last, warnings)
    if content is not None or not _aside(last).exists():
        return Resumption(last, content, warnings)
    content = _load_or_move_aside(best, warnings)
    if content is None:
        warnings.append("last.pt was damaged and there is no best.pt: the run begins anew")
    else:
        warnings.append(
            f"last.pt was damaged: going on from the weights of best.pt, after epoch {content['epoch']}; "
            "the optimizer begins anew"
        )
    return Resumption(best, content, warnings)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def _load_or_move_aside(path: Path, warnings: list[str]) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        return load_checkpoint(path)
    except DamagedCheckpoint as error:
        path.replace(_aside(path))
        warnings.append(f"{error}; moved to {_aside(path).name}")
        return None


def restore(job: Job, state: TrainState, resumption: Resumption) -> None:
    """Put a checkpoint into a new state.

    Raises CheckpointError if the network, its groups of parameters or the classes are others.
    """
    content = resumption.content
    assert content is not None
    check_fits(resumption.path, content, state.config.model, state.classes)
    state.model.load_state_dict(content["model"])
    if state.average is not None:
        state.average.load(content["ema"])
    if resumption.path.name == "best.pt":
        state.epoch, state.val_dice = content["epoch"], content["dice"]
        state.best = Best(content["epoch"], content["dice"], content["confusion"], content.get("loss"))
        state.early_stop.load({"best": None, "epoch": state.epoch}, state.epoch)
        state.length.load(content.get("length", {}))
    else:
        divide_as(state.optimizer, content["optimizer"])
        if not is_state_of(content["optimizer"], state.optimizer):
            raise CheckpointError(
                f"{resumption.path}: its optimizer has other groups of parameters; the names of its "
                "parameters, encoder or head have changed since"
            )
        _restore_the_rest(state, content, job.group)
    job.epochs_done = state.epoch
    job.say(f"going on after {state.epoch} epochs and {state.step} steps")


def _restore_the_rest(state: TrainState, content: dict[str, Any], group: Group) -> None:
    """All that last.pt has beyond the weights. What all ranks had counted of an epoch is one rank's from here
    on: they are added up again at its end."""
    load_state(state.optimizer, content["optimizer"])
    state.scaler.load_state_dict(content["scaler"])
    if group.is_main:
        state.meter.load(content["meter"])
    state.epoch, state.step, state.steps = content["epoch"], content["step"], content["steps"]
    state.length.load(content.get("length", {}))
    if "lr" in content:
        state.lr = content["lr"]
    elif state.step > 0:  # an earlier version made the checkpoint
        place = state.length.schedule_step(state.epoch, state.step - 1)
        state.lr = learning_rate(state.config, place, state.length.steps)
    state.val_dice = content["val_dice"]
    if "early_stop" in content:
        state.early_stop.load(content["early_stop"], state.epoch)
    if content["compiled"] is not None:
        state.autotune.go_on(content["compiled"])
    if content["best"] is not None:
        state.best = Best(**content["best"])
    restore_random_state(content["random"])


def save(job: Job, state: TrainState) -> None:
    """Write best.pt when there is a new best, then last.pt. All ranks call it and the main rank writes.

    In this order: a crash between the two leaves a last.pt from which the same best is found again. Raises
    Diverged, and leaves both as they are, where the weights are no numbers.
    """
    _refuse_infinite_weights(state)
    meter = state.meter.over(job.group)
    state.length.read_clock()
    if not job.group.is_main:
        if state.best is not None:
            state.best.weights = state.best.average = None
        return
    if state.best is not None and state.best.weights is not None:
        path = job.run.checkpoints / "best.pt"
        content = {**identity(state), **scores_of(state.best), "model": state.best.weights}
        content |= _with_average(state.best.average) | _with_length(state.best.length)
        save_checkpoint(path, content)
        job.record(
            Checkpoint(kind="best", epoch=state.best.epoch, path="checkpoints/best.pt", dice=state.best.dice)
        )
        state.best.weights = state.best.average = None
    content = {
        **identity(state),
        **_with_average(state.averaged()),
        **_with_length(state.length.state()),
        "epoch": state.epoch,
        "step": state.step,
        "steps": state.steps,
        "lr": state.lr,
        "model": state.model.state_dict(),
        "optimizer": state_of(state.optimizer),
        "scaler": state.scaler.state_dict(),
        "meter": meter.state(),
        "random": random_state(),
        "val_dice": state.val_dice,
        "early_stop": state.early_stop.state(),
        "compiled": None if state.autotune.decision is None else state.autotune.decision.kept,
        "best": None if state.best is None else scores_of(state.best),
    }
    save_checkpoint(job.run.checkpoints / "last.pt", content)
    job.record(Checkpoint(kind="last", epoch=state.epoch, path="checkpoints/last.pt", dice=state.val_dice))
    state.saved_at = time.monotonic()


def keep_epoch(job: Job, state: TrainState) -> None:
    """Keep the weights of the epoch just done for good, as checkpoints/epoch_0010.pt. Raises Diverged where
    they are no numbers."""
    _refuse_infinite_weights(state)
    if not job.group.is_main:
        return
    path = job.run.checkpoints / f"epoch_{state.epoch:04d}.pt"
    content = {**identity(state), "epoch": state.epoch, "model": state.model.state_dict()}
    content |= _with_average(state.averaged())
    save_checkpoint(path, content)
    job.say(f"kept {path.name}")


def _refuse_infinite_weights(state: TrainState) -> None:
    """The loss of a step is computed before it: what the last one has done to the weights shows in no loss
    unless a validation follows. All ranks have the same weights and so find the same."""
    learned = (parameter for parameter in state.model.parameters() if parameter.requires_grad)
    if not all(bool(parameter.isfinite().all()) for parameter in learned):
        epoch = state.epoch + (state.step > 0)
        raise Diverged(f"the weights became NaN or infinite in epoch {epoch}; {REMEDY}")


def _with_average(average: dict[str, Any] | None) -> dict[str, Any]:
    return {} if average is None else {"ema": average}


def _with_length(length: dict[str, float] | None) -> dict[str, Any]:
    return {"length": length} if length else {}


def identity(state: TrainState) -> dict[str, Any]:
    """What says whose weights these are."""
    return {"model_config": state.config.model.model_dump(mode="json"), "classes": state.classes}


def scores_of(best: Best) -> dict[str, Any]:
    return {"epoch": best.epoch, "dice": best.dice, "loss": best.loss, "confusion": best.confusion}
