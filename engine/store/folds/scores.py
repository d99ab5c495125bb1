"""Evaluations and predictions: the scores of a checkpoint on a split and on each image."""

from __future__ import annotations

from engine.run.scoring_events import Evaluating, ImageScores, Predicting, Result
from engine.store.folds.folding import Folding, folds
from engine.store.folds.metrics import put_metrics
from engine.store.result_tables import images, results


@folds(Predicting)
def predicting(folding: Folding, event: Predicting) -> None:
    folding.take(event, "classes", "colors")


@folds(Evaluating)
def evaluating(folding: Folding, event: Evaluating) -> None:
    folding.take(event, "classes", "colors")
    if event.done == 0:
        folding.clear(images)


@folds(ImageScores, recorded=False)
def image_scores(folding: Folding, event: ImageScores) -> None:
    folding.put(images, event)


_IN_PAYLOAD = {"split", "at", "epoch", "checkpoint", "label_resize", "tta"}


@folds(Result, elsewhere={*results.c.keys(), "metrics"} - _IN_PAYLOAD)
def result(folding: Folding, event: Result) -> None:
    folding.put(results, event)
    put_metrics(folding, event.metrics, "result", event.split, event.at, event.epoch, event.seq)
    if folding.run["source"]:
        # Of another run's network: never among the best, which are what training found on its own split.
        folding.run |= {"last_dice": event.dice, "last_miou": event.miou}
