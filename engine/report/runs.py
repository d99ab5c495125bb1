"""Runs as a table for people and as records for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from rich.text import Text

from engine.report.tables import Column, age, score, text_table
from engine.store import RunRow, RunSummary

STATUS_STYLES = {
    "queued": "dim",
    "starting": "cyan",
    "running": "bold cyan",
    "stopping": "yellow",
    "finished": "green",
    "stopped": "yellow",
    "failed": "bold red",
    "lost": "bold magenta",
}

_NOT_IN_CSV = ("config", "classes", "colors", "traceback", "journal_offset", "journal_seq", "claimed_by")


def runs_table(rows: Sequence[RunRow], now: float, width: int | None) -> Text:
    """One line a run; `now` is UTC seconds, `width` the columns there are room for (None: any number)."""
    columns = [
        Column("id", [row.id for row in rows]),
        Column("status", [status_cell(row) for row in rows], rank=1),
        *_task_column(rows),
        Column("name", [row.name for row in rows], least=10),
        Column("experiment", [row.experiment for row in rows], rank=7, least=10),
        Column("recipe", [row.recipe or "-" for row in rows], rank=9),
        Column("epoch", [_done(row) for row in rows], right=True, rank=2),
        Column("best Dice @ epoch", [(best_score(row), "bold") for row in rows], right=True),
        Column("last Dice", [score(row.last_dice) for row in rows], right=True, rank=3),
        Column("mIoU", [score(row.best_miou) for row in rows], right=True, rank=5),
        Column("images/s", [_rate(row) for row in rows], right=True, rank=6),
        Column("age", [age(now - row.created_at) for row in rows], right=True, rank=4),
        Column("device", [row.device_name or row.device or "-" for row in rows], rank=8, least=12),
    ]
    return text_table(columns, width)


def status_cell(row: RunRow | RunSummary) -> tuple[str, str]:
    """The status, with its cause when the run ended badly."""
    told = (row.cause and row.status in ("failed", "lost")) or row.cause == "preempted"
    return f"{row.status}: {row.cause}" if told else row.status, STATUS_STYLES.get(row.status, "")


def best_score(row: RunRow | RunSummary) -> str:
    """The best Dice; of a run that learns no classes the lowest validation loss, called so."""
    if row.best_dice is not None:
        return f"{row.best_dice:.4f} @ {row.best_epoch:>3}"
    return "-" if row.best_val_loss is None else f"loss {score(row.best_val_loss)} @ {row.best_epoch:>3}"


def run_record(row: RunRow) -> dict[str, Any]:
    """Everything the database knows of a run itself, as JSON values; times are UTC seconds."""
    return asdict(row)


def runs_csv(rows: Sequence[RunRow]) -> str:
    """Runs as CSV with a header: every field that is one value, and the tags, separated by commas."""
    told = [field.name for field in fields(RunRow) if field.name not in _NOT_IN_CSV]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(told)
    for row in rows:
        values = ((name, getattr(row, name)) for name in told)
        writer.writerow([",".join(value) if name == "tags" else value for name, value in values])
    return text.getvalue()


def _task_column(rows: Sequence[RunRow]) -> list[Column]:
    """What each run does, where not all of them train."""
    if all(row.task == "train" for row in rows):
        return []
    return [Column("task", [row.task for row in rows], rank=2)]


def _done(row: RunRow) -> str:
    """How far it is, in epochs, or in images where it looks at the network of another run."""
    if row.source:
        return f"{row.step or 0}/{row.steps}" if row.steps else "-"
    return f"{row.epoch}/{row.epochs}"


def _rate(row: RunRow) -> str:
    return "-" if row.images_per_second is None else f"{row.images_per_second:.1f}"
