"""The tasks: what `task` in a config names, and the function that does it."""

from __future__ import annotations

from collections.abc import Callable

from engine.tasks.evaluate import evaluate
from engine.tasks.job import Job
from engine.tasks.ood import ood
from engine.tasks.predict import predict
from engine.tasks.pretrain import pretrain
from engine.tasks.robustness import robustness
from engine.tasks.train import train

TASKS: dict[str, Callable[[Job], None]] = {
    "train": train,
    "pretrain": pretrain,
    "evaluate": evaluate,
    "ood": ood,
    "robustness": robustness,
    "predict": predict,
}
"""Each puts its end on the record, or raises StopRequested after saving, Diverged, or what goes wrong."""
