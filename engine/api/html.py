"""What a notebook shows of a workspace and of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from engine.report.runs import best_score, done, mean_iou, outcome, status_cell, worded
from engine.report.tables import age, score
from engine.store import EpochRow, RunRow
from engine.tasks import TASKS
from engine.visible import visible

WIDTH, HEIGHT = 160, 32
"""Of a curve, in pixels."""


def runs_html(root: Path, rows: Sequence[RunRow]) -> str:
    """A table of runs below the workspace's folder."""
    if not rows:
        return f"<p>{_text(str(root))}: no runs yet</p>"
    now = time.time()
    header = "".join(f"<th>{name}</th>" for name in ("id", "name", "status", "epoch", "Dice", "mIoU", "age"))
    lines = "".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in _cells(row, now)) + "</tr>" for row in rows
    )
    return f"<p>{_text(str(root))}</p><table><thead><tr>{header}</tr></thead><tbody>{lines}</tbody></table>"


def run_html(row: RunRow, curve: Sequence[EpochRow]) -> str:
    """A run in one line, with the curve of its validation Dice."""
    name, status = _text(row.name or row.id), _text(status_cell(row)[0])
    found = outcome(row)
    told = [worded(found) if found is not None else "no result yet"]
    told += [f"mIoU {score(mean_iou(row))}"] if mean_iou(row) is not None else []
    far = f"epoch {done(row)}" if TASKS[row.task].learns else done(row)
    about = _text(", ".join([*told, far] if far != "-" else told))
    return f"<p><b>{name}</b> <code>{_text(row.id)}</code> {status} &middot; {about}</p>{_curve(curve)}"


def _cells(row: RunRow, now: float) -> tuple[str, ...]:
    status = status_cell(row)[0]
    return (
        row.id, row.name, status, done(row), best_score(row), score(mean_iou(row)), age(now - row.created_at)
    )  # fmt: skip


def _curve(curve: Sequence[EpochRow]) -> str:
    """Dice over epochs as a line from 0 to 1; "" of fewer than two epochs."""
    points = [(row.epoch, row.dice) for row in curve if row.dice is not None]
    if len(points) < 2:
        return ""
    first, last = points[0][0], points[-1][0]
    places = " ".join(
        f"{(epoch - first) / (last - first) * WIDTH:.1f},{(1 - dice) * HEIGHT:.1f}" for epoch, dice in points
    )
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="validation Dice over epochs">'
        f'<polyline points="{places}" fill="none" stroke="#0072b2" stroke-width="1.5"/></svg>'
    )


def _text(text: str) -> str:
    return escape(visible(text))
