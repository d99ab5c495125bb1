"""`seg-engine watch` and `logs --follow` where only looking is allowed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.cli.watch import logs, watch
from engine.run.directory import RunDir
from engine.workspace import Workspace
from tests.engine.conftest import import_made_up_run
from tests.engine.made_up_runs import MadeUpJournal

LIVE = "live0001"


@pytest.fixture
def live(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run at work whose journal is ahead of the database. Whoever looks after it puts its end into both
    when those that follow it have looked, and looked again, for the second time."""
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, 0.1, 0.2)
    run = import_made_up_run(workspace, LIVE, journal)
    journal.epoch(2, 0.2, 0.3)
    journal.write(run.journal)
    run.log.write_text("hello\n")
    looks = iter((False, True))

    def sleep(seconds: float) -> None:
        if next(looks):
            journal.finish(2)
            journal.write(run.journal)
            with workspace.open_store() as store:
                store.journals.import_run(run)

    monkeypatch.setattr("engine.cli.watch.REFRESH_SECONDS", 0)
    monkeypatch.setattr("engine.cli.watch.time.sleep", sleep)
    return run


def test_whoever_may_only_look_watches_a_run_to_its_end(
    workspace: Workspace, live: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert watch(replace(workspace, read_only="is another's"), LIVE, as_json=False) == 0
    assert "best validation Dice 0.30000 at epoch 2" in capsys.readouterr().out


def test_whoever_may_only_look_follows_a_log_to_its_end(
    workspace: Workspace, live: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert logs(replace(workspace, read_only="is another's"), LIVE, follow=True, lines=0) == 0
    assert capsys.readouterr().out == "hello\n"
