"""What is said when a run, an experiment or the queue has ended: cause and best Dice, in a line, as JSON and
as variables of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.store import RunRow, RunSummary
from engine.tasks import TASKS
from engine.visible import one_line


@dataclass(frozen=True)
class EndMessage:
    """`text` is one line; `record` has the same as JSON values."""

    text: str
    record: Mapping[str, Any]

    @property
    def variables(self) -> dict[str, str]:
        """What the command of `--on-end` finds in its environment."""
        values = {f"SEG_{name.upper()}": value for name, value in self.record.items()}
        return {name: "" if value is None else str(value) for name, value in values.items()}


def end_message(scope: str, subject: str, runs: Sequence[RunRow], workspace: str) -> EndMessage:
    """`runs` are the ended runs that it is about, the last that ended first; `workspace` is its folder."""
    best = max((run for run in runs if run.best_dice is not None), key=_dice, default=None)
    last = runs[0] if runs else None
    if scope == "run" and last is not None:
        text = sentence(last, last.message)
    elif scope == "experiment":
        text = f"experiment {subject} has ended: {_counted(runs)}"
        text += f"; best Dice {best.best_dice:.4f} ({best.name}, {best.id})" if best is not None else ""
    else:
        text = "nothing is running or queued any more"
        text += f"; the last: {sentence(last, last.message)}" if last is not None else ""
    about = last if scope != "experiment" else best or last
    record = {
        "scope": scope,
        "workspace": workspace,
        "run": about.id if about else "",
        "name": about.name if about else "",
        "experiment": subject if scope == "experiment" else about.experiment if about else "",
        "status": about.status if about else "",
        "cause": about.cause if about else "",
        "message": about.message if about else "",
        "best_dice": about.best_dice if about else None,
        "best_epoch": about.best_epoch if about else None,
        "runs": len(runs),
        "text": one_line(text),
    }
    return EndMessage(one_line(text), record)


def sentence(row: RunRow | RunSummary, message: str = "") -> str:
    """How a run ended, in a line: "unet finished (completed): best Dice 0.6312 @ 27". `message` is what is
    known of its failure."""
    parts = []
    found = TASKS[row.task].outcome(row)
    if found is not None:
        value = f"{found.value:,}" if found.is_count else f"{found.value:.{1 if found.is_speed else 4}f}"
        parts.append(" ".join(filter(None, (found.name, value, found.of))))
    if row.status in ("failed", "lost") and message:
        parts.append(message)
    head = f"{row.name} {row.status}" + (f" ({row.cause})" if row.cause and row.cause != row.status else "")
    return f"{head}: {'; '.join(parts)}" if parts else head


def _dice(row: RunRow) -> float:
    return row.best_dice or 0.0


def _counted(runs: Sequence[RunRow]) -> str:
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.status] = counts.get(run.status, 0) + 1
    return ", ".join(f"{count} {status}" for status, count in counts.items()) or "no runs"
