"""The rows of `engine.store.summaries`, for whoever shows them without a database at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from engine.store.rows import END_STATUSES

NOTHING_ELSE: Mapping[str, Any] = MappingProxyType({})
"""What a run has `also` where nothing was asked for."""


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


def packed(run: RunSummary) -> tuple[Any, ...]:
    """What of a run can be sent to another process: all but what it has `also`."""
    return run[:-1]


def unpacked(row: tuple[Any, ...]) -> RunSummary:
    return RunSummary._make((*row, NOTHING_ELSE))
