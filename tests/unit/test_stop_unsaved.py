"""A stop that a person has asked for, on a disk that takes nothing more."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from engine.config.recipes import get_recipe
from engine.learning.checkpoint import save_checkpoint
from engine.run.directory import RunCard, RunDir
from engine.run.event import Event
from engine.run.events import Failed, Stopped, Warned
from engine.run.journal import JournalWriter, read_all
from engine.worker.entry import EXIT_STOPPED, conclude
from engine.worker.job import Job, StopRequested
from engine.worker.signals import StopCause
from engine.worker.work import work


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir(tmp_path / "abcd1234")
    made.create(RunCard(made.id, "a test", "tests", 1.0), get_recipe("quick"))
    return made


@pytest.mark.parametrize(("cause", "end"), [("stopped", Stopped), ("preempted", Failed), ("timeout", Failed)])
def test_what_cannot_be_saved_makes_no_failure_of_a_stop(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, cause: StopCause, end: type[Event]
) -> None:
    def train(job: Job) -> None:
        try:
            raise StopRequested(cause)
        except StopRequested:
            with monkeypatch.context() as full:
                full.setattr("engine.run.files.os.replace", no_room)
                save_checkpoint(run.checkpoints / "last.pt", {})
            raise

    monkeypatch.setattr("engine.tasks.task.named", lambda name: train)
    with JournalWriter(run.journal) as journal:
        job = Job(run, run.read_config(), journal, run.path, epochs_done=7)
        ending = work(job)
    assert isinstance(ending, end)
    warnings = [event.message for event in read_all(run.journal) if isinstance(event, Warned)]
    if isinstance(ending, Stopped):
        assert ending.epoch == 7
        (told,) = warnings
        assert "last.pt: cannot be written: No space left on device; resuming goes on from what" in told
    else:
        assert warnings == [], "its end tells it"


def test_a_stop_that_finds_no_room_for_its_last_word_is_told_by_the_exit_status(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with JournalWriter(run.journal) as journal:
        monkeypatch.setattr(journal, "write", no_room)
        assert conclude(run, journal, Stopped(cause="stopped", epoch=0), None) == EXIT_STOPPED
