"""`seg-engine report`: an experiment as Markdown, as one HTML file, and as data."""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from engine.cli.console import notices
from engine.cli.reading import open_existing
from engine.cli.runs import check_experiment
from engine.host.access import refuse_unwritable
from engine.report.beyond import beyond_record
from engine.report.commands import config_file
from engine.report.compare_records import comparison_csv, comparison_record
from engine.report.compared_runs import compared_run
from engine.report.experiment import experiment_of, report_blocks
from engine.report.experiment_figures import draw_figures
from engine.report.page import to_markdown
from engine.report.page_html import to_html
from engine.report.reported_runs import ReportedRun, config_toml
from engine.report.runs import runs_csv
from engine.run.files import fitting_name, replacing
from engine.store import NOT_ARCHIVED, StoreError
from engine.typed import PROGRAM, typed
from engine.workspace import Workspace


def write_report(workspace: Workspace, name: str, out: Path | None) -> None:
    """Write the report and print where. Raises StoreError when there is no such experiment, or nothing in it
    to report."""
    with open_existing(workspace) as store:
        check_experiment(store, name)
        archived = [row.id for row in store.runs(["archived=true"], experiment=name)]
        runs = [
            ReportedRun(
                compared_run(store, row.id), store.results.events(row.id), store.results.evaluations(row.id)
            )
            for row in store.runs([NOT_ARCHIVED], "created_at", experiment=name)
        ]
    if not runs:
        told = f"all its runs are archived; `{typed('unarchive', 'RUN')}` shows one again"
        raise StoreError(f"{name}: {told if archived else 'has no runs'}")
    if archived:
        notices.say(f"archived runs are left out: {', '.join(archived)}")
    folder = out or workspace.root / "reports" / folder_name(name)
    refuse_unwritable(folder, "use --out DIR to write it elsewhere")
    experiment = experiment_of(name, runs, time.time(), version(PROGRAM))
    pictures = draw_figures(experiment, lambda run_id: workspace.run_dir(run_id).gallery, folder)
    blocks = report_blocks(experiment, pictures)
    files = {
        "report.md": to_markdown(blocks),
        "report.html": to_html(name, blocks, lambda path: (folder / path).read_bytes()),
        "runs.csv": runs_csv([run.row for run in runs]),
        "comparison.csv": comparison_csv(experiment.comparison),
        "comparison.json": json.dumps(comparison_record(experiment.comparison), indent=1) + "\n",
        **{config_file(run.row): config_toml(run.row) for run in runs},
    }
    if experiment.findings:
        files["ablation.json"] = json.dumps(beyond_record(experiment.findings), indent=1) + "\n"
    else:
        (folder / "ablation.json").unlink(missing_ok=True)  # of an earlier report
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            stream.write(content.encode())
    print((folder / "report.html").absolute())
    notices.say(f"beside it: report.md, {len(pictures)} figures as PNG and PDF, the tables as CSV and JSON")


def folder_name(experiment: str) -> str:
    """The experiment's name as that of a folder; two experiments never share one."""
    name = "".join(quote(c, safe="") if c in "/\\%" or not c.isprintable() else c for c in experiment)
    return fitting_name(f"%2E{name[1:]}" if name.startswith(".") else name)
