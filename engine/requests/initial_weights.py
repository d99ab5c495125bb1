"""Where a run's weights come from: another run, a file, or a pre-training run that is made first; and the
network that teaches it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.config.described import differences, format_value
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import FROZEN_NORMS, RunConfig
from engine.config.sections import DistillConfig
from engine.losses.builtin import LOSSES
from engine.models.class_embeddings import read_embeddings
from engine.models.pretrained import WeightsError
from engine.requests.source_paths import BEST, find_source, is_run_name
from engine.requests.teacher import settle_teacher
from engine.run.checkpoint_file import CheckpointError
from engine.run.directory import RunCard, RunDir, RunDirError, new_run_id
from engine.run.files import expanded
from engine.run.weight_kinds import kind_of_weights
from engine.store import Store
from engine.tasks import TASKS
from engine.workspace import Workspace

ONE_RATE = {
    "optimizer.encoder_lr_factor": 1.0,
    "optimizer.freeze_encoder": 0,
    "optimizer.head_lr_factor": 1.0,
    "optimizer.bias_lr_factor": 1.0,
    "optimizer.layer_decay": 1.0,
}
"""Keys of weights that learn at different rates, at the values that make them learn at the same."""

SAME_WEIGHTS = frozenset(
    f"model.{key}"
    for key in (
        *("weights", "normalisation", "aux", "deep_supervision", "dropout", "drop_path", "output_stride"),
        "points",
    )
)
"""Keys of networks that change none of their weights but those of auxiliary heads, which are left out or
begin at random. What `normalisation` comes to depends on the weights; it is compared by itself."""


def settle_sources(workspace: Workspace, store: Store, config: RunConfig, waits_for: str = "") -> RunConfig:
    """The config with `init.weights` and `distill.from` as the worker needs them: paths of checkpoints.

    The checkpoint of `waits_for`, the run that has to finish first, need not be there yet. Raises ConfigError
    when there is no such run or checkpoint, when the initial weights are of another network and `init.strict`
    forbids that, or when the teacher cannot teach this run.
    """
    if TASKS[config.task].learns:  # others have the weights of a checkpoint, and no need of these files
        config = _settle_embeddings(_settle_weights_of_makers(config))
    config = settle_teacher(workspace, store, config, waits_for)
    if not config.init.weights:
        return config
    source = find_source(workspace, store, "init.weights", config.init.weights, waits_for)
    if config.init.strict:
        _refuse_other_network(config, source.run)
    return with_values(config, {"init.weights": source.written})


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


def _settle_embeddings(config: RunConfig) -> RunConfig:
    """The config with the file of `model.text`, if it names one, by its absolute path, and with the length of
    the embeddings there. Raises ConfigError for what is not there or holds none."""
    given = config.model.embeddings_file()
    if not given:
        return config
    path = expanded(Path(given)).absolute()
    try:
        size = read_embeddings(path).vectors.shape[1]
    except WeightsError as error:
        raise ConfigError([f"model.text: {error}"]) from error
    return with_values(config, {"model.text": str(path), "model.text_size": size})


def _refuse_other_network(config: RunConfig, run: RunDir) -> None:
    """Raises ConfigError when the source's config, where there is one, names another network, or one that
    sees images normalised otherwise."""
    try:
        source = run.read_config()
    except RunDirError:
        return  # a checkpoint that lies elsewhere: the worker looks into it
    if config.init.parts == "all":  # of a part, the worker knows what it is made of
        _refuse_other_keys(config, source, run)
    was, now = source.model.input_normalisation(), config.model.input_normalisation()
    if config.init.parts != "decoder" and source.model.name == config.model.name and was != now:
        told = f"init.weights: {run.id} has images normalised as {was}, this network as {now}"
        raise ConfigError([f"{told}; model.normalisation={was} keeps what its weights were trained on"])


def _refuse_other_keys(config: RunConfig, source: RunConfig, run: RunDir) -> None:
    other = [
        (key, both)
        for key, both in differences(source, config).items()
        if key.startswith("model.") and key not in SAME_WEIGHTS
    ]
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
    values: dict[str, object] = {
        "task": "pretrain",
        "epochs": config.pretrain.epochs,
        "pretrain.epochs": 0,
        "distill.from": "",
        "init.parts": "all",
        "budget.hours": 0,  # it has epochs of its own
        "budget.images": 0,
    }
    if config.batch_norm in FROZEN_NORMS:
        values["batch_norm"] = "local"  # there are no statistics yet
    try:
        changed = with_values(config, {**values, "data.label_fraction": 1.0, **ONE_RATE})
        return changed.model_copy(update={"loss": LOSSES.new(), "distill": DistillConfig()})
    except ConfigError as error:
        raise ConfigError([f"of the pre-training run, {problem}" for problem in error.problems]) from error


def names_a_run(config: RunConfig) -> bool:
    """Whether a source of the config is a run as people call it, not a path."""
    return is_run_name(config.init.weights) or is_run_name(config.distill.teacher)


def pretraining_card(card: RunCard) -> RunCard:
    """What the pre-training run of a training run is called. Of a trial of a search it is none itself."""
    return replace(card, id=new_run_id(), name=pretraining_card_name(card.name), trial=None)


def pretraining_card_name(name: str) -> str:
    return f"{name} pretrain"


def starting_from(config: RunConfig, run_id: str) -> RunConfig:
    """The config of a run that starts from the best weights of another of the same workspace."""
    return with_values(config, {"init.weights": f"../{run_id}/checkpoints/{BEST}"})
