"""The database of runs: the only room that speaks SQL.

Front ends and the agent use `Store` and what it holds (`lifecycle`, `queue`, `agents`, `journals`, `results`,
`checks`) and get frozen snapshots; people who query the database themselves use the views that
`docs/database.md` describes.
"""

from engine.store.agents import AgentState
from engine.store.errors import DamagedRow, IngestConflict, NoSuchRun, StoreError, UnfitRun
from engine.store.notices import Notice
from engine.store.result_rows import (
    CorruptionRow,
    CrfRow,
    CrfTrialRow,
    EnvironmentRow,
    EvaluationRow,
    ImageRow,
    LatencyRow,
    MetricRow,
    OodImageRow,
    OodRow,
)
from engine.store.rows import (
    BEST,
    CAUSES,
    END_STATUSES,
    PRUNED,
    STATUSES,
    EpochRow,
    EventRow,
    ExperimentRow,
    RunRow,
)
from engine.store.store import NOT_ARCHIVED, Store
from engine.store.summaries import Changes, RunSummary, Sibling

__all__ = [
    "BEST",
    "CAUSES",
    "END_STATUSES",
    "NOT_ARCHIVED",
    "PRUNED",
    "STATUSES",
    "AgentState",
    "Changes",
    "CorruptionRow",
    "CrfRow",
    "CrfTrialRow",
    "DamagedRow",
    "EnvironmentRow",
    "EpochRow",
    "EvaluationRow",
    "EventRow",
    "ExperimentRow",
    "ImageRow",
    "IngestConflict",
    "LatencyRow",
    "MetricRow",
    "NoSuchRun",
    "Notice",
    "OodImageRow",
    "OodRow",
    "RunRow",
    "RunSummary",
    "Sibling",
    "Store",
    "StoreError",
    "UnfitRun",
]
