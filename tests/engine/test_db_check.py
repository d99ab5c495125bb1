"""`seg-engine db check`: every kind of difference is found, said, and mended where it can be."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.exits import BAD_USE
from engine.host.processes import ProcessIdentity, identify
from engine.run.directory import RunDir
from engine.run.events import Checkpoint
from engine.store import Store
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import (
    MadeUpJournal,
    everything,
    finished_journal,
    make_run_dir,
    open_store,
    resumed_journal,
)

me = identify()
DEAD = ProcessIdentity(me.host, me.pid, me.start_time + 1, me.boot_id)


def running_journal() -> MadeUpJournal:
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, 0.1, 0.2)
    return journal


def found(seg: Command, options: str = "") -> list[tuple[str, str, bool]]:
    done = seg(f"db check --json {options}")
    return [(one["run"], one["kind"], one["fixed"]) for one in done.json["differences"]]


def sql(workspace: Workspace, statement: str) -> None:
    with sqlite3.connect(workspace.database) as connection:
        connection.execute(statement)
    connection.close()


@pytest.fixture
def whole(workspace: Workspace) -> RunDir:
    """A workspace with two sound runs; the first is returned."""
    import_made_up_run(workspace, "bbbb2222", resumed_journal(), tags=("night",), note="n")
    run = import_made_up_run(workspace, "aaaa1111", finished_journal())
    with workspace.open_store() as store:
        for run_id in ("aaaa1111", "bbbb2222"):
            store.queue.take(run_id, DEAD, ("finished",))
            store.lifecycle.set_status(run_id, "finished", "completed")
    return run


@pytest.mark.usefixtures("whole")
def test_a_sound_workspace_passes_and_nothing_is_changed(seg: Command, workspace: Workspace) -> None:
    with workspace.open_store() as store:
        before = everything(store)
    done = seg("db check")
    assert (done.status, done.err) == (0, "")
    assert done.out == "2 runs compared: the database matches their folders\n"
    assert found(seg, "--fix") == []
    with workspace.open_store() as store:
        assert everything(store) == before


Break = Callable[[Workspace, RunDir], object]

FIXABLE: dict[str, tuple[Break, str, str]] = {
    "a run that is only a folder": (
        lambda workspace, run: make_run_dir(workspace.runs, "cccc3333", resumed_journal()),
        "missing",
        "is in runs/ but not in the database",
    ),
    "a journal that nobody read on": (
        lambda workspace, run: sql(
            workspace,
            "UPDATE runs SET journal_offset = 0, journal_seq = -1, attempt = 0, status = 'queued' "
            "WHERE id = 'aaaa1111'",
        ),
        "behind",
        "its journal continues after byte 0",
    ),
    "a score that was changed": (
        lambda workspace, run: sql(workspace, "UPDATE runs SET best_dice = 0.99 WHERE id = 'aaaa1111'"),
        "rows",
        "best_dice is 0.99, the journal gives 0.6",
    ),
    "an epoch that was removed": (
        lambda workspace, run: sql(
            workspace, "DELETE FROM epochs WHERE run_id = 'aaaa1111' AND epoch = 2 AND split = 'val'"
        ),
        "rows",
        "1 of 6 rows in epochs are missing or wrong",
    ),
    "an event that never was": (
        lambda workspace, run: sql(
            workspace, "INSERT INTO events VALUES ('aaaa1111', 99, 1.0, 1, 'warning', '{}')"
        ),
        "rows",
        "1 rows in events are of no event",
    ),
    "a config that was changed": (
        lambda workspace, run: sql(
            workspace,
            "UPDATE runs SET config = json_set(config, '$.epochs', 7), epochs = 7 WHERE id = 'aaaa1111'",
        ),
        "rows",
        "the config differs from config.json",
    ),
    "a journal that was put back": (
        lambda workspace, run: running_journal().write(run.journal),
        "journal",
        "it was truncated or replaced",
    ),
    "an end that the journal belies": (
        lambda workspace, run: sql(
            workspace, "UPDATE runs SET status = 'failed', cause = 'killed' WHERE id = 'aaaa1111'"
        ),
        "status",
        "is failed, its journal says finished",
    ),
    "a note that the folder does not have": (
        lambda workspace, run: sql(workspace, "UPDATE runs SET note = 'new' WHERE id = 'aaaa1111'"),
        "card",
        "note is '' in run.json and 'new' in the database",
    ),
}


@pytest.mark.parametrize("name", FIXABLE)
def test_what_can_be_mended_is_said_then_mended(
    seg: Command, workspace: Workspace, whole: RunDir, tmp_path: Path, name: str
) -> None:
    damage, kind, says = FIXABLE[name]
    damage(workspace, whole)
    said = seg("db check")
    assert said.status == 1
    assert says in said.out
    assert "next: seg-engine db check --fix" in said.err
    kinds = [found_kind for _, found_kind, _ in found(seg)]
    assert kind in kinds
    assert seg("db check --fix").status == 0
    assert found(seg) == []
    # What people query is then what a database made from nothing has.
    with workspace.open_store() as store, open_store(tmp_path) as anew:
        for run in store.runs():
            anew.journals.import_run(workspace.run_dir(run.id))
        for table in ("epochs", "events", "results"):
            assert everything(store)[table] == everything(anew)[table]
        for run in store.runs():
            again = anew.run(run.id)
            assert (run.best_dice, run.epoch, run.journal_offset) == (
                again.best_dice,
                again.epoch,
                again.journal_offset,
            )
            assert run.config == again.config


def test_a_mended_run_keeps_what_people_want_of_it(seg: Command, workspace: Workspace, whole: RunDir) -> None:
    run = import_made_up_run(workspace, "cccc3333", running_journal())
    with workspace.open_store() as store:
        store.lifecycle.set_status("cccc3333", "failed", "killed", "signal 9")
        store.lifecycle.set_status("cccc3333", "queued")
        store.queue.set_place("cccc3333", priority=4, paused=True)
        queued_at = store.run("cccc3333").queued_at
    sql(workspace, "UPDATE runs SET epoch = 9 WHERE id = 'cccc3333'")
    assert [kind for _, kind, fixed in found(seg, "--fix") if fixed] == ["rows", "card"]
    with workspace.open_store() as store:
        row = store.run("cccc3333")
    assert (row.status, row.priority, row.paused, row.queued_at) == ("queued", 4, True, queued_at)
    assert (row.epoch, row.attempt) == (1, 1)
    assert run.read_card().queued_for == 2
    assert found(seg) == []


def test_a_run_that_only_seems_to_run_gets_its_end(seg: Command, workspace: Workspace) -> None:
    run = import_made_up_run(workspace, "aaaa1111", running_journal(), queued_for=0)
    run.write_proc(DEAD, 1)
    assert "is running, but its worker is not running" in seg("db check").out
    assert seg("db check --fix").status == 0
    with workspace.open_store() as store:
        row = store.run("aaaa1111")
    assert (row.status, row.cause) == ("failed", "killed")


def test_a_run_whose_worker_lives_does_not_stay_failed(seg: Command, workspace: Workspace) -> None:
    run = import_made_up_run(workspace, "aaaa1111", running_journal(), queued_for=0)
    run.write_proc(me, 1)
    with workspace.open_store() as store:
        store.lifecycle.set_status("aaaa1111", "failed", "killed")
    assert f"is failed, but its worker is running (process {me.pid})" in seg("db check").out
    assert seg("db check --fix").status == 0
    with workspace.open_store() as store:
        assert store.run("aaaa1111").status == "running"


def test_what_an_agent_is_about_to_do_is_no_difference(seg: Command, workspace: Workspace) -> None:
    journal = running_journal()
    run = import_made_up_run(workspace, "aaaa1111", journal, queued_for=0)
    with workspace.open_store() as store:
        store.queue.take("aaaa1111", me, ("running",))
        store.lifecycle.set_status("aaaa1111", "running")
    journal.epoch(2, 0.2, 0.3)
    journal.finish(2)
    journal.write(run.journal)
    assert found(seg) == []


def test_what_cannot_be_mended_stays_a_difference(seg: Command, workspace: Workspace, whole: RunDir) -> None:
    (workspace.runs / "bbbb2222").rename(workspace.root / "elsewhere")
    content = whole.journal.read_bytes()
    whole.journal.write_bytes(content.replace(b'"event":"data"', b'"event":"dada"'))
    broken = make_run_dir(workspace.runs, "cccc3333")
    broken.card_file.write_text("{")
    for options in ("", "--fix"):
        assert sorted(found(seg, options)) == [
            ("aaaa1111", "journal", False),
            ("bbbb2222", "folder", False),
            ("cccc3333", "folder", False),
        ]
    said = seg("db check --fix")
    assert said.status == 1
    assert "is no event" in said.out
    assert "bbbb2222 is gone; `seg-engine delete bbbb2222` also removes its rows" in said.out
    assert "run.json: is not JSON" in said.out
    assert "next:" not in said.err + seg("db check").err


def test_a_waiting_run_without_a_folder_fails(seg: Command, workspace: Workspace) -> None:
    run = import_made_up_run(workspace, "aaaa1111")
    run.path.rename(workspace.root / "elsewhere")
    assert ("aaaa1111", "status", True) in found(seg, "--fix")
    assert found(seg) == [("aaaa1111", "folder", False)]
    assert seg("runs --json").json[0]["status"] == "failed"


def test_checkpoints_are_held_against_their_checksums(seg: Command, workspace: Workspace) -> None:
    journal = running_journal()
    for kind in ("best", "last"):
        journal.add(
            Checkpoint.model_validate(
                {"kind": kind, "epoch": 1, "path": f"checkpoints/{kind}.pt", "dice": 0.2}
            )
        )
    journal.finish(1)
    run = import_made_up_run(workspace, "aaaa1111", journal, queued_for=0)
    for kind in ("best", "last"):
        with zipfile.ZipFile(run.checkpoints / f"{kind}.pt", "w") as archive:
            archive.writestr("archive/data.pkl", b"weights " * 100)
    assert [kind for _, kind, _ in found(seg)] == ["checkpoint", "checkpoint"]  # torch sets no attributes
    for kind in ("best", "last"):
        with zipfile.ZipFile(run.checkpoints / f"{kind}.pt", "w") as archive:
            entry = zipfile.ZipInfo("archive/data.pkl")
            entry.external_attr = 0
            archive.writestr(entry, b"weights " * 100)
            archive.filelist[0].external_attr = 0
    assert found(seg) == []
    last = bytearray((run.checkpoints / "last.pt").read_bytes())
    last[100] ^= 1
    (run.checkpoints / "last.pt").write_bytes(last)
    (run.checkpoints / "best.pt").unlink()
    said = seg("db check --fix")
    assert said.status == 1
    assert "best.pt: does not exist" in said.out
    assert "last.pt: is damaged: the checksum of archive/data.pkl does not match" in said.out


@pytest.mark.usefixtures("whole")
def test_a_database_whose_pages_rotted_is_told_to_be_rebuilt(seg: Command, workspace: Workspace) -> None:
    with Store(workspace.database_url) as store:
        store.checks.faults()
    sql(workspace, "PRAGMA journal_mode = DELETE")
    content = bytearray(workspace.database.read_bytes())
    half = len(content) // 2
    content[half : half + 8192] = b"\xa5" * 8192
    workspace.database.write_bytes(content)
    said = seg("db check")
    assert said.status in (1, BAD_USE)
    assert "`seg-engine db rebuild` rebuilds it from runs/" in said.out + said.err
    assert seg("db rebuild").status == 0
    assert seg("db check").status == 0


def test_check_needs_a_database(seg: Command) -> None:
    done = seg("db check")
    assert done.status == BAD_USE
    assert "no runs here yet" in done.err
    assert done.out == ""
