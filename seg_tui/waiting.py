"""Why a queued run has not started, in a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from engine.report.runs import done
from engine.store import AgentState, RunRow, RunSummary
from engine.store.agents import is_wanted, reasons_of
from seg_tui.run_order import in_line
from seg_tui.widgets.columns import UNDER_WAY


def why_it_waits(
    row: RunRow,
    runs: Mapping[str, RunSummary],
    workspace: str,
    has_agent: bool,
    holding: Sequence[AgentState] = (),
) -> str:
    """What keeps a queued run among `runs`: a pause, a run that it comes after, a missing agent, those before
    it, a busy device, other people there, or quiet hours; "" for a run that is not queued. `workspace` is the
    id of the one that is looked at, as others have agents of their own; `holding` is what its agents say."""
    if row.status != "queued":
        return ""
    if row.paused:
        return f"paused: `seg-engine queue unpause {row.id}` lets it start"
    if row.after:
        earlier = runs.get(row.after)
        if earlier is None:
            return f"waits for {row.after}, which no longer exists"
        if earlier.status != "finished":
            return f"waits for {earlier.name} ({earlier.id}): {earlier.status}, {done(earlier)}"
    if row.workspace != workspace:
        return "waits for its own workspace's agent"
    if not has_agent and not holding:
        return "no agent is running on this machine: start one with `seg-engine agent`"
    beside = [run for run in runs.values() if run.workspace == workspace]
    line = [run.id for run in in_line(run for run in beside if run.status == "queued" and not run.paused)]
    place = f"place {line.index(row.id) + 1} of {len(line)} in line" if row.id in line else ""
    busy = _who_is_at_work(row, (run for run in beside if run.status in UNDER_WAY))
    held = reasons_of(holding, _wanted(row)) if row.config.get("executor") != "slurm" else []
    causes = [cause for cause in (busy, *held) if cause] or ["the agent is about to start it"]
    return "; ".join([", ".join(part for part in (place, causes[0]) if part), *causes[1:]])


def _who_is_at_work(row: RunRow, active: Iterable[RunSummary]) -> str:
    """Which device the run waits for and who has it; "" when none that it may have is taken."""
    wanted = _wanted(row)
    holders = [run for run in active if not run.device or is_wanted(wanted, run.device)]
    if not holders:
        return ""
    others = f" and {len(holders) - 1} more" if len(holders) > 1 else ""
    return f"{holders[0].device or 'its device'} is busy with {holders[0].name}{others}"


def _wanted(row: RunRow) -> str:
    return str(row.config.get("device", "auto"))
