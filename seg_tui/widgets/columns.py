"""The columns of the run table: what each says of a run and of a group of runs, and how it sorts.

Pure functions of summaries and the time: a line costs the same with ten runs and with ten thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size

from engine.report.runs import best_score, done, mean_iou, outcome, status_cell, status_within
from engine.report.tables import age, bar, duration, score
from engine.store import RunSummary
from engine.tasks import TASKS
from engine.visible import one_line

BAR_CELLS = 8
"""Width of a progress bar in characters."""

UNDER_WAY = ("starting", "running", "stopping")

Cell = tuple[str, str]
"""Text and its Rich style; "" is the style of the line."""


@dataclass(frozen=True)
class Column:
    """One column. Where there is little room, columns of the highest `rank` are left out first; those that
    `grow` are from `least` to `most` wide, as their texts need it. `within` has shorter words for a cell that
    is wider than its column, which else would be cut; `enough` is a width in which they tell the same."""

    key: str
    title: str
    cell: Callable[[RunSummary, float], Cell]
    value: Callable[[RunSummary], Any]
    width: int
    rank: int
    right: bool = False
    falling: bool = False
    grow: bool = False
    least: int = 0
    most: int = 0
    within: Callable[[RunSummary, int], str] | None = None
    enough: int = 0


def progress_of(run: RunSummary) -> float:
    """The share of its epochs, of its budget or of its images that a run has done, in [0, 1]; steps of the
    epoch at hand count."""
    if run.status == "finished":
        return 1.0
    if not TASKS[run.task].learns:
        return min(1.0, (run.step or 0) / run.steps) if run.steps else 0.0
    if not run.epochs:
        return run.budget_used or 0.0
    finished = float(run.epoch)
    if run.phase == "train" and run.step is not None and run.steps:
        finished += run.step / run.steps
    return min(1.0, finished / run.epochs)


def _progress(run: RunSummary, now: float) -> Cell:
    share = progress_of(run)
    if run.status == "queued" and share == 0:
        if run.paused:
            return "held back", "dim"
        return (f"after {run.after}", "dim") if run.after else ("waits", "dim")
    drawn = bar(share, BAR_CELLS).ljust(BAR_CELLS, "·")
    if run.status not in UNDER_WAY:
        return f"{drawn} {share:4.0%}", "dim"
    left = duration(run.eta_seconds) if run.eta_seconds is not None else run.phase or "..."
    return f"{drawn} {left:>6}", ""


def _plain(text: str) -> Cell:
    return one_line(text), ""


def _best(run: RunSummary, now: float) -> Cell:
    return best_score(run), "dim" if outcome(run) is None else "bold"


def _score(value: float | None) -> Cell:
    return score(value), "" if value is not None else "dim"


def _speed(run: RunSummary, now: float) -> Cell:
    return ("-", "dim") if run.images_per_second is None else (f"{run.images_per_second:.1f}", "")


def device_of(run: RunSummary) -> str:
    """What a run computes on, as short as it is clear: "cuda:0 H100 80GB", "cpu"."""
    name = run.device_name.removeprefix("NVIDIA ").strip()
    return f"{run.device} {name}".strip() if run.device != "cpu" else run.device or "-"


COLUMNS: tuple[Column, ...] = (
    Column(
        "status",
        "status",
        lambda r, n: status_cell(r),
        lambda r: r.status,
        21,
        1,
        grow=True,
        least=13,
        most=21,
        within=status_within,
        enough=16,  # "failed: diverged" and "lost: lost_host"; others have a shorter word
    ),
    Column(
        "name",
        "name",
        lambda r, n: _plain(r.name),
        lambda r: r.name.casefold(),
        24,
        0,
        grow=True,
        least=20,
        most=64,
    ),
    Column("task", "task", lambda r, n: (r.task, ""), lambda r: r.task, 10, 2, grow=True, least=10, most=10),
    Column(
        "experiment",
        "experiment",
        lambda r, n: _plain(r.experiment),
        lambda r: r.experiment.casefold(),
        14,
        8,
        grow=True,
        least=10,
        most=24,
    ),
    Column(
        "recipe",
        "recipe",
        lambda r, n: _plain(r.recipe or "-"),
        lambda r: r.recipe,
        12,
        10,
        grow=True,
        least=10,
        most=20,
    ),
    Column("progress", "progress", _progress, progress_of, BAR_CELLS + 7, 4, falling=True),
    Column(
        "best",
        "best Dice @ epoch",
        _best,
        lambda r: r.best_dice,
        18,
        0,
        grow=True,
        least=18,
        most=26,
        right=True,
        falling=True,
    ),
    Column(
        "last",
        "last Dice",
        lambda r, n: _score(r.last_dice),
        lambda r: r.last_dice,
        9,
        5,
        right=True,
        falling=True,
    ),
    Column(
        "miou",
        "mIoU",
        lambda r, n: _score(mean_iou(r)),
        mean_iou,
        6,
        7,
        right=True,
        falling=True,
    ),
    Column(
        "epoch",
        "epoch",
        lambda r, n: (done(r), ""),
        lambda r: r.epoch,
        9,
        3,
        grow=True,
        least=11,
        most=18,
        right=True,
        falling=True,
    ),
    Column("speed", "images/s", _speed, lambda r: r.images_per_second, 8, 9, right=True, falling=True),
    Column("age", "age", lambda r, n: (age(n - r.created_at), ""), lambda r: -r.created_at, 4, 6, right=True),
    Column(
        "device", "device", lambda r, n: _plain(device_of(r)), device_of, 12, 11, grow=True, least=6, most=24
    ),
)
"""In the order of the table. `falling` columns sort from high to low first."""

BY_KEY = {column.key: column for column in COLUMNS}

GAP = 2
"""Blanks between two columns."""


NICE_TO_HAVE = 8
"""Columns of this rank and above give way before a name, or why a run failed, is cut."""


def widths_for(columns: Sequence[Column], room: int, longest: dict[str, int]) -> list[tuple[Column, int]]:
    """The columns that fit into `room` characters, each with its width.

    `longest` says how wide the widest text of a growing column is, by key; none becomes wider than that.
    """

    def preferred(column: Column) -> int:
        if not column.grow:
            return column.width
        heading = len(column.title) + column.falling  # with room for the arrow of the order
        return max(heading, min(column.most, longest.get(column.key, 0)))

    def least(column: Column) -> int:
        return min(preferred(column), max(column.least, len(column.title))) if column.grow else column.width

    def needed(column: Column, first: bool) -> int:
        return preferred(column) if first and column.rank <= 1 else least(column)

    kept = list(columns)
    while len(kept) > 1:
        last = max(kept, key=lambda column: column.rank)
        first = last.rank >= NICE_TO_HAVE
        if sum(needed(column, first) for column in kept) + GAP * (len(kept) - 1) <= room:
            break
        kept.remove(last)
    widths = {column.key: least(column) for column in kept}
    spare = room - sum(widths.values()) - GAP * (len(kept) - 1)
    # Why a run failed comes first, as it needs little; then what is most needed to tell runs apart.
    for column in sorted((c for c in kept if c.grow), key=lambda c: (c.within is None, c.rank)):
        wanted = preferred(column)
        if column.within is not None and wanted - widths[column.key] > spare:
            wanted = min(wanted, column.enough)
        more = max(0, min(spare, wanted - widths[column.key]))
        widths[column.key] += more
        spare -= more
    return [(column, widths[column.key]) for column in kept]


def fitted(text: str, width: int, right: bool = False) -> str:
    """The text in exactly `width` characters; what is cut ends in "…"."""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)
