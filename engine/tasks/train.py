"""The task `train`: learn the classes of a data set from its labels."""

from __future__ import annotations

from engine.tasks.task import LearningTask


class Train(LearningTask):
    name = "train"
    does = "learn classes from labels"
    worker = "engine.training.train:train"
    tabs = ("curves", "classes", "results")
