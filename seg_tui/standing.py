"""How things stand with the runs of the dashboard, in words: the right side of its title, and what stands in
the place of runs that are not shown."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from engine.report.waiting import UNDER_WAY
from seg_tui.live import Snapshot
from seg_tui.run_list import RunList

HOW_TO_SEE_ARCHIVED = "x, then h shows archived runs, too"
HOW_TO_SEE_RUNS = "escape clears the filter, / edits it"


def how_things_stand(snapshot: Snapshot, shown: RunList, view: str = "", read_only: bool = False) -> str:
    """How the table is arranged and how many runs there are of each kind."""
    runs = snapshot.runs.values()
    active = sum(run.status in UNDER_WAY for run in runs)
    queued = sum(run.status == "queued" for run in runs)
    archived = sum(run.archived for run in runs)
    waits = ", no agent running: A starts one" if snapshot.unattended else ""
    marked, hidden = len(shown.marked), 0
    if marked:
        hidden = len(shown.marked - {run.id for run in shown.ordered})
    grouping = "all but the seed" if shown.grouping == "variant" else shown.grouping
    parts = [
        "read-only" if read_only or snapshot.read_only else "",
        f"view {view}" if view else "",
        f"{marked} marked" + (f", {hidden} of them hidden" if hidden else "") if marked else "",
        "follows the newest" if shown.following else "",
        f"by {grouping}" if grouping else "",
        f"{active} running" if active else "",
        f"{queued} queued{waits}" if queued else "",
        f"{archived} archived" if archived else "",
        "1 run" if len(runs) == 1 else f"{len(runs):,} runs",
    ]
    return " · ".join(part for part in parts if part)


def why_empty(snapshot: Snapshot, matching: AbstractSet[str] | None, why_none: str) -> tuple[str, ...]:
    """What is said where the table shows none of the runs that there are: `why_none` of the filter, or that
    all that meet it are archived; `matching` are the ids of those, None without a filter."""
    if why_none:
        return why_none, HOW_TO_SEE_RUNS
    runs = snapshot.runs
    found = [runs[run_id] for run_id in (runs if matching is None else matching & runs.keys())]
    if not found or not all(run.archived for run in found):
        return ()
    return f"All runs{'' if matching is None else ' that match'} are archived.", HOW_TO_SEE_ARCHIVED
