"""The columns of the run table: what each says of a run and of a group of runs, and how it sorts.

Pure functions of summaries and the time: a line costs the same with ten runs and with ten thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from engine.report.runs import best_score, done, mean_iou, outcome, status_cell, status_within, trial_words
from engine.report.short_names import without_sections
from engine.report.siblings import Siblings
from engine.report.tables import age, duration, score, thin_bar
from engine.report.waiting import Wait
from engine.store import BEST, RunSummary
from engine.tasks import TASKS
from engine.visible import one_line

BAR_CELLS = 8
"""Width of a progress bar in characters."""

Cell = tuple[str, str]
"""Text and its Rich style; "" is the style of the line."""


@dataclass
class Seen:
    """What a line tells of a run besides its summary: at which time, in UTC seconds, it is looked at; how
    queued runs wait; sparklines of the validation Dice, by id; and what tells runs from their siblings."""

    now: float = 0.0
    waits: Mapping[str, Wait] = field(default_factory=dict)
    curves: Mapping[str, str] = field(default_factory=dict)
    siblings: Siblings = field(default_factory=Siblings)


@dataclass(frozen=True)
class Column:
    """One column. Where there is little room, columns of the highest `rank` are left out first; those that
    `grow` are from `least` to `most` wide, as their texts need it. `within` has a text that fits into a
    width, for cells that else would be cut; `brief` is such a text for a width that is not known yet. A
    `stepwise` column has no use for a width between that of its brief and that of its whole texts. Runs for
    which `alike` is equal have texts of one width; None: hardly any are. The first `drawn` characters are a
    picture, in the colour of pictures."""

    key: str
    title: str
    cell: Callable[[RunSummary, Seen], Cell]
    value: Callable[[RunSummary], Any]
    width: int
    rank: int
    right: bool = False
    falling: bool = False
    grow: bool = False
    least: int = 0
    most: int = 0
    stepwise: bool = False
    alike: Callable[[RunSummary], Hashable] | None = None
    within: Callable[[RunSummary, str, int], str] | None = None
    brief: Callable[[RunSummary, str], str] | None = None
    drawn: int = 0


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


def _progress(run: RunSummary, seen: Seen) -> Cell:
    """A bar and what is left of a run under way; of one that has ended its curve and what it took, or how far
    it came."""
    share = progress_of(run)
    if run.status == "queued" and share == 0:
        return "", ""
    if not run.ended:
        drawn = thin_bar(share, BAR_CELLS).ljust(BAR_CELLS, "─")
        if run.status == "queued":
            return f"{drawn} {share:6.0%}", "dim"
        left = duration(run.eta_seconds) if run.eta_seconds is not None else run.phase or "..."
        return f"{drawn} {left:>6}", ""
    curve = seen.curves.get(run.id, "")
    if run.status != "finished":
        told = f"{share:.0%}"
    elif run.started_at is None or run.ended_at is None:
        told = ""
    else:
        told = duration(run.ended_at - run.started_at)
    return f"{curve:<{BAR_CELLS}} {told:>6}", "dim"


def _plain(text: str) -> Cell:
    return one_line(text), ""


def _status(run: RunSummary, seen: Seen) -> Cell:
    """The status; of a run that is at work also how far it is, as a bar needs more room than many have."""
    text, style = status_cell(run)
    wait = seen.waits.get(run.id)
    if wait is not None:
        return wait.status, style
    share = progress_of(run) if run.status == "running" else 0
    return (f"{text} {share:3.0%}", style) if share else (text, style)


def _best(run: RunSummary, seen: Seen) -> Cell:
    """What the run has found; of one that is queued why it waits and when it may begin."""
    wait = seen.waits.get(run.id)
    if wait is not None and wait.brief:
        return one_line(wait.brief), "italic"
    return best_score(run), "dim" if outcome(run) is None else "bold"


def _alike_best(run: RunSummary) -> Hashable:
    """A Dice has one width, and others depend on their value."""
    if run.best_dice is not None and TASKS[run.task].learns and run.status != "queued":
        return run.task, len(str(run.best_epoch))
    return run.id, run.changed


def _brief_best(run: RunSummary, text: str) -> str:
    """No more than others need: names and reasons may be long."""
    return text if outcome(run) is not None else ""


def _recipe(run: RunSummary, seen: Seen) -> Cell:
    """What tells the run from those that were made alike, else its recipe."""
    text = seen.siblings.text(run)
    return (one_line(text), "") if text else _plain(run.recipe or "-")


def _trial(run: RunSummary, seen: Seen) -> Cell:
    return trial_words(run), "bold" if BEST in run.tags else ""


def _score(value: float | None) -> Cell:
    return score(value), "" if value is not None else "dim"


def _speed(run: RunSummary, seen: Seen) -> Cell:
    return ("-", "dim") if run.images_per_second is None else (f"{run.images_per_second:.1f}", "")


def _age(run: RunSummary, seen: Seen) -> Cell:
    return age(seen.now - run.created_at), ""


def device_of(run: RunSummary) -> str:
    """What a run computes on, as short as it is clear: "cuda:0 H100 80GB", "cpu"."""
    name = run.device_name.removeprefix("NVIDIA ").strip()
    return f"{run.device} {name}".strip() if run.device != "cpu" else run.device or "-"


COLUMNS: tuple[Column, ...] = (
    Column(
        "status",
        "status",
        _status,
        lambda r: r.status,
        21,
        1,
        grow=True,
        least=8,
        most=21,
        stepwise=True,
        alike=lambda r: (r.status, r.cause, r.status == "running" and progress_of(r) > 0),
        within=lambda r, text, width: text if len(text) <= width else status_within(r, width),
        brief=lambda r, text: status_within(r, 16),  # "failed: diverged"; others have a shorter word
    ),
    Column(
        "name",
        "name",
        lambda r, s: _plain(r.name),
        lambda r: r.name.casefold(),
        24,
        0,
        grow=True,
        least=16,
        most=72,
        stepwise=True,
        brief=lambda r, text: without_sections(text),
    ),
    Column(
        "trial",
        "trial",
        _trial,
        lambda r: r.trial,
        10,
        3,
        grow=True,
        least=5,
        most=10,
        alike=lambda r: (r.trial, r.tags),
    ),
    Column(
        "task",
        "task",
        lambda r, s: (r.task, ""),
        lambda r: r.task,
        10,
        2,
        grow=True,
        least=5,
        most=10,
        alike=lambda r: r.task,
    ),
    Column(
        "experiment",
        "experiment",
        lambda r, s: _plain(r.experiment),
        lambda r: r.experiment.casefold(),
        14,
        9,
        grow=True,
        least=10,
        most=24,
        alike=lambda r: r.experiment,
    ),
    Column(
        "recipe",
        "recipe",
        _recipe,
        lambda r: (r.recipe, r.variant),
        12,
        11,
        grow=True,
        least=10,
        most=40,
        alike=lambda r: (r.experiment, r.task, r.recipe, r.variant, r.seed),
    ),
    Column("progress", "progress", _progress, progress_of, BAR_CELLS + 7, 4, falling=True, drawn=BAR_CELLS),
    Column(
        "best",
        "best Dice @ epoch",
        _best,
        lambda r: r.best_dice,
        18,
        0,
        grow=True,
        least=18,
        most=32,
        right=True,
        falling=True,
        alike=_alike_best,
        brief=_brief_best,
    ),
    Column(
        "last",
        "last Dice",
        lambda r, s: _score(r.last_dice),
        lambda r: r.last_dice,
        9,
        6,
        right=True,
        falling=True,
    ),
    Column("miou", "mIoU", lambda r, s: _score(mean_iou(r)), mean_iou, 6, 8, right=True, falling=True),
    Column(
        "epoch",
        "epoch",
        lambda r, s: (done(r), ""),
        lambda r: r.epoch,
        9,
        5,
        alike=lambda r: (r.task, r.epoch, r.epochs, r.step, r.steps),
        grow=True,
        least=10,
        most=18,
        right=True,
        falling=True,
    ),
    Column("speed", "images/s", _speed, lambda r: r.images_per_second, 8, 10, right=True, falling=True),
    Column(
        "age", "age", lambda r, s: (age(s.now - r.created_at), ""), lambda r: -r.created_at, 4, 7, right=True
    ),
    Column(
        "device",
        "device",
        lambda r, s: _plain(device_of(r)),
        lambda r: device_of(r) or None,
        12,
        12,
        grow=True,
        least=6,
        most=24,
        alike=lambda r: (r.device, r.device_name),
    ),
)
"""In the order of the table. `falling` columns sort from high to low first."""

BY_KEY = {column.key: column for column in COLUMNS}


@cache
def column_named(name: str) -> Column:
    """A column of the table, or one of what runs have under a name that filters know. Raises StoreError."""
    if name in BY_KEY:
        return BY_KEY[name]
    from engine.report.run_values import is_number, told_value
    from engine.store.filters import column_of

    kind = column_of(name)[1]

    def cell(run: RunSummary, seen: Seen) -> Cell:
        text = told_value(kind, run.also.get(name))
        return text, "dim" if text == "-" else ""

    return Column(
        key=name,
        title=name if len(name) <= 16 else name.rpartition(".")[2],
        cell=cell,
        value=lambda run: None if run.also.get(name) == "" else run.also.get(name),  # as `told_value` has it
        width=8,
        rank=1,  # somebody has asked for it
        right=is_number(kind),
        falling=kind in ("share", "duration", "bytes", "time"),
        grow=True,
        least=6,
        most=28,
    )


def names_besides(columns: Iterable[str]) -> tuple[str, ...]:
    """Of some columns those whose values are no part of a summary."""
    return tuple(dict.fromkeys(name for name in columns if name not in BY_KEY))
