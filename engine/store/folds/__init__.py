"""How each event changes the rows of its run, one module for each family of events.

A module registers a function for each of its events with `folding.folds`; being imported here makes it known.
"""

from engine.store.folds import corruption, costs, crf, curves, detection, environment, latency, scores, status

__all__ = ["corruption", "costs", "crf", "curves", "detection", "environment", "latency", "scores", "status"]
