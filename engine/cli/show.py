"""`seg-engine show`: all that is known of one run."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from engine.cli.console import notices, output, print_json
from engine.cli.reading import open_existing
from engine.host.processes import is_alive
from engine.report.reproduction import Reproduction, reproduction_record
from engine.report.run import Files, RunPage, next_commands, run_page
from engine.report.runs import run_record
from engine.report.trials import best_trials
from engine.requests.reproducing import reproduction_of
from engine.run.directory import RunDir, RunDirError
from engine.store import BEST
from engine.workspace import Workspace


def show_run(workspace: Workspace, prefix: str, as_json: bool) -> None:
    """Print one run. Raises StoreError when there is none of that id or name."""
    with open_existing(workspace) as store:
        run_id = store.resolve(prefix)
        row = store.run(run_id)
        trials = store.runs([f"tag:{BEST}"], experiment=row.experiment) if row.trial is not None else ()
        page = RunPage(
            row=row,
            epochs=store.results.epochs(run_id),
            events=store.results.events(run_id),
            evaluations=[*store.results.evaluations(run_id), *store.results.evaluations_of(run_id)],
            files=files_of(workspace.run_dir(run_id)),
            now=time.time(),
            ood=store.results.ood_results(run_id),
            corruptions=store.results.corruptions(run_id),
            environments=store.results.environments(run_id),
            crf=store.results.crf_results(run_id),
            crf_trials=store.results.crf_trials(run_id),
            metrics=store.results.metrics(run_id),
            latencies=store.results.latencies(run_id),
            best_trials=best_trials(row, trials),
        )
        page = replace(page, reproduction=_reproduction(workspace.run_dir(run_id), page))
    if as_json:
        print_json(as_record(page))
    else:
        output.say(run_page(page, output.table_width))


def _reproduction(run: RunDir, page: RunPage) -> Reproduction | None:
    """The comparison with the run that this one makes again. What cannot be read costs that part alone."""
    try:
        return reproduction_of(run, page.row.config, page.epochs)
    except RunDirError as error:
        notices.note(str(error))
        return None


def as_record(page: RunPage) -> dict[str, Any]:
    """The run with everything that belongs to it, as JSON values."""
    record: dict[str, Any] = run_record(page.row)
    record["curve"] = [asdict(row) for row in page.epochs]
    record["events"] = [asdict(row) for row in page.events]
    record["evaluations"] = [asdict(row) for row in page.evaluations]
    record["ood"] = [asdict(row) for row in page.ood]
    record["corruptions"] = [asdict(row) for row in page.corruptions]
    record["environments"] = [asdict(row) for row in page.environments]
    record["crf"] = [asdict(row) for row in page.crf]
    record["crf_trials"] = [asdict(row) for row in page.crf_trials]
    record["latencies"] = [asdict(row) for row in page.latencies]
    record["metrics"] = [asdict(row) for row in page.metrics]
    record["files"] = {
        name: [str(path) for path in value] if isinstance(value, tuple) else str(value) if value else None
        for name, value in (
            ("folder", page.files.folder),
            ("log", page.files.log),
            ("checkpoints", page.files.checkpoints),
            ("gallery", page.files.gallery),
            ("picture", page.files.picture),
        )
    }
    record["best_trials"] = [run.id for run in page.best_trials]
    found = page.reproduction
    record["reproduction"] = reproduction_record(found) if found is not None else None
    record["alive"], record["last_beat"] = page.files.alive, page.files.last_beat
    record["next"] = next_commands(page)
    return record


def files_of(run: RunDir) -> Files:
    """What there is of a run on this machine."""
    process = run.read_proc()
    picture = run.outputs / "picture.png"
    return Files(
        folder=run.path.absolute(),
        log=run.log if run.log.exists() else None,
        checkpoints=tuple(sorted(run.checkpoints.glob("*.pt"))),
        gallery=tuple(sorted(run.gallery.glob("epoch_*"), key=lambda path: (len(path.name), path.name))),
        picture=picture if picture.exists() else None,
        alive=is_alive(process) if process is not None else None,
        last_beat=run.last_beat(),
    )
