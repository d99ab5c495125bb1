"""The tasks of runs by name, for those who need no more of a config than that."""

from __future__ import annotations

TASKS = ("train", "pretrain", "evaluate", "predict", "ood", "robustness")

LEARNING_TASKS = ("train", "pretrain")
"""Those that have epochs; the others look at the network of a run that has learned."""
