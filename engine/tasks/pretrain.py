"""The task `pretrain`: learn to remove noise from images, for a training run to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.tasks.task import LearningTask, WholeRun

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig


class Pretrain(LearningTask):
    name = "pretrain"
    does = "learn to denoise images, without labels"
    needs_labels = False
    section = "pretrain"
    worker = "engine.training.pretrain:pretrain"
    objective_maker = "engine.training.objectives:denoising"

    def channels(self, classes: int) -> int:
        """The noise of each colour."""
        return 3

    def check_config(self, config: RunConfig) -> None:
        if config.pretrain.epochs > 0:
            raise ValueError("pretrain.epochs: works with task=train only; for task=pretrain set epochs")

    def without_pictures(self, run: WholeRun) -> str:
        return f"{run.id} ({run.name}) predicts no classes: pre-training only learns to denoise images."
