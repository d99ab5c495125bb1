"""Latency: how long one image takes through a network."""

from __future__ import annotations

from engine.run.latency_events import LatencyResult, Timed
from engine.store.folds.folding import Folding, folds
from engine.store.result_tables import latencies


@folds(Timed)
def timed(folding: Folding, event: Timed) -> None:
    folding.clear(latencies)  # every attempt measures anew


@folds(LatencyResult)
def latency_result(folding: Folding, event: LatencyResult) -> None:
    folding.put(latencies, event)
