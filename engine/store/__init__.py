"""The database of runs: the only room that speaks SQL.

Front ends and the agent use the verbs of `Store` and get frozen snapshots; people who query the database
themselves use the views that `docs/database.md` describes.
"""

from engine.store.errors import IngestConflict, NoSuchRun, StoreError
from engine.store.rows import (
    CAUSES,
    END_STATUSES,
    STATUSES,
    CorruptionRow,
    EpochRow,
    EvaluationRow,
    EventRow,
    ExperimentRow,
    ImageRow,
    OodImageRow,
    OodRow,
    RunRow,
)
from engine.store.store import Store
from engine.store.summaries import Changes, RunSummary

__all__ = [
    "CAUSES",
    "END_STATUSES",
    "STATUSES",
    "Changes",
    "CorruptionRow",
    "EpochRow",
    "EvaluationRow",
    "EventRow",
    "ExperimentRow",
    "ImageRow",
    "IngestConflict",
    "NoSuchRun",
    "OodImageRow",
    "OodRow",
    "RunRow",
    "RunSummary",
    "Store",
    "StoreError",
]
