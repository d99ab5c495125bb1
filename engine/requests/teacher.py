"""The network that teaches a run: which checkpoint `distill.from` means, and whether it can teach."""

from __future__ import annotations

from engine.classes import CITYSCAPES, ClassSet
from engine.components.origin import ComponentError
from engine.config.keys import ConfigError, with_values
from engine.config.run_config import RunConfig
from engine.plugins import usable_config
from engine.requests.source_paths import Source, find_source
from engine.run.checkpoint_file import other_classes
from engine.run.directory import RunDirError
from engine.store import Store, StoreError
from engine.tasks import learns_classes
from engine.workspace import Workspace

KEY = "distill.from"


def settle_teacher(workspace: Workspace, store: Store, config: RunConfig, waits_for: str = "") -> RunConfig:
    """The config with `distill.from` as the worker needs it: the path of a checkpoint. The plugins that a
    run's network needs are loaded, so that they come into the config of the run that it teaches.

    Raises ConfigError for a network that is not there or cannot teach this run, as far as it is known without
    torch; the worker finds the rest.
    """
    if not config.distill.teacher:
        return config
    source = find_source(workspace, store, KEY, config.distill.teacher, waits_for)
    _refuse_unfit_network(config, source)
    if source.is_of_workspace:
        _refuse_unfit_run(store, config, source, waits_for)
    return with_values(config, {KEY: source.written})


def _refuse_unfit_network(config: RunConfig, source: Source) -> None:
    """Raises ConfigError when the network, where the config beside it tells of it, is not here or cannot take
    the images that the run trains on."""
    try:
        teacher = usable_config(source.run)[0].model
    except RunDirError:
        return  # a checkpoint that lies elsewhere: the worker looks into it
    except ComponentError as error:
        raise ConfigError([f"{KEY}: {source.run.id}: {error}"]) from error
    if problem := teacher.size_problem(*config.train_size):
        raise ConfigError([f"{KEY}: {source.run.id} cannot see {config.train_size_key}: {problem}"])


def _refuse_unfit_run(store: Store, config: RunConfig, source: Source, waits_for: str) -> None:
    """Raises ConfigError for a run that is still to change its network, or that knows other classes."""
    try:
        row = store.run(source.run.id)
    except StoreError:
        return  # a folder that the database does not know
    if not row.ended and row.id != waits_for:
        wait = f"with --queue --after {row.id} a run waits for it"
        raise ConfigError([f"{KEY}: {row.id} is {row.status} and its network still changes; {wait}"])
    if not learns_classes(row.task, row.classes):
        raise ConfigError([f"{KEY}: {row.id} is of the task {row.task}, whose network knows no classes"])
    known = config.data.known_classes
    class_set = known if isinstance(known, ClassSet) else CITYSCAPES  # for which nothing is written out
    ours = class_set.without(config.data.held_out).names
    if row.classes and row.classes != ours:
        raise ConfigError([f"{KEY}: {row.id} {other_classes(row.classes, ours)}"])
