"""Queued runs: in which order they start, what each waits for, and when it may begin."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heapify, heappop, heappush
from statistics import median
from typing import Any, TypeVar

from engine.report.tables import duration
from engine.store import AgentState, RunRow, RunSummary
from engine.store.agent_rows import is_wanted, reasons_of
from engine.tasks import TASKS
from engine.typed import typed

AnyRun = RunRow | RunSummary
R = TypeVar("R", bound=AnyRun)

UNDER_WAY = ("starting", "running", "stopping")


@dataclass(frozen=True)
class Wait:
    """How a queued run stands: its `place` in line, from 1, None while it is held back, by a pause or by one
    before it that does not go on by itself; `why` it has not started, in a few words; and in how many
    `seconds` it may begin, None where nobody knows.

    The time follows from what the runs at work say of themselves, and from how long finished runs of the same
    experiment took.
    """

    place: int | None
    why: str
    seconds: float | None = None

    @property
    def brief(self) -> str:
        """Why and when, for the cell of a table: "after lr-0.01, ~20m00s"."""
        if self.seconds is None:
            return self.why
        when = f"~{duration(self.seconds)}"
        return f"{self.why}, {when}" if self.why else f"in {when}"

    @property
    def status(self) -> str:
        """ "queued #2", for the column of the status."""
        return "queued" if self.place is None else f"queued #{self.place}"


def in_line(waiting: Iterable[R]) -> list[R]:
    """Queued runs in the order in which they start, as all lists have them: by priority, then by age, but
    each behind the one that it comes after, and those that are held back at the end."""
    runs = {run.id: run for run in waiting}
    ready = [(place_of(run), run.id) for run in runs.values() if run.after not in runs]
    behind: dict[str, list[R]] = {}
    for run in runs.values():
        if run.after in runs:
            behind.setdefault(run.after, []).append(run)
    if not behind:
        return [runs[run_id] for _, run_id in sorted(ready)]
    heapify(ready)
    line = []
    while ready:
        _, run_id = heappop(ready)
        line.append(runs.pop(run_id))
        for run in behind.get(run_id, ()):
            heappush(ready, (place_of(run), run.id))
    return [*line, *runs.values()]


def place_of(run: AnyRun) -> tuple[Any, ...]:
    """What the place of a queued run depends on, as a key to sort by."""
    return run.paused, -run.priority, run.queued_at or run.created_at, run.id, run.after


def waits_of(
    runs: Mapping[str, R],
    workspace: str,
    has_agent: bool = True,
    holding: Sequence[AgentState] = (),
    typical: Callable[[AnyRun], float | None] | None = None,
) -> dict[str, Wait]:
    """How each queued run of `runs` stands. `workspace` is the id of the one that is looked at, as others
    have agents of their own; `holding` is what its agents say; `typical` says how long a run takes."""
    queued = [run for run in runs.values() if run.status == "queued"]
    if not queued:
        return {}
    typical = typical or typical_seconds(runs.values())
    beside = [run for run in runs.values() if run.status in UNDER_WAY and run.workspace == workspace]
    free = [(run.device, math.inf if run.eta_seconds is None else run.eta_seconds) for run in beside]
    ends = {run.id: seconds for run, (_, seconds) in zip(beside, free, strict=True)}
    found: dict[str, Wait] = {}
    place = 0
    for run in in_line(queued):
        if run.paused:
            found[run.id] = Wait(None, "paused")
            continue
        if run.workspace != workspace:
            found[run.id] = Wait(None, "another workspace's")
            continue
        if _is_behind_a_rest(run, runs, found):
            found[run.id] = Wait(None, _why(run, runs, has_agent, holding, None))
            continue
        place += 1
        slots = [slot for slot, (device, _) in enumerate(free) if _may_have(run, device)]
        slot = min(slots, key=lambda slot: free[slot][1], default=None)
        seconds = max(0.0 if slot is None else free[slot][1], _until(run, runs, ends))
        took = typical(run)
        ends[run.id] = seconds + (math.inf if took is None else took)
        if slot is not None:
            free[slot] = (free[slot][0], ends[run.id])
        starts = bool(has_agent or holding) and not _held(run, holding)
        known = starts and slot is not None and math.isfinite(seconds)
        why = _why(run, runs, has_agent, holding, None if slot is None else free[slot][0])
        found[run.id] = Wait(place, "" if known and not run.after else why, seconds if known else None)
    return found


def typical_seconds(runs: Iterable[AnyRun]) -> Callable[[AnyRun], float | None]:
    """How long a run may take: the median of what finished runs of its task took in its experiment."""
    took: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        if run.status == "finished" and run.started_at is not None and run.ended_at is not None:
            took.setdefault((run.experiment, run.task), []).append(run.ended_at - run.started_at)
    of_kind = cache(lambda experiment, task: median(took[experiment, task]))
    return lambda run: (
        float(of_kind(run.experiment, run.task)) if (run.experiment, run.task) in took else None
    )


def why_it_waits(
    row: RunRow,
    runs: Mapping[str, RunSummary],
    workspace: str,
    has_agent: bool,
    holding: Sequence[AgentState] = (),
) -> str:
    """What keeps a queued run among `runs`, in a sentence: a pause, a run that it comes after, a missing
    agent, those before it, a busy device, other people there, or quiet hours; "" for a run that is not
    queued. The rest as for `waits_of`."""
    if row.status != "queued":
        return ""
    if row.paused:
        return f"paused: `{typed('queue', 'unpause', row.id)}` lets it start"
    if row.after:
        earlier = runs.get(row.after)
        if earlier is None:
            return f"waits for {row.after}, which no longer exists"
        if earlier.status != "finished":
            far = TASKS[earlier.task].done(earlier)
            return f"waits for {earlier.name} ({earlier.id}): {earlier.status}, {far}"
    if row.workspace != workspace:
        return "waits for its own workspace's agent"
    if not has_agent and not holding:
        return f"no agent is running on this machine: start one with `{typed('agent')}`"
    waits = waits_of(runs, workspace, has_agent, holding)
    own = waits.get(row.id)
    last = max((wait.place or 0 for wait in waits.values()), default=0)
    place = f"place {own.place} of {last} in line" if own is not None and own.place else ""
    when = f"may begin in about {duration(own.seconds)}" if own is not None and own.seconds else ""
    beside = [run for run in runs.values() if run.workspace == workspace and run.status in UNDER_WAY]
    busy = _who_is_at_work(row, beside)
    causes = [cause for cause in (busy, *_held(row, holding)) if cause] or ["the agent is about to start it"]
    return "; ".join(
        part for part in (", ".join(filter(None, (place, causes[0]))), *causes[1:], when) if part
    )


def _until(run: AnyRun, runs: Mapping[str, AnyRun], ends: Mapping[str, float]) -> float:
    """In how many seconds the run that it comes after has ended."""
    earlier = runs.get(run.after)
    if not run.after or (earlier is not None and earlier.status == "finished"):
        return 0.0
    return ends.get(run.after, math.inf)


def _is_behind_a_rest(run: AnyRun, runs: Mapping[str, AnyRun], found: Mapping[str, Wait]) -> bool:
    """Whether the run that it comes after was stopped, or is held back itself."""
    earlier = runs.get(run.after)
    if earlier is None:
        return False
    if earlier.status == "queued" and earlier.workspace == run.workspace:
        return earlier.id in found and found[earlier.id].place is None
    return _rests(earlier)


def _rests(run: AnyRun) -> bool:
    """Whether a run was stopped, and not only to make room."""
    return run.status == "stopped" and run.cause != "preempted"


def _why(
    run: AnyRun,
    runs: Mapping[str, AnyRun],
    has_agent: bool,
    holding: Sequence[AgentState],
    busy: str | None,
) -> str:
    earlier = runs.get(run.after)
    if run.after and earlier is None:
        return f"after {run.after}, gone"
    if earlier is not None and earlier.status != "finished":
        return f"after {earlier.name}" + (", stopped" if _rests(earlier) else "")
    if not has_agent and not holding:
        return "no agent"
    if held := _held(run, holding):
        return held[0]
    return "" if busy is None else f"{busy or 'its device'} is busy"


def _who_is_at_work(run: AnyRun, active: Iterable[AnyRun]) -> str:
    """Which device the run waits for and who has it; "" when none that it may have is taken."""
    holders = [other for other in active if _may_have(run, other.device)]
    if not holders:
        return ""
    others = f" and {len(holders) - 1} more" if len(holders) > 1 else ""
    return f"{holders[0].device or 'its device'} is busy with {holders[0].name}{others}"


def _held(run: AnyRun, holding: Sequence[AgentState]) -> list[str]:
    """What agents say of the devices that the run may have."""
    if isinstance(run, RunRow) and run.stored_config.get("executor") == "slurm":
        return []
    return reasons_of(holding, _wish(run))


def _may_have(run: AnyRun, device: str) -> bool:
    return not device or is_wanted(_wish(run), device)


def _wish(run: AnyRun) -> str:
    """The device that a queued run asks for."""
    return str(run.stored_config.get("device", "auto")) if isinstance(run, RunRow) else run.wish or "auto"
