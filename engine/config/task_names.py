"""What is known of runs without reading one, for those who must start fast."""

from __future__ import annotations

TASKS = ("train", "pretrain", "evaluate", "predict", "ood", "robustness")

LEARNING_TASKS = ("train", "pretrain")
"""Those that have epochs; the others look at the network of a run that has learned."""

MOST_PRIORITY = 2**31 - 1
"""A place in the queue is a whole number from -MOST_PRIORITY to this: the column of a server has 32 bits."""
