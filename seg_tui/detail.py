"""All of one run, as a screen shows it: read in a thread, handed over whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.agent.presence import Presence
from engine.host.processes import is_alive
from engine.report.trials import best_trials
from engine.tasks import TASKS
from engine.workspace import Workspace
from seg_tui.logfile import read_end

if TYPE_CHECKING:
    from engine.report.reproduction import Reproduction
    from engine.run.directory import RunDir
    from engine.store import (
        CorruptionRow,
        CrfRow,
        CrfTrialRow,
        EnvironmentRow,
        EpochRow,
        EvaluationRow,
        EventRow,
        ImageRow,
        LatencyRow,
        OodRow,
        RunRow,
        RunSummary,
        Store,
    )

LOG_BYTES = 64 * 1024
"""How much of the end of a log is read."""


@dataclass(frozen=True, eq=False)
class Detail:
    """One run at one moment. `images` are those that an evaluation has scored, the worst first; `is_here`
    says whether its `folder` is on this machine, and `log` is the end of its log, in lines. `alive` is
    None when only another machine could tell, False before the first worker; `beat` is the UTC time of
    its last heartbeat; `waits` is why it has not started, while it is queued. `found` is what a run
    measured of another's network; `best_trials` are those of its search."""

    row: RunRow
    folder: Path
    is_here: bool
    epochs: tuple[EpochRow, ...]
    events: tuple[EventRow, ...]
    evaluations: tuple[EvaluationRow, ...]
    images: tuple[ImageRow, ...]
    log: tuple[str, ...]
    alive: bool | None
    beat: float | None
    found: Results
    waits: str = ""
    reproduction: Reproduction | str = ""
    """How it compares with the run that it makes again, as far as it got, or why that cannot be told; "" for
    any other run."""
    best_trials: tuple[RunRow | RunSummary, ...] = ()


@dataclass(frozen=True)
class Results:
    """What a run measured of a network, or what those measured that looked at the run's own."""

    evaluations: tuple[EvaluationRow, ...] = ()
    ood: tuple[OodRow, ...] = ()
    corruptions: tuple[CorruptionRow, ...] = ()
    environments: tuple[EnvironmentRow, ...] = ()
    crf: tuple[CrfRow, ...] = ()
    crf_trials: tuple[CrfTrialRow, ...] = ()
    latencies: tuple[LatencyRow, ...] = ()


def load_results(store: Store, run_id: str) -> Results:
    """Raises StoreError, also when the run is gone."""
    return Results(
        evaluations=(*store.results.evaluations(run_id), *store.results.evaluations_of(run_id)),
        ood=tuple(store.results.ood_results(run_id)),
        corruptions=tuple(store.results.corruptions(run_id)),
        environments=tuple(store.results.environments(run_id)),
        crf=tuple(store.results.crf_results(run_id)),
        crf_trials=tuple(store.results.crf_trials(run_id)),
        latencies=tuple(store.results.latencies(run_id)),
    )


def load_detail(
    store: Store,
    workspace: Workspace,
    run_id: str,
    runs: Mapping[str, RunSummary],
    before: Detail | None = None,
    glance: bool = False,
) -> Detail:
    """Read a run, one of `runs`; of `before`, an earlier detail of it, what cannot have changed is kept. A
    `glance` goes without events and images, and without evaluations of a run that learns.

    Raises StoreError, also when the run is gone.
    """
    import seg_tui.widgets.plot  # noqa: F401  NumPy takes a moment to load: in this thread, not in the screen's

    run = workspace.run_dir(run_id)
    row = store.run(run.id)
    process = run.read_proc()
    waits = ""
    if row.status == "queued":
        from engine.report.waiting import why_it_waits

        has_agent = Presence.of(workspace).living() is not None
        waits = why_it_waits(row, runs, store.workspace, has_agent, store.agents.living())
    events: tuple[EventRow, ...] = ()
    evaluations: tuple[EvaluationRow, ...] = ()
    images: tuple[ImageRow, ...] = ()
    found = Results()
    reproduction: Reproduction | str = ""
    if before is not None and before.row.id == row.id and before.row.journal_seq == row.journal_seq:
        epochs, events, reproduction = before.epochs, before.events, before.reproduction
        evaluations, images, found = before.evaluations, before.images, before.found
    else:
        same = before is not None and _curve_of(before.row) == _curve_of(row)
        epochs = before.epochs if before is not None and same else tuple(store.results.epochs(row.id))
        if not glance:
            events, evaluations = (
                tuple(store.results.events(row.id)),
                tuple(store.results.evaluations(row.id)),
            )
            images = tuple(store.results.image_scores(row.id)) if TASKS[row.task].evaluates else ()
            reproduction = _reproduction(run, row, epochs)
        if not TASKS[row.task].learns:
            found = load_results(store, row.id)
    return Detail(
        row=row,
        folder=run.path,
        is_here=os.path.isdir(run.path),
        epochs=epochs,
        events=events,
        evaluations=evaluations,
        images=images,
        log=_log_tail(run),
        alive=is_alive(process) if process is not None else False,
        beat=run.last_beat(),
        found=found,
        waits=waits,
        reproduction=reproduction,
        best_trials=best_trials(row, runs.values()),
    )


def _reproduction(run: RunDir, row: RunRow, epochs: tuple[EpochRow, ...]) -> Reproduction | str:
    if not run.origin_file.exists():
        return ""
    # These import the config, which few runs need here.
    from engine.requests.reproducing import reproduction_of
    from engine.run.directory import RunDirError

    try:
        return reproduction_of(run, row.config, epochs) or ""
    except RunDirError as error:
        return str(error).replace(f"{run.path}/", "")  # the screen has one line for it, and names the run


def _curve_of(row: RunRow) -> tuple[object, ...]:
    """Equal for two rows of a run between which no epoch was folded: progress leaves a curve as it is."""
    return (
        row.id,
        row.attempt,
        row.epoch,
        row.last_dice,
        row.last_train_dice,
        row.last_val_loss,
        row.last_loss,
    )


def _log_tail(run: RunDir) -> tuple[str, ...]:
    """The last lines of a run's log; none where there is no log."""
    with contextlib.suppress(OSError):
        return read_end(run.log, LOG_BYTES).lines
    return ()
