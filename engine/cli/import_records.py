"""`seg-engine db import DIR --from tensorboard|csv|mlflow`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.cli.console import notices, output
from engine.requests.importing.records import READERS, RecordsError
from engine.requests.importing.runs import check_names, import_records
from engine.requests.refusals import Refused, refuse_no_name
from engine.run.directory import RunDirError
from engine.run.files import absolute
from engine.tasks import epochs_done
from engine.workspace import Workspace


def import_from(
    workspace: Workspace, program: str, folders: Sequence[Path], metrics: Sequence[str], experiment: str
) -> int:
    """Make runs of the records in folders; returns 1 when some were left out. Raises ConfigError, and Refused
    when all were."""
    chosen = check_names(metrics)
    if experiment:
        refuse_no_name(experiment=experiment)
    left_out: list[str] = []
    taken = 0
    workspace.root.mkdir(parents=True, exist_ok=True)
    with workspace.open_store() as store:
        for folder in map(absolute, folders):
            before = taken + len(left_out)
            if not folder.is_dir():
                left_out.append(f"{folder}: no such folder")
                continue
            try:
                for records in READERS[program](folder):
                    if isinstance(records, RecordsError):
                        left_out.append(str(records))
                        continue
                    try:
                        run_id, done = import_records(workspace, store, program, records, chosen, experiment)
                    except (RecordsError, Refused, RunDirError) as error:
                        left_out.append(str(error))
                        continue
                    taken += 1
                    row = store.run(run_id)
                    output.say(f"{row.id}  {row.name}  {row.status}, epoch {epochs_done(row)}; {done}")
            except RecordsError as error:
                left_out.append(str(error))
            if taken + len(left_out) == before:
                left_out.append(f"{folder}: has no records of {program}")
    if not taken:
        raise Refused(left_out)
    for problem in left_out:
        notices.say(f"left out: {problem}")
    return 1 if left_out else 0
