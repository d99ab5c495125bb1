"""Training: the data, the network, its speed, the curve of epochs and what sums it up."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from engine.run.events import Data, Epoch, ImportedFrom, Model, Speed
from engine.store.folds.folding import Folding, folds
from engine.store.folds.metrics import put_metrics
from engine.store.schema import epochs


@folds(Data)
def data(folding: Folding, event: Data) -> None:
    folding.take(event, "train_images", "val_images", "classes", "colors")


@folds(ImportedFrom)
def imported(folding: Folding, event: ImportedFrom) -> None:
    folding.take(event, "classes", "colors")


@folds(Model)
def model(folding: Folding, event: Model) -> None:
    folding.take(event, "parameters", "flops_per_sample")


@folds(Speed)
def speed(folding: Folding, event: Speed) -> None:
    folding.take(event, "first_step_seconds", "achieved_flops", "ceiling_flops", leave_none=True)


@folds(Epoch, elsewhere={*epochs.c.keys(), "metrics"} - {"epoch", "split"})
def epoch(folding: Folding, event: Epoch) -> None:
    folding.put(epochs, event)
    put_metrics(folding, event.metrics, "epoch", event.split, "input", event.epoch, event.seq)
    run = folding.run
    if event.peak_memory_bytes is not None:
        run["peak_memory_bytes"] = max(run["peak_memory_bytes"] or 0, event.peak_memory_bytes)
    folding.take(event, "budget_used", leave_none=True)
    if event.split == "train":
        folding.take(event, "images_per_second", leave_none=True)


def summary(connection: sa.Connection, run_id: str, by_loss: bool) -> dict[str, Any]:
    """The columns of a run that sum up its curve, from the curve itself; of equal bests the earliest. Where
    there is no Dice, the best epoch is that of the lowest loss.

    Each query finds its row by an index, so that it costs the same after 10 epochs and after 10,000.
    """

    def one(*columns: sa.ColumnElement[Any], split: str) -> sa.Select[Any]:
        return sa.select(*columns).where(epochs.c.run_id == run_id, epochs.c.split == split).limit(1)

    e = epochs.c
    val = one(e.epoch, e.dice, e.miou, e.loss, split="val")
    score = e.loss.asc() if by_loss else e.dice.desc()
    best = connection.execute(val.where(score.element.is_not(None)).order_by(score, e.epoch)).first()
    last = connection.execute(val.order_by(e.epoch.desc())).first()
    train = one(e.epoch, e.dice, e.loss, split="train")
    last_train = connection.execute(train.order_by(e.epoch.desc())).first()
    best_train = connection.execute(train.where(e.epoch == best.epoch)).first() if best else None
    return {
        "epoch": max(row.epoch if row else 0 for row in (last, last_train)),
        "best_epoch": best.epoch if best else None,
        "best_dice": best.dice if best else None,
        "best_miou": best.miou if best else None,
        "best_train_dice": best_train.dice if best_train else None,
        "last_dice": last.dice if last else None,
        "last_miou": last.miou if last else None,
        "last_val_loss": last.loss if last else None,
        "last_train_dice": last_train.dice if last_train else None,
        "last_loss": last_train.loss if last_train else None,
    }
