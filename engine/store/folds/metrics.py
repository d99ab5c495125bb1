"""Metrics of one's own, which epochs and results carry."""

from __future__ import annotations

from typing import Literal

from engine.run.event import MetricScore
from engine.store.folds.folding import Folding
from engine.store.result_tables import metrics


def put_metrics(
    folding: Folding,
    scores: list[MetricScore],
    measured: Literal["epoch", "result"],
    split: str,
    at: str,
    epoch: int,
    seq: int,
) -> None:
    """A row for each number: of the whole split (class_name "") and, where there are such, of each class."""
    for score in scores:
        about = score.model_dump(include={"unit", "low", "high", "better"})
        about |= {"measured": measured, "split": split, "at": at, "epoch": epoch, "seq": seq}
        for name, value in ({"": score.value} | score.classes).items():
            folding.put_row(metrics, about | {"metric": score.name, "class_name": name, "value": value})
