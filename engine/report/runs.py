"""Runs as a table for people and as records for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rich.text import Text

from engine.config.task_names import LEARNING_TASKS
from engine.report.csv_text import csv_text
from engine.report.tables import Column, age, score, text_table
from engine.store import RunRow, RunSummary
from engine.store.rows import HARDEST

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
        Column("epoch", [done(row) for row in rows], right=True, rank=2),
        Column("best Dice @ epoch", [(best_score(row), "bold") for row in rows], right=True),
        Column("last Dice", [score(row.last_dice) for row in rows], right=True, rank=3),
        Column("mIoU", [score(mean_iou(row)) for row in rows], right=True, rank=5),
        Column("images/s", [_rate(row) for row in rows], right=True, rank=6),
        Column("age", [age(now - row.created_at) for row in rows], right=True, rank=4),
        Column("device", [row.device_name or row.device or "-" for row in rows], rank=8, least=12),
    ]
    return text_table(columns, width)


def status_cell(row: RunRow | RunSummary) -> tuple[str, str]:
    """The status, with its cause when the run ended badly."""
    told = (row.cause and row.status in ("failed", "lost")) or row.cause == "preempted"
    return f"{row.status}: {row.cause}" if told else row.status, STATUS_STYLES.get(row.status, "")


SHORT_CAUSES = {
    "out_of_memory": "memory",
    "exception": "error",
    "lost_host": "host",
    "dependency": "upstream",
}
"""What to call a cause where its own name has no room."""


def status_within(row: RunRow | RunSummary, width: int) -> str:
    """The status in at most `width` characters, of whole words: with its cause, with a shorter word for that,
    or alone."""
    whole = status_cell(row)[0]
    if len(whole) <= width or whole == row.status:
        return whole
    shorter = f"{row.status}: {SHORT_CAUSES.get(row.cause, row.cause)}"
    return shorter if len(shorter) <= width else row.cause if row.cause == "preempted" else row.status


@dataclass(frozen=True)
class Outcome:
    """The one number that a run is for: its `name`, its `value`, and `of`, what it is of ("@ epoch 12")."""

    name: str
    value: float
    of: str = ""

    def __str__(self) -> str:
        shown = score(self.value) if isinstance(self.value, float) else f"{self.value:,}"
        return f"{self.name} {shown} {self.of}".rstrip()


def outcome(row: RunRow | RunSummary) -> Outcome | None:
    """What a run has found, by its task: the best Dice, the lowest loss, the Dice of an evaluation, the
    highest AUROC, the Dice on the most corrupted images, the number of images. None while there is none."""
    match row.task:
        case "evaluate":
            return None if row.last_dice is None else Outcome("mean Dice", row.last_dice)
        case "ood":
            return None if row.auroc is None else Outcome("AUROC", row.auroc, row.auroc_score or "")
        case "robustness":
            if row.corrupted_dice is None:
                return None
            return Outcome("Dice", row.corrupted_dice, f"at strength {HARDEST}")
        case "predict":
            return None if not row.steps else Outcome("images", row.step or 0)
    if row.best_dice is not None:
        return Outcome("best Dice", row.best_dice, f"@ {row.best_epoch}")
    if row.best_val_loss is not None:
        return Outcome("lowest validation loss", row.best_val_loss, f"@ {row.best_epoch}")
    return None


def best_score(row: RunRow | RunSummary) -> str:
    """The best Dice, as the column of that name has it; what a run has found otherwise says what it is."""
    found = outcome(row)
    if found is None:
        return "-"
    if row.task == "predict":
        return f"{found.value:,} images"
    if row.best_dice is not None:
        return f"{row.best_dice:.4f} @ {row.best_epoch:>3}"
    if row.best_val_loss is not None:
        return f"loss {score(row.best_val_loss)} @ {row.best_epoch:>3}"
    if row.task == "robustness":
        return f"{found.value:.4f} @ strength {HARDEST}"
    return str(found).removeprefix("mean ")


def mean_iou(row: RunRow | RunSummary) -> float | None:
    """The mean IoU that belongs to the best Dice, or to the one that an evaluation has found."""
    return row.last_miou if row.task == "evaluate" else row.best_miou


def done(row: RunRow | RunSummary) -> str:
    """How far a run is: in epochs, or in images where it looks at the network of another run."""
    if row.task in LEARNING_TASKS:
        return f"{row.epoch}/{row.epochs}"
    return f"{row.step or 0}/{row.steps} images" if row.steps else "-"


def run_record(row: RunRow) -> dict[str, Any]:
    """Everything the database knows of a run itself, as JSON values; times are UTC seconds."""
    return asdict(row)


def runs_csv(rows: Sequence[RunRow]) -> str:
    """Runs as CSV with a header: every field that is one value, and the tags, separated by commas."""
    told = [field.name for field in fields(RunRow) if field.name not in _NOT_IN_CSV]
    values = ([getattr(row, name) for name in told] for row in rows)
    return csv_text(told, ([",".join(v) if isinstance(v, tuple) else v for v in line] for line in values))


def _task_column(rows: Sequence[RunRow]) -> list[Column]:
    """What each run does, where not all of them train."""
    if all(row.task == "train" for row in rows):
        return []
    return [Column("task", [row.task for row in rows], rank=2)]


def _rate(row: RunRow) -> str:
    return "-" if row.images_per_second is None else f"{row.images_per_second:.1f}"
