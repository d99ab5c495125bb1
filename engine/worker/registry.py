"""The tasks: what `task` in a config names, and the function that does it."""

from __future__ import annotations

from collections.abc import Callable

from engine.inference.evaluate import evaluate
from engine.inference.ood.task import ood
from engine.inference.predict import predict
from engine.inference.robustness import robustness
from engine.training.pretrain import pretrain
from engine.training.train import train
from engine.worker.job import Job

TASKS: dict[str, Callable[[Job], None]] = {
    "train": train,
    "pretrain": pretrain,
    "evaluate": evaluate,
    "ood": ood,
    "robustness": robustness,
    "predict": predict,
}
"""Each puts its end on the record, or raises StopRequested after saving, Diverged, or what goes wrong."""
