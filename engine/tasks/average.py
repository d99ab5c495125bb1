"""The task `average`: one network whose weights are the mean of those of several checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.tasks.task import LearningTask, Run
from engine.typed import typed

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig

KEYS = (
    *("device", "precision", "batch_size", "validation.batch_size", "gallery.every", "gallery.images"),
    *("limits.hours", "executor"),
)
"""Config keys that mean something here, and those of `runtime` and `slurm`."""

OF_TRAINING = ("weights", "normalisation", "dropout", "drop_path")
"""Keys of networks that say how they are trained and change neither their weights nor what these compute, so
that they may differ; how images are normalised in the end has to be the same."""

PLAIN: dict[str, Any] = {"executor": "local", "devices": "1", "slurm.nodes": 1}
"""What an average has unless it is asked for something else, whatever the training had."""


def may_change(key: str) -> bool:
    """Whether `--set` may change a config key; the others are settled by the training."""
    return key in KEYS or key.startswith(("runtime.", "slurm."))


class Average(LearningTask):
    name = "average"
    does = "average the weights of checkpoints"
    section = "average"
    worker = "engine.training.average:average"
    stops_after = "batch; nothing is kept"
    doing = "estimating batch norm"
    tabs = ("classes", "results")
    first_tab = "classes"

    def check_config(self, config: RunConfig) -> None:
        if config.average is None:
            raise ValueError(f"task: average needs checkpoints; use `{typed('average')} RUN...`")

    def stopped_at(self, run: Run) -> str:
        return "nothing; it begins anew"
