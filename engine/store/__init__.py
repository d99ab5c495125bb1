"""The database of runs: the only room that speaks SQL.

Front ends and the agent use `Store` and what it holds (`lifecycle`, `queue`, `agents`, `journals`, `results`,
`checks`) and get frozen snapshots; people who query the database themselves use the views that
`docs/database.md` describes.

What needs SQLAlchemy is imported when it is first asked for: its import takes longer than all else that a
program needs which only names rows and errors.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.store.agent_rows import AgentState
from engine.store.errors import DamagedRow, IngestConflict, NoSuchRun, StoreError, UnfitRun
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
from engine.store.summary_rows import Changes, RunSummary, Sibling

if TYPE_CHECKING:
    from engine.store.filters import NOT_ARCHIVED
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
    from engine.store.store import Store

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

_LATER = {
    "CorruptionRow": "result_rows",
    "CrfRow": "result_rows",
    "CrfTrialRow": "result_rows",
    "EnvironmentRow": "result_rows",
    "EvaluationRow": "result_rows",
    "ImageRow": "result_rows",
    "LatencyRow": "result_rows",
    "MetricRow": "result_rows",
    "OodImageRow": "result_rows",
    "OodRow": "result_rows",
    "NOT_ARCHIVED": "filters",
    "Notice": "notices",
    "Store": "store",
}
"""Names from modules that import SQLAlchemy, or take long to make what few programs need."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
