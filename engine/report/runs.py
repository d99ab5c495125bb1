"""Runs as a table for people and as records for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from rich.text import Text

from engine.report.csv_text import csv_text
from engine.report.short_names import ShortNames
from engine.report.tables import Column, age, score, text_table
from engine.store import BEST, PRUNED, RunRow
from engine.tasks import TASKS, USUAL, Outcome

if TYPE_CHECKING:
    from engine.report.waiting import Wait
    from engine.store import RunSummary

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

_NOT_IN_CSV = (
    "stored_config",
    "classes",
    "colors",
    "traceback",
    "journal_offset",
    "journal_seq",
    "claimed_by",
)
_CSV_FIELDS = tuple(field.name for field in fields(RunRow) if field.name not in _NOT_IN_CSV)
_ONE_FACT = ("recipe", "seed", "task")
"""Fields of a run that its config says in the same words."""


@dataclass(frozen=True)
class Beside:
    """What a table tells of runs besides what they are. By id: how they wait, their validation Dice as
    sparklines, and what tells them from their siblings. By name: `more` columns."""

    waits: Mapping[str, Wait] = field(default_factory=dict)
    curves: Mapping[str, str] = field(default_factory=dict)
    differs: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Column] = field(default_factory=dict)


def runs_table(
    rows: Sequence[RunRow],
    now: float,
    width: int | None,
    beside: Beside | None = None,
    chosen: Sequence[str] = (),
) -> Text:
    """One line a run; `now` is UTC seconds, `width` the columns there are room for (None: any number). Of the
    columns those that are `chosen`, in that order; without a choice the usual ones."""
    beside = beside or Beside()
    known = {
        "id": Column("id", [row.id for row in rows]),
        "status": Column("status", [_status(row, beside) for row in rows], rank=1),
        "task": Column("task", [row.task for row in rows], rank=2),
        "name": Column("name", _names(rows, width), least=10),
        "trial": Column("trial", [trial_words(row) for row in rows], rank=2),
        "experiment": Column("experiment", [row.experiment for row in rows], rank=8, least=10),
        "recipe": _recipe_column(rows, beside),
        "progress": Column("val Dice", [beside.curves.get(row.id, "") for row in rows], rank=7),
        "epoch": Column("epoch", [done(row) for row in rows], right=True, rank=2),
        "best": Column("best Dice @ epoch", [_found(row, beside) for row in rows], right=True),
        "last": Column("last Dice", [score(row.last_dice) for row in rows], right=True, rank=3),
        "miou": Column("mIoU", [score(mean_iou(row)) for row in rows], right=True, rank=5),
        **_critical_column(rows),
        "speed": Column("images/s", [_rate(row) for row in rows], right=True, rank=6),
        "age": Column("age", [age(now - row.created_at) for row in rows], right=True, rank=4),
        **_kept_column(rows),
        "device": Column("device", [row.device_name or row.device or "-" for row in rows], rank=8, least=12),
    }
    if chosen:
        every = {**beside.more, **known}
        return text_table([replace(every[name], rank=place) for place, name in enumerate(chosen)], width)
    if all(row.task == USUAL for row in rows):
        del known["task"]
    if all(row.trial is None for row in rows):
        del known["trial"]
    if not any(known["progress"].cells):
        del known["progress"]
    return text_table(list(known.values()), width)


def _names(rows: Sequence[RunRow], width: int | None) -> list[str]:
    """Whole, or where that would take a third of the table as short as tells them apart."""
    names = [row.name for row in rows]
    if width is None:
        return names
    short = ShortNames(names)
    return [short.fit(name, max(24, width // 3)) for name in names]


def _status(row: RunRow, beside: Beside) -> tuple[str, str]:
    text, style = status_cell(row)
    wait = beside.waits.get(row.id)
    return (text, style) if wait is None else (wait.status, style)


def _found(row: RunRow, beside: Beside) -> tuple[str, str]:
    """What a run has found; of one that is queued why it waits and when it may begin."""
    wait = beside.waits.get(row.id)
    return (wait.brief, "italic") if wait is not None and wait.brief else (best_score(row), "bold")


def _recipe_column(rows: Sequence[RunRow], beside: Beside) -> Column:
    """What tells runs from those that were made alike, else their recipe."""
    told = [beside.differs.get(row.id, "") for row in rows]
    if not any(told):
        return Column("recipe", [row.recipe or "-" for row in rows], rank=9)
    cells = [text or (row.recipe or "-", "dim") for text, row in zip(told, rows, strict=True)]
    return Column("differs in", cells, rank=9, least=12)


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


def outcome(row: RunRow | RunSummary) -> Outcome | None:
    """What a run has found, by its task; None while there is none."""
    return TASKS[row.task].outcome(row)


def worded(found: Outcome) -> str:
    """An outcome in words: "best Dice 0.6112 @ 12"; a count as the column tells it."""
    if found.is_count:
        return found.brief.format(f"{found.value:,}")
    return f"{found.name} {_value(found)} {found.of}".rstrip()


def best_score(row: RunRow | RunSummary) -> str:
    """The best Dice, as the column of that name has it; what a run has found otherwise says what it is."""
    found = outcome(row)
    if found is None:
        return "-"
    return found.brief.format(_value(found))


def _value(found: Outcome) -> str:
    if found.is_count:
        return f"{found.value:,}"
    return f"{found.value:.1f}" if found.is_speed else score(found.value)


def mean_iou(row: RunRow | RunSummary) -> float | None:
    """The mean IoU that belongs to what a run has found."""
    return TASKS[row.task].miou(row)


def done(row: RunRow | RunSummary) -> str:
    """How far a run is: in epochs, or in images where it looks at the network of another run."""
    return TASKS[row.task].done(row)


def run_record(row: RunRow) -> dict[str, Any]:
    """Everything the database knows of a run itself, as JSON values; times are UTC seconds."""
    record = {"config" if key == "stored_config" else key: value for key, value in asdict(row).items()}
    return record | {"config": row.config}


def run_values(row: RunRow) -> dict[str, Any]:
    """A run as one line of a table: every field that is one value, the tags, separated by commas, and the
    config by dotted key. A key whose name a field has gets `config.` before it, unless both are one fact."""
    from engine.config.stored import flat_values  # takes longer than listing all runs

    fields_of_run = {name: getattr(row, name) for name in _CSV_FIELDS}
    fields_of_run["tags"] = ",".join(row.tags)
    for key, value in flat_values(row.stored_config).items():
        if key not in fields_of_run:
            fields_of_run[key] = value
        elif key not in _ONE_FACT:
            fields_of_run[f"config.{key}"] = value
    return fields_of_run


def config_of_values(line: Mapping[str, str]) -> dict[str, str]:
    """The config, but for the task, in a line that `run_values` has made and that was read from a file."""
    fields_of_run = {*_CSV_FIELDS, "tags"} - ({*_ONE_FACT} - {"task"})
    told = {name: value for name, value in line.items() if value and name not in fields_of_run}
    return {name.removeprefix("config."): value for name, value in told.items()}


def runs_csv(rows: Sequence[RunRow]) -> str:
    """Runs as CSV with a header: `run_values`, with a column for each config key that any of them has."""
    lines = [run_values(row) for row in rows]
    names = list(dict.fromkeys([*_CSV_FIELDS, *(name for line in lines for name in line)]))
    return csv_text(names, ([_csv_cell(name, line.get(name)) for name in names] for line in lines))


def _csv_cell(name: str, value: Any) -> Any:
    """A config value as it would be typed; nothing for None."""
    from engine.config.described import format_value

    return value if value is None or name in _CSV_FIELDS else format_value(value)


def _kept_column(rows: Sequence[RunRow]) -> dict[str, Column]:
    """Which runs are archived and protected, where any is."""
    told = [kept_words(row) for row in rows]
    return {"kept": Column("kept", told, rank=4)} if any(told) else {}


def kept_words(row: RunRow | RunSummary) -> str:
    """Whether a run is archived and protected, in words."""
    return ", ".join(word for word, so in (("archived", row.archived), ("protected", row.protected)) if so)


def trial_words(row: RunRow | RunSummary) -> str:
    """The number of a trial, and whether it is the best of its search or was pruned; "" for other runs."""
    if row.trial is None:
        return ""
    return " ".join([f"{row.trial:>3}", *(tag for tag in (BEST, PRUNED) if tag in row.tags)])


def _critical_column(rows: Sequence[RunRow]) -> dict[str, Column]:
    """The recall of the critical class that is found least, where any run has one."""
    if all(row.critical_recall is None for row in rows):
        return {}
    recalls = [score(row.critical_recall) for row in rows]
    return {"critical": Column("critical recall", recalls, right=True, rank=4)}


def _rate(row: RunRow) -> str:
    return "-" if row.images_per_second is None else f"{row.images_per_second:.1f}"
