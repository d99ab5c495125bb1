"""Networks that bring a loss of their own, and tasks that they cannot do. Free of torch."""

from __future__ import annotations

from engine.config.keys import ConfigError
from engine.config.run_config import RunConfig
from engine.tasks import TASKS, USUAL


def refuse_own_loss_without_classes(config: RunConfig) -> None:
    """Raise ConfigError where a network brings a loss of classes and the task has none to learn."""
    key = config.model.own_loss_key()
    if key and not TASKS[config.task].learns_classes:
        name = key.partition("=")[0]
        raise ConfigError(
            [f"{name}: {key} brings a loss over classes, and task={config.task} has none; use task={USUAL}"]
        )
