"""Why a queued run has not started, in a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.report.runs import done
from engine.store import RunRow, RunSummary
from seg_tui.run_order import in_line
from seg_tui.widgets.columns import UNDER_WAY


def why_it_waits(row: RunRow, runs: Mapping[str, RunSummary], workspace: str, has_agent: bool) -> str:
    """What keeps a queued run among `runs`: a pause, a run that it comes after, a missing agent, a busy
    device, or those before it; "" for a run that is not queued. `workspace` is the id of the one that is
    looked at, as others have agents of their own."""
    if row.status != "queued":
        return ""
    if row.paused:
        return f"paused: `seg-engine queue unpause {row.id}` lets it start"
    if row.after:
        earlier = runs.get(row.after)
        if earlier is None:
            return f"waits for {row.after}, which is gone"
        if earlier.status != "finished":
            return f"waits for {earlier.name} ({earlier.id}): {earlier.status}, {done(earlier)}"
    if row.workspace != workspace:
        return "waits for the agent of its own workspace"
    if not has_agent:
        return "no agent is at work on this machine: `seg-engine agent` starts one"
    beside = [run for run in runs.values() if run.workspace == workspace]
    line = [run.id for run in in_line(run for run in beside if run.status == "queued" and not run.paused)]
    place = f"place {line.index(row.id) + 1} of {len(line)} in line" if row.id in line else ""
    busy = _who_is_at_work(row, (run for run in beside if run.status in UNDER_WAY))
    return ", ".join(part for part in (place, busy or "the agent takes it in a moment") if part)


def _who_is_at_work(row: RunRow, active: Iterable[RunSummary]) -> str:
    """Which device the run waits for and who has it; "" when none that it may have is taken."""
    wish = str(row.config.get("device", "auto"))
    holders = [
        run
        for run in active
        if wish == "auto" or run.device in ("", wish) or run.device.startswith(f"{wish}:")
    ]
    if not holders:
        return ""
    others = f" and {len(holders) - 1} more" if len(holders) > 1 else ""
    return f"{holders[0].device or 'its device'} is busy with {holders[0].name}{others}"
