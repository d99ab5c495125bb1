"""Following thousands of runs: narrow rows, and only those that changed.

Every write to a run gives it a higher number in `changed`. Who remembers up to which one all was seen asks
for what lies above it, and pays for what happened since instead of for all that there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, NamedTuple

import sqlalchemy as sa

from engine.store.rows import END_STATUSES
from engine.store.schema import runs
from engine.store.selects import OF_RUN, TAG_SEPARATOR


class RunSummary(NamedTuple):
    """One run as a line of a table: a `RunRow` without what is long. A tuple, as there may be many thousands
    and one is made in an eighth of the time that a dataclass takes. Fields as there, but that
    `best_val_loss` is told only of runs without a Dice; `variant` is equal
    for runs that differ in their seed alone, `changed` rises with every write to the run, `wish` is the
    device that a run asks for while it is queued, "" later, `slot` are the devices of its host that an agent
    gave it while it is under way, "" at other times and without an agent: a worker that gets to see one GPU
    calls it cuda:0. `also` has what was asked for besides, by the name by which filters know it."""

    id: str
    name: str
    experiment: str
    task: str
    recipe: str
    status: str
    cause: str
    tags: tuple[str, ...]
    seed: int
    variant: str
    created_at: float
    queued_at: float | None
    started_at: float | None
    ended_at: float | None
    attempt: int
    host: str
    device: str
    device_name: str
    precision: str
    epochs: int
    epoch: int
    budget_used: float | None
    phase: str
    step: int | None
    steps: int | None
    images_per_second: float | None
    eta_seconds: float | None
    progress_at: float | None
    best_epoch: int | None
    best_dice: float | None
    best_val_loss: float | None
    best_train_dice: float | None
    best_miou: float | None
    last_dice: float | None
    last_train_dice: float | None
    last_miou: float | None
    last_loss: float | None
    last_val_loss: float | None
    parameters: int | None
    peak_memory_bytes: int | None
    achieved_flops: float | None
    ceiling_flops: float | None
    priority: int
    paused: bool
    after: str
    changed: int
    workspace: str
    archived: bool
    protected: bool
    trial: int | None
    auroc: float | None
    auroc_score: str | None
    corrupted_dice: float | None
    unseen_dice: float | None
    crf_miou: float | None
    frames_per_second: float | None
    wish: str
    slot: str
    also: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        return self.status in END_STATUSES

    @property
    def utilisation(self) -> float | None:
        """Achieved over possible FLOP/s, often called MFU; None where either is unknown."""
        if self.achieved_flops is None or not self.ceiling_flops:
            return None
        return self.achieved_flops / self.ceiling_flops


@dataclass(frozen=True, slots=True)
class Sibling:
    """A run with its config, to be told from those that were made alike. Fields as in `RunSummary` and
    `RunRow`."""

    id: str
    name: str
    experiment: str
    task: str
    recipe: str
    variant: str
    seed: int
    stored_config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of the runs since a number: the changed ones, oldest change first; the `latest` number, up
    to which nothing more will come; and how many runs there are, which says whether some are gone.

    While others write to a server, a run may have a number above `latest` and be told again next time."""

    runs: tuple[RunSummary, ...]
    latest: int
    count: int


_OF_SUMMARY: dict[str, sa.ColumnElement[Any]] = OF_RUN | {
    # Who has a Dice is not judged by a loss, and looking it up takes as long as all the rest of a run.
    "best_val_loss": sa.case((runs.c.best_dice.is_(None), OF_RUN["best_val_loss"])),
    # Configs are long, and few runs wait.
    "wish": sa.case((runs.c.status == "queued", runs.c.config["device"].as_string()), else_=""),
    "slot": sa.case(
        (
            runs.c.status.not_in((*END_STATUSES, "queued")),
            sa.func.coalesce(runs.c.claimed_by["slot"].as_string(), ""),
        ),
        else_="",
    ),
}


def _column(name: str) -> sa.ColumnElement[Any]:
    return _OF_SUMMARY[name] if name in _OF_SUMMARY else runs.c[name]


SUMMARY_COLUMNS = {name: _column(name) for name in RunSummary._fields if name != "also"}
SIBLING_COLUMNS = [_column(field.name) for field in fields(Sibling)]
_TAGS = list(SUMMARY_COLUMNS).index("tags")


_NOTHING: Mapping[str, Any] = MappingProxyType({})


def run_summary(row: Sequence[Any], also: Sequence[str] = ()) -> RunSummary:
    """`also` names what stands behind the fields of a summary."""
    values = list(row[: len(SUMMARY_COLUMNS)])
    values[_TAGS] = tuple(sorted(values[_TAGS].split(TAG_SEPARATOR))) if values[_TAGS] else ()
    values.append(dict(zip(also, row[len(SUMMARY_COLUMNS) :], strict=True)) if also else _NOTHING)
    return RunSummary(*values)
