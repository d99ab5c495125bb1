"""What the store hands out: frozen snapshots. Nothing in them changes when the database does.

Here are runs, their epochs and their events; `result_rows` has what the tasks that score have measured.
All times are UTC seconds; a score is in [0, 1], None where there is none. `docs/database.md` describes
each field under the column of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.store.errors import StoreError

STATUSES = ("queued", "starting", "running", "stopping", "finished", "failed", "stopped", "lost")
END_STATUSES = ("finished", "failed", "stopped", "lost")
CAUSES = (
    "completed",
    "early_stop",
    "budget",
    "exception",
    "out_of_memory",
    "diverged",
    "killed",
    "preempted",
    "timeout",
    "lost_host",
    "stopped",
    "dependency",
)


BEST, PRUNED = "best", "pruned"
"""Tags that a search gives to the best of its trials and to those that it has stopped."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as it is now. `stored_config` is the frozen RunConfig as plain JSON values, of the version that
    made the run; `best_val_loss` is the validation loss at `best_epoch`. Where the run has a budget,
    `budget_used` is the share that is used and `epochs`, whose number follows from it, is 0.

    `auroc` is the highest of the scores of a run of the task `ood`, of pixels where there are masks, and
    `auroc_score` names that score; `unseen_dice` is the mean Dice over the data sets of a run of the task
    `generalise`, without any over its corruptions; `corrupted_dice` is the mean Dice over the corruptions at
    `HARDEST` of a run of the task `robustness`; `crf_miou` is the highest mean IoU of the trials of a run of
    the task `crf-search`; `frames_per_second` is that of the first measurement of a run of the task
    `latency`; `critical_recall` is that of the critical class found least, on the validation split at
    `best_epoch` or, of the task `evaluate`, on what it scored.

    What it cost is the sum over the `attempts_measured` of its attempts that told it, None where nothing is
    measured: `device_hours`, and `energy_kwh`, which is `gpu_kwh` and `cpu_kwh` together, as far as measured.
    `disk_bytes` is the size of its folder when its last attempt ended."""

    id: str
    name: str
    experiment: str
    task: str
    recipe: str
    status: str
    cause: str
    message: str
    traceback: str
    tags: tuple[str, ...]
    note: str
    seed: int
    created_at: float
    queued_at: float | None
    started_at: float | None
    ended_at: float | None
    attempt: int
    host: str
    pid: int | None
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
    flops_per_sample: int | None
    peak_memory_bytes: int | None
    train_images: int | None
    val_images: int | None
    classes: tuple[str, ...]
    colors: tuple[str, ...]
    stored_config: dict[str, Any]
    journal_offset: int
    journal_seq: int
    first_step_seconds: float | None
    achieved_flops: float | None
    ceiling_flops: float | None
    priority: int
    paused: bool
    after: str
    claimed_by: dict[str, Any] | None
    source: str
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
    critical_recall: float | None
    device_hours: float | None
    energy_kwh: float | None
    gpu_kwh: float | None
    cpu_kwh: float | None
    disk_bytes: int | None
    attempts_measured: int

    @property
    def config(self) -> dict[str, Any]:
        """The frozen RunConfig as plain JSON values, with every key of this version."""
        from engine.config.stored import whole  # takes longer than listing all runs

        return whole(self.stored_config)

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
class EpochRow:
    """The scores of one epoch on one split; the fields are those of the `epoch` event."""

    epoch: int
    split: str
    attempt: int
    t: float
    loss: float | None
    dice: float | None
    dice_image: float | None
    miou: float | None
    pixel_accuracy: float | None
    lr: float | None
    seconds: float | None
    images_per_second: float | None
    data_wait: float | None
    peak_memory_bytes: int | None
    budget_used: float | None
    joules: float | None
    class_dice: dict[str, float | None]
    class_iou: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of the journal. The scores of `epoch` and `result` events are not in `payload` again."""

    seq: int
    t: float
    attempt: int
    event: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """One experiment; `active` counts its runs that have not ended."""

    name: str
    created_at: float
    runs: int
    active: int
    best_dice: float | None


def check_status(status: str) -> None:
    """Raises StoreError for a word that is no status."""
    if status not in STATUSES:
        raise StoreError(f"{status}: is not a status; it must be one of {', '.join(STATUSES)}")
