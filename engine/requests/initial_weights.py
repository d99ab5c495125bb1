"""Where a run's weights come from: another run, a file, or a pre-training run that is made first.

The worker knows its run directory and no database. So what people type, a run or a path, is made into the
path of a checkpoint before the config is frozen: relative to the run's folder where it lies in the same
workspace, which can then be moved, absolute for any other file.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from engine.config.described import differences, format_value
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import FROZEN_NORMS, RunConfig
from engine.host.input_files import InputFileError, refuse_irregular
from engine.losses.builtin import LOSSES
from engine.run.checkpoint_file import CheckpointError
from engine.run.directory import RunCard, RunDir, RunDirError, new_run_id
from engine.run.files import expanded
from engine.run.weight_kinds import SUFFIXES, kind_of_weights
from engine.store import Store, StoreError
from engine.workspace import Workspace

BEST, LAST = "best.pt", "last.pt"

ONE_RATE = {
    "optimizer.encoder_lr_factor": 1.0,
    "optimizer.head_lr_factor": 1.0,
    "optimizer.bias_lr_factor": 1.0,
    "optimizer.layer_decay": 1.0,
}
"""Keys of weights that learn at different rates, at the values that make them learn at the same."""

_PATH_STARTS = ("/", "./", "../", "~")
"""What a path begins with, whatever its end, and no name of a run does."""

_SETTLED = re.compile(r"\.\./([a-z0-9]{8})/checkpoints/[\w.-]+\.pt")


def settle_source(workspace: Workspace, store: Store, config: RunConfig, waits_for: str = "") -> RunConfig:
    """The config with `init.weights` as the worker needs it: the path of a checkpoint.

    A run stands for its best checkpoint, or its last where it has no best. The checkpoint of `waits_for`, the
    run that has to finish first, need not be there yet. Raises ConfigError when there is no such run or
    checkpoint, or when it is of another network and `init.strict` forbids that.
    """
    config = _settle_weights_of_makers(config)
    given = config.init.weights
    if not given:
        return config
    settled = _SETTLED.fullmatch(given)
    if names_a_run(config):
        try:
            run = workspace.run_dir(store.resolve(given))
        except StoreError as error:
            raise ConfigError([f"init.weights: {error}"]) from error
        path = _best_of(run, store, waits_for)
    else:
        path = workspace.runs / settled[0].removeprefix("../") if settled else expanded(Path(given))
        path = path.absolute()
        run = workspace.run_dir(settled[1]) if settled else RunDir(path.parent.parent)
        if path.exists() or path.is_symlink():
            _refuse_unreadable(path, is_of_run=path.is_relative_to(workspace.runs))
        elif run.id != waits_for:
            raise ConfigError([f"init.weights: {path} is not there; it must be a run or a file of weights"])
    if config.init.strict:
        _refuse_other_network(config, run)
    if path.is_relative_to(workspace.runs):
        return with_values(config, {"init.weights": f"../{path.relative_to(workspace.runs)}"})
    return with_values(config, {"init.weights": str(path)})


def _settle_weights_of_makers(config: RunConfig) -> RunConfig:
    """The config with the file of `model.weights`, where it is one, by its absolute path. Raises ConfigError
    for what is not there or cannot be read."""
    given = config.model.weights_file()
    if not given:
        return config
    path = expanded(Path(given)).absolute()
    try:
        kind_of_weights(path)
    except CheckpointError as error:
        raise ConfigError([f"model.weights: {error}"]) from error
    return config if str(path) == given else with_values(config, {"model.weights": str(path)})


def _refuse_unreadable(path: Path, is_of_run: bool) -> None:
    """Raises ConfigError for what is no regular file and, unless it is a run's own, for what its first bytes
    say is not a file of weights that can be read."""
    try:
        refuse_irregular(path)
        if not is_of_run:
            kind_of_weights(path)
    except (InputFileError, CheckpointError) as error:
        raise ConfigError([f"init.weights: {error}"]) from error


def _best_of(run: RunDir, store: Store, waits_for: str) -> Path:
    """The checkpoint that a run stands for; best.pt for a run that has yet to finish."""
    status = store.run(run.id).status
    if run.id == waits_for and status != "finished":
        return run.checkpoints / BEST
    for name in (BEST, LAST):
        if (run.checkpoints / name).is_file():
            return run.checkpoints / name
    wait = f"; with --queue --after {run.id} a run waits for it" if status != "finished" else ""
    raise ConfigError([f"init.weights: {run.id} is {status} and has no checkpoint{wait}"])


def _refuse_other_network(config: RunConfig, run: RunDir) -> None:
    """Raises ConfigError when the source's config, where there is one, names another network."""
    try:
        source = run.read_config()
    except RunDirError:
        return  # a checkpoint that lies elsewhere: the worker looks into it
    other = [(key, both) for key, both in differences(source, config).items() if key.startswith("model.")]
    if other:
        told = ", ".join(f"{key} {format_value(was)}, not {format_value(now)}" for key, (was, now) in other)
        advice = "init.strict=false loads the weights that fit"
        raise ConfigError([f"init.weights: {run.id} has another network: {told}; {advice}"])


def pretraining_of(config: RunConfig) -> RunConfig | None:
    """The config of the run that `pretrain.epochs` wants made first; None when there is none to make.

    It is the training run's, on the same images, without what only labels have use for. No weights are
    trained yet, so all learn at one rate. A run that has its source already wants none. Raises ConfigError
    when so few epochs do not suit the rest of the config.
    """
    if config.pretrain.epochs == 0 or config.init.weights:
        return None
    values: dict[str, object] = {"task": "pretrain", "epochs": config.pretrain.epochs, "pretrain.epochs": 0}
    values |= {"budget.hours": 0, "budget.images": 0}  # it has epochs of its own
    if config.batch_norm in FROZEN_NORMS:
        values["batch_norm"] = "local"  # there are no statistics yet
    try:
        changed = with_values(config, {**values, "data.label_fraction": 1.0, **ONE_RATE})
        return changed.model_copy(update={"loss": LOSSES.new()})
    except ConfigError as error:
        raise ConfigError([f"of the pre-training run, {problem}" for problem in error.problems]) from error


def names_a_run(config: RunConfig) -> bool:
    """Whether `init.weights` is a run as people call it, not a path."""
    given = config.init.weights
    return bool(given) and not given.lower().endswith(SUFFIXES) and not given.startswith(_PATH_STARTS)


def pretraining_card(card: RunCard) -> RunCard:
    """What the pre-training run of a training run is called."""
    return replace(card, id=new_run_id(), name=f"{card.name} pretrain")


def starting_from(config: RunConfig, run_id: str) -> RunConfig:
    """The config of a run that starts from the best weights of another of the same workspace."""
    return with_values(config, {"init.weights": f"../{run_id}/checkpoints/{BEST}"})
