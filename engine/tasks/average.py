"""The task `average`: one network whose weights are the mean of those of several checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.tasks.task import LearningTask, Run
from engine.typed import typed

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig


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
