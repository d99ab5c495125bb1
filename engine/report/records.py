"""The columns of tables of epochs, classes, evaluations and environments. Those of runs are in
`engine.report.runs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.store import EnvironmentRow, EpochRow, EvaluationRow, RunRow


@dataclass(frozen=True, slots=True)
class EpochOfRun:
    """The scores of one epoch on one split, with the run that they are of."""

    run: RunRow
    epoch: EpochRow


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Dice and IoU of one class, from 0 to 1, at one epoch on one split; None where it is neither in the
    labels nor predicted."""

    run: str
    name: str
    epoch: int
    split: str
    class_name: str
    dice: float | None
    iou: float | None


@dataclass(frozen=True, slots=True)
class EvaluationOfRun:
    """An evaluation, with the run whose network was scored."""

    run: RunRow
    scores: EvaluationRow


@dataclass(frozen=True, slots=True)
class EnvironmentOfRun:
    """The scores in one environment, with the run whose network was scored."""

    run: RunRow
    scores: EnvironmentRow


def epoch_record(row: EpochOfRun) -> dict[str, Any]:
    scores = asdict(row.epoch)
    del scores["class_dice"], scores["class_iou"]
    return {"run": row.run.id, "name": row.run.name, **scores}


def evaluation_record(row: EvaluationOfRun) -> dict[str, Any]:
    scores = asdict(row.scores)
    for several in ("class_dice", "class_iou", "confusion", "source"):
        del scores[several]
    return {"run": row.run.id, "name": row.run.name, "evaluation": scores.pop("run_id"), **scores}


def environment_record(row: EnvironmentOfRun) -> dict[str, Any]:
    scores = asdict(row.scores)
    for several in ("class_dice", "class_iou", "source"):
        del scores[several]
    return {"run": row.run.id, "name": row.run.name, "generalisation": scores.pop("run_id"), **scores}


def class_scores(row: EpochOfRun) -> Iterator[ClassScore]:
    """The scores of an epoch, one class after the other."""
    epoch = row.epoch
    for name, dice in epoch.class_dice.items():
        iou = epoch.class_iou.get(name)
        yield ClassScore(row.run.id, row.run.name, epoch.epoch, epoch.split, name, dice, iou)


def class_record(row: ClassScore) -> dict[str, Any]:
    record = asdict(row)
    record["class"] = record.pop("class_name")
    return record


def columns_of(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Records as columns: one for each key that any of them has, in the order in which the keys appear first,
    with None where a record lacks it. What has several parts, such as a size, is written as it would be
    typed."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [_cell(record.get(name)) for record in records] for name in names}


def _cell(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    from engine.config.described import format_value  # the config takes a while to import

    return format_value(value)
