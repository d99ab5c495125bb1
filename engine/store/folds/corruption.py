"""Robustness: the scores of corrupted images."""

from __future__ import annotations

from engine.run.scoring_events import CorruptionResult
from engine.store.folds.folding import Folding, folds
from engine.store.result_tables import corruptions


@folds(CorruptionResult)
def corruption_result(folding: Folding, event: CorruptionResult) -> None:
    folding.put(corruptions, event)
