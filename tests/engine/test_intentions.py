"""What people want of a run outlives the database, and a clock that was set back changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.host.processes import identify
from engine.run.directory import RunCard
from engine.run.events import Stopped
from engine.store import Store
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import (
    MadeUpJournal,
    add_run,
    finished_journal,
    ingest,
    make_run_dir,
    open_store,
)


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("engine.cli.queue", "engine.requests.lifecycle"):
        monkeypatch.setattr(f"{module}.ensure_agent", lambda workspace: None)


def stopped_journal(began: float = 1000.0) -> MadeUpJournal:
    journal = MadeUpJournal(began)
    journal.begin()
    journal.epoch(1, 0.1, 0.2)
    journal.add(Stopped(cause="stopped", epoch=1))
    return journal


# --- Cards -----------------------------------------------------------------------------------------


def test_the_queue_comes_back_from_the_run_folders_as_it_was(seg: Command, workspace: Workspace) -> None:
    for run_id, created in (("aaaa1111", 903.0), ("bbbb2222", 902.0), ("cccc3333", 901.0)):
        import_made_up_run(workspace, run_id, created=created)
    import_made_up_run(workspace, "dddd4444", stopped_journal(), after="aaaa1111")
    import_made_up_run(workspace, "eeee5555", created=904.0)
    assert seg("queue priority 7 bbbb").status == 0
    assert seg("queue pause cccc").status == 0
    assert seg("requeue dddd --priority 2").status == 0
    assert seg("stop eeee").status == 0
    before = seg("queue --json").json["queued"]
    assert [(run["id"], run["priority"], run["paused"], run["after"]) for run in before] == [
        ("bbbb2222", 7, False, ""),
        ("aaaa1111", 0, False, ""),
        ("dddd4444", 2, False, "aaaa1111"),
        ("cccc3333", 0, True, ""),
    ]
    assert seg("db rebuild").status == 0
    assert seg("queue --json").json["queued"] == before
    (left,) = seg("runs --json status=stopped").json
    assert (left["id"], left["cause"]) == ("eeee5555", "stopped")
    assert seg("queue unpause cccc").status == 0
    assert seg("db rebuild").status == 0
    assert not any(run["paused"] for run in seg("queue --json").json["queued"])


def test_a_killed_run_that_was_queued_again_waits_after_a_rebuild(seg: Command, workspace: Workspace) -> None:
    journal = MadeUpJournal()
    journal.begin()  # and no end: its worker was killed
    import_made_up_run(workspace, "aaaa1111", journal)
    with workspace.open_store() as store:
        store.lifecycle.set_status("aaaa1111", "failed", "killed")
    assert seg("requeue aaaa").status == 0
    assert seg("db rebuild").status == 0
    with workspace.open_store() as store:
        row = store.run("aaaa1111")
    assert (row.status, row.attempt, row.cause) == ("queued", 1, "")


def test_a_card_of_an_earlier_version_is_of_a_run_that_waits(tmp_path: Path) -> None:
    run = make_run_dir(tmp_path / "runs", "aaaa1111")
    run.card_file.write_text(
        '{"id": "aaaa1111", "name": "old", "experiment": "e", "created": 5.0, "tags": ["t"]}'
    )
    assert run.read_card() == RunCard("aaaa1111", "old", "e", 5.0, ("t",))
    with open_store(tmp_path) as store:
        store.journals.import_run(run)
        row = store.run("aaaa1111")
    assert (row.status, row.queued_at, row.priority, row.paused, row.after) == ("queued", 5.0, 0, False, "")


def test_a_run_that_waits_elsewhere_does_not_start_here(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    make_run_dir(away, "aaaa1111")
    make_run_dir(away, "bbbb2222", stopped_journal(), queued_for=2, queued_at=2000.0)
    assert seg(f"db import {away / 'aaaa1111'} {away / 'bbbb2222'}").status == 0
    assert seg("queue --json").json["queued"] == []
    assert {run["status"] for run in seg("runs --json").json} == {"stopped"}


def test_a_folder_that_is_gone_is_said_and_the_wish_kept(seg: Command, workspace: Workspace) -> None:
    run = import_made_up_run(workspace, "aaaa1111")
    run.path.rename(workspace.runs / ".elsewhere")
    done = seg("queue priority 3 aaaa")
    assert done.status == 0
    assert f"{run.path} is gone; only the database has this" in done.err
    assert seg("queue --json").json["queued"][0]["priority"] == 3


# --- Clocks ----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def test_an_attempt_that_began_earlier_by_the_clock_than_the_one_before_it_ended_runs(store: Store) -> None:
    run_id = add_run(store)
    store.queue.take(run_id, identify(), ("queued",))
    journal = stopped_journal(began=1_800_000_000.0)
    row = ingest(store, run_id, journal.events)
    assert (row.status, row.attempt) == ("stopped", 1)
    store.queue.take(run_id, identify(), ("stopped",))
    known = len(journal.events)
    journal.t = 1000.0  # years earlier
    journal.begin(resumed_from_epoch=1)
    journal.epoch(2, 0.3, 0.4)
    row = ingest(store, run_id, journal.events[known:])
    assert (row.status, row.attempt, row.epoch, row.ended_at) == ("running", 2, 2, None)
    known = len(journal.events)
    journal.add(Stopped(cause="stopped", epoch=2))
    row = ingest(store, run_id, journal.events[known:])
    assert (row.status, row.epoch, row.best_dice) == ("stopped", 2, 0.4)


def test_late_news_of_a_dead_worker_with_a_clock_ahead_does_not_revive_it(store: Store) -> None:
    run_id = add_run(store)
    store.queue.take(run_id, identify(), ("queued",))
    store.lifecycle.set_status(run_id, "lost", "lost_host", "no heartbeat")
    journal = MadeUpJournal(9_000_000_000.0)  # its host's clock is centuries ahead
    journal.begin()
    journal.epoch(1, 0.1, 0.2)
    row = ingest(store, run_id, journal.events)
    assert (row.status, row.cause, row.epoch) == ("lost", "lost_host", 1)
    store.queue.take(run_id, identify(), ("lost",))
    known = len(journal.events)
    journal.begin(resumed_from_epoch=1)
    assert ingest(store, run_id, journal.events[known:]).status == "running"


def test_who_is_queued_later_starts_later_whatever_the_clock_says(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run_id, created in (("first000", 2e9), ("second00", 1e9), ("third000", 1.5e9)):
        add_run(store, run_id, created=created)
    add_run(store, "fourth00", created=1.0)
    store.lifecycle.set_status("fourth00", "stopped", "stopped")
    monkeypatch.setattr("engine.store.lifecycle.time.time", lambda: 500.0)
    store.lifecycle.set_status("fourth00", "queued")
    assert [row.id for row in store.queue.waiting()] == ["first000", "second00", "third000", "fourth00"]


def test_a_run_that_is_preempted_while_it_was_asked_to_stop_is_stopped(store: Store) -> None:
    run_id = add_run(store)
    store.queue.take(run_id, identify(), ("queued",))
    journal = MadeUpJournal()
    journal.begin()
    ingest(store, run_id, journal.events)
    assert store.lifecycle.set_status(run_id, "stopping", expect=("running",))
    known = len(journal.events)
    journal.add(Stopped(cause="preempted", epoch=0))
    row = ingest(store, run_id, journal.events[known:])
    assert (row.status, row.cause) == ("stopped", "stopped")


def test_what_was_found_out_about_one_worker_is_not_said_of_the_next(store: Store) -> None:
    run_id = add_run(store)
    store.queue.take(run_id, identify(1), ("queued",))
    seen = store.run(run_id)
    store.lifecycle.set_status(run_id, "failed", "killed")
    store.queue.take(run_id, identify(), ("failed",))
    assert store.run(run_id).status == seen.status
    assert not store.lifecycle.set_status(run_id, "failed", "killed", seen=seen)
    assert store.lifecycle.set_status(run_id, "failed", "killed", seen=store.run(run_id))


# --- Names, experiments, archive, protection --------------------------------------------------------


def test_a_run_is_renamed_moved_archived_and_protected_and_a_rebuilt_database_knows(
    seg: Command, workspace: Workspace
) -> None:
    import_made_up_run(workspace, "aaaa1111", finished_journal(), name="first", experiment="old")
    import_made_up_run(workspace, "bbbb2222", created=901.0, experiment="old")
    renamed = seg("rename first better")
    assert renamed.out == "aaaa1111  better  was first\n", renamed.err
    assert seg("move paper better").out == "aaaa1111  better  experiment paper, was old\n"
    assert (seg("protect better").status, seg("archive better").status) == (0, 0)
    for _ in range(2):
        assert [run["id"] for run in seg("runs --json").json] == ["bbbb2222"]
        (kept,) = seg("runs --json archived=true").json
        assert (kept["id"], kept["name"], kept["experiment"]) == ("aaaa1111", "better", "paper")
        assert {run["id"] for run in seg("runs --archived --json").json} == {"aaaa1111", "bbbb2222"}
        assert "archived, protected" in seg("show better").out
        refused = seg("delete better --yes")
        assert (
            refused.err
            == "error: aaaa1111: is protected; `seg-engine unprotect aaaa1111` lets it be deleted\n"
        )
        assert (refused.status, workspace.run_dir("aaaa1111").path.is_dir()) == (2, True)
        assert seg("db check").status == 0
        assert seg("db rebuild").status == 0
    assert seg("archive bbbb").err == "error: bbbb2222: is queued; only runs that have ended are archived\n"
    assert seg("unarchive better").status == 0
    assert [run["archived"] for run in seg("runs --json better").json] == [False]
    assert (seg("unprotect better").status, seg("delete better --yes").status) == (0, 0)
    with workspace.open_store() as store:
        assert [experiment.name for experiment in store.experiments()] == ["old"], "paper had no other run"


def test_a_run_that_goes_on_is_in_lists_again(seg: Command, workspace: Workspace) -> None:
    import_made_up_run(workspace, "aaaa1111", stopped_journal())
    assert seg("archive aaaa").status == 0
    assert "the only run is archived" in seg("runs").err
    assert seg("requeue aaaa").status == 0
    assert [run["status"] for run in seg("runs --json").json] == ["queued"]


@pytest.mark.parametrize(("command", "what"), [("rename aaaa1111", "name"), ("move", "experiment")])
def test_a_name_that_none_can_have_is_refused(
    seg: Command, workspace: Workspace, command: str, what: str
) -> None:
    import_made_up_run(workspace, "aaaa1111", finished_journal(), name="first", experiment="old")
    runs = " aaaa1111" if command == "move" else ""
    assert f"error: {what}: 'a\\nb' " in seg(f"{command} 'a\nb'{runs}").err
    assert "at most 600" in seg(f"{command} {'x' * 700}{runs}").err
    (row,) = seg("runs --json").json
    assert (row["name"], row["experiment"]) == ("first", "old")
