"""The command line in the test's own process, and runs for it to look at."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.cli.main import command_line
from engine.run.directory import RunDir
from engine.run.events import Failed
from engine.workspace import DATABASE_VARIABLE, WORKSPACE_VARIABLE, Workspace
from tests.conftest import NewDatabase
from tests.engine.made_up_runs import MadeUpJournal, finished_journal, make_run_dir


class Done(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[[str], Done]


def import_made_up_run(
    workspace: Workspace, run_id: str, journal: MadeUpJournal | None = None, **card: object
) -> RunDir:
    """A run directory in the workspace, and the run in its database."""
    run = make_run_dir(workspace.runs, run_id, journal, **card)  # type: ignore[arg-type]
    with workspace.open_store() as store:
        store.journals.import_run(run)
    return run


def failed_journal() -> MadeUpJournal:
    journal = MadeUpJournal()
    journal.begin()
    journal.add(Failed(cause="diverged", message="the loss became nan", traceback="Traceback\n  Diverged"))
    return journal


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    folder = tmp_path / "ws"
    folder.mkdir()
    return Workspace(folder)


@pytest.fixture
def either_workspace(
    workspace: Workspace, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """The workspace, with its database as a file and on a server."""
    url = new_database(workspace.root)
    if url != workspace.file_url:
        monkeypatch.setenv(DATABASE_VARIABLE, url)
    return workspace


@pytest.fixture
def seg(workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command line in the workspace."""
    monkeypatch.setenv(WORKSPACE_VARIABLE, str(workspace.root))

    def do(line: str) -> Done:
        capsys.readouterr()
        status = command_line(shlex.split(line))
        return Done(status, *capsys.readouterr())

    return do


@pytest.fixture
def two_runs(workspace: Workspace) -> None:
    import_made_up_run(
        workspace, "aaaa1111", finished_journal(), name="good", experiment="paper", tags=("night",)
    )
    import_made_up_run(workspace, "bbbb2222", failed_journal(), name="bad", experiment="lr", created=901.0)
