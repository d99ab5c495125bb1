"""Generalisation: the scores in each environment."""

from __future__ import annotations

from engine.run.scoring_events import EnvironmentResult, Generalising
from engine.store.folds.folding import Folding, folds
from engine.store.result_tables import environments


@folds(Generalising)
def generalising(folding: Folding, event: Generalising) -> None:
    folding.take(event, "classes", "colors")
    folding.clear(environments)  # every attempt tells of all of them anew


@folds(EnvironmentResult, elsewhere={"class_dice", "class_iou"})
def environment_result(folding: Folding, event: EnvironmentResult) -> None:
    folding.put(environments, event)
