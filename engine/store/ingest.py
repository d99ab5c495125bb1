"""Folding the events of a journal into the rows of its run.

`fold` is called within a transaction and leaves what a reader of the whole journal would find: the rows of
the last attempt's curve, the scores of the best and the last epoch, the status the worker last told.

Status. The first event of a new attempt sets the run running and clears how the attempt before had
ended. An end event ends the run; it is the worker's own word and also replaces an end that somebody else
presumed ("lost"). Events older than the present status do not change it: those of an attempt that had ended
before the run was queued again, and the first of an attempt whose worker was since found dead. Attempts have
numbers, which say what is older; clocks do not, as they differ between hosts and may be set back. A stop that
was asked for while the worker came up stays asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from engine.run.events import (
    AnyEvent,
    CorruptionResult,
    Data,
    Detecting,
    Epoch,
    Evaluating,
    Event,
    Failed,
    Finished,
    ImageScores,
    Model,
    OodImage,
    OodResult,
    Predicting,
    Progress,
    Result,
    Speed,
    Started,
    Stopped,
)
from engine.store.rows import END_STATUSES
from engine.store.schema import (
    corruptions,
    epochs,
    events,
    images,
    ood_images,
    ood_results,
    results,
    runs,
)

NO_PROGRESS: dict[str, Any] = {"phase": "", "eta_seconds": None}
NO_END: dict[str, Any] = {"cause": "", "message": "", "traceback": "", "ended_at": None}

_HEAD = {"seq", "t", "attempt", "event"}
_SCORES = {"dice", "dice_image", "miou", "pixel_accuracy", "class_dice", "class_iou"}
_IN_OTHER_TABLES: dict[type[Event], set[str]] = {
    Epoch: _SCORES | {"loss", "lr", "seconds", "images_per_second", "data_wait", "peak_memory_bytes"},
    Result: _SCORES
    | {"images", "confusion", "parameters", "flops_per_sample"}
    | {"latency_seconds", "latency_p95_seconds", "frames_per_second"},
    OodResult: {"risk_coverage"},
}
"""Fields of an event that have a table of their own and are not stored a second time in `events`."""


def fold(connection: sa.Connection, before: dict[str, Any], new: Sequence[AnyEvent], offset: int) -> None:
    """Write `new` events, and `offset` behind the last of them, for the run whose columns are `before`.

    Events up to the run's `journal_seq` are left out: they are there already.
    """
    run = dict(before, journal_offset=offset)
    event_rows: list[dict[str, Any]] = []
    epoch_rows: dict[tuple[str, int], dict[str, Any]] = {}
    result_rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    image_rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    images_anew = False
    ood_rows: dict[tuple[str, str], dict[str, Any]] = {}
    ood_image_rows: dict[tuple[str, str], dict[str, Any]] = {}
    ood_anew = False
    corruption_rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    kept_epochs: int | None = None

    for event in new:
        if event.seq <= run["journal_seq"]:
            continue
        run["journal_seq"] = event.seq
        known = event.attempt <= run["attempt"]
        if not known:
            _begin_attempt(run, event)
        if isinstance(event, Progress):
            _fold_progress(run, event)
            continue
        if isinstance(event, ImageScores):
            row = event.model_dump(exclude={"event", "t", "attempt"}) | {"run_id": run["id"]}
            image_rows[event.split, event.at, event.image] = row
            continue
        if isinstance(event, OodImage):
            row = event.model_dump(exclude={"event", "t", "attempt"}) | {"run_id": run["id"]}
            ood_image_rows[event.origin, event.image] = row
            continue
        event_rows.append(_event_row(run["id"], event))
        match event:
            case Started():
                _fold_start(run, event)
                kept = event.resumed_from_epoch
                kept_epochs = kept if kept_epochs is None else min(kept_epochs, kept)
                epoch_rows = {key: row for key, row in epoch_rows.items() if row["epoch"] <= kept}
                result_rows = {key: row for key, row in result_rows.items() if row["epoch"] <= kept}
            case Data():
                run |= event.model_dump(include={"train_images", "val_images", "classes", "colors"})
            case Predicting():
                run |= event.model_dump(include={"classes", "colors"})
            case Evaluating():
                run |= event.model_dump(include={"classes", "colors"})
                if event.done == 0:
                    image_rows.clear()
                    images_anew = True
            case Detecting():
                run |= event.model_dump(include={"classes", "colors"})
                ood_rows.clear()
                ood_image_rows.clear()
                ood_anew = True
            case OodResult():
                row = event.model_dump(exclude={"event", "attempt"}) | {"run_id": run["id"]}
                ood_rows[event.level, event.score] = row
            case CorruptionResult():
                row = event.model_dump(exclude={"event", "attempt", "t"}) | {"run_id": run["id"]}
                corruption_rows[event.split, event.corruption, event.strength] = row
            case Model():
                run |= event.model_dump(include={"parameters", "flops_per_sample"})
            case Speed():
                run |= event.model_dump(
                    include={"first_step_seconds", "achieved_flops", "ceiling_flops"}, exclude_none=True
                )
            case Epoch():
                row = event.model_dump(exclude={"event", "seq"}) | {"run_id": run["id"]}
                epoch_rows[event.split, event.epoch] = row
                run["peak_memory_bytes"] = max(run["peak_memory_bytes"] or 0, event.peak_memory_bytes)
                if event.split == "train":
                    run["images_per_second"] = event.images_per_second
            case Result():
                row = event.model_dump(exclude={"event", "attempt", "source"}) | {"run_id": run["id"]}
                result_rows[event.split, event.at, event.epoch] = row
                if run["task"] == "evaluate":
                    # Never among the best: those are what training runs found on their own split.
                    run |= {"last_dice": event.dice, "last_miou": event.miou}
            case Finished() | Failed() | Stopped():
                if not (known and run["status"] in ("queued", "starting")):
                    _fold_end(run, event)

    if kept_epochs is not None:
        for table in (epochs, results):
            connection.execute(table.delete().where(table.c.run_id == run["id"], table.c.epoch > kept_epochs))
    _replace(connection, epochs, list(epoch_rows.values()))
    _replace(connection, results, list(result_rows.values()))
    if images_anew:
        connection.execute(images.delete().where(images.c.run_id == run["id"]))
    _replace(connection, images, list(image_rows.values()))
    if ood_anew:
        for table in (ood_results, ood_images):
            connection.execute(table.delete().where(table.c.run_id == run["id"]))
    _replace(connection, ood_results, list(ood_rows.values()))
    _replace(connection, ood_images, list(ood_image_rows.values()))
    _replace(connection, corruptions, list(corruption_rows.values()))
    if event_rows:
        connection.execute(events.insert(), event_rows)
    if run["task"] != "evaluate" and (epoch_rows or kept_epochs is not None):
        run |= _summary(connection, run["id"], run["task"] == "pretrain")
    changed = {name: value for name, value in run.items() if value != before[name]}
    if changed:
        connection.execute(runs.update().where(runs.c.id == run["id"]).values(changed))


def _begin_attempt(run: dict[str, Any], event: AnyEvent) -> None:
    claimed = (run["claimed_by"] or {}).get("attempt", 0)
    presumed_over = run["status"] in END_STATUSES and event.attempt <= claimed
    if not presumed_over:
        run |= NO_END
        if run["status"] != "stopping":
            run["status"] = "running"
    run |= NO_PROGRESS | {"step": None, "steps": None, "images_per_second": None, "progress_at": None}
    run["attempt"] = event.attempt
    if run["started_at"] is None:
        run["started_at"] = event.t


def _fold_start(run: dict[str, Any], event: Started) -> None:
    for name in ("host", "pid", "device", "device_name", "precision"):
        run[name] = getattr(event, name)


def _fold_progress(run: dict[str, Any], event: Progress) -> None:
    run |= {"phase": event.phase, "step": event.step, "steps": event.steps, "progress_at": event.t}
    # The speed of a run is that of its training; scoring is faster and says nothing of the time left. A phase
    # that does not know the time left leaves the last one known.
    if event.phase not in ("cache", "val") and event.images_per_second is not None:
        run["images_per_second"] = event.images_per_second
    if event.eta_seconds is not None:
        run["eta_seconds"] = event.eta_seconds


def _fold_end(run: dict[str, Any], event: Finished | Failed | Stopped) -> None:
    wanted = run["status"] == "stopping"
    run |= NO_END | NO_PROGRESS | {"status": event.event, "ended_at": event.t}
    run["cause"] = "completed" if isinstance(event, Finished) else event.cause
    if wanted and isinstance(event, Stopped):
        run["cause"] = "stopped"  # also when it was preempted at the same time: it is not to be queued again
    if isinstance(event, Failed):
        run |= {"message": event.message, "traceback": event.traceback}


def _event_row(run_id: str, event: AnyEvent) -> dict[str, Any]:
    payload = event.model_dump(mode="json", exclude=_HEAD | _IN_OTHER_TABLES.get(type(event), set()))
    return {
        "run_id": run_id,
        "seq": event.seq,
        "t": event.t,
        "attempt": event.attempt,
        "event": event.event,
        "payload": payload,
    }


def _replace(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows; those with the same key make way."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    same = sa.and_(*(table.c[name] == sa.bindparam(f"old_{name}") for name in keys))
    old = [{f"old_{name}": row[name] for name in keys} for row in rows]
    connection.execute(table.delete().where(same), old)
    connection.execute(table.insert(), rows)


def _summary(connection: sa.Connection, run_id: str, by_loss: bool) -> dict[str, Any]:
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
