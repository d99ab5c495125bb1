"""A workspace moves from its file to a server and back, with every row; check and rebuild on a server."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.exits import BAD_USE
from engine.host.processes import ProcessIdentity, identify
from engine.run.directory import RunDir
from engine.store import Store, StoreError
from engine.store.copy import copy_runs
from engine.store.schema import runs
from engine.workspace import DATABASE_VARIABLE, Workspace
from tests.engine.conftest import Command
from tests.engine.made_up_runs import (
    add_run,
    evaluation_config,
    evaluation_journal,
    everything,
    finished_journal,
    ingest,
    make_run_dir,
    open_store,
    resumed_journal,
)
from tests.postgres import Server

me = identify()
DEAD = ProcessIdentity(me.host, me.pid, me.start_time + 1, me.boot_id)

Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    made = postgres.new_url()
    yield made
    postgres.drop(made)


def fill(store: Store, runs: Path) -> None:
    """One run of each kind, in the queue or over, with all that the tables can hold."""
    first = make_run_dir(runs, "aaaaaaaa", finished_journal(), tags=("lab", "night"), note="x\ty\n\\")
    store.journals.import_run(first)
    store.journals.import_run(
        make_run_dir(runs, "bbbbbbbb", resumed_journal(), name='Größe "8"', experiment="two")
    )
    journal = evaluation_journal("aaaaaaaa", {"a": 0.5, "b": None})
    store.journals.import_run(make_run_dir(runs, "cccccccc", journal, evaluation_config("aaaaaaaa")))
    store.journals.import_run(make_run_dir(runs, "dddddddd", priority=3, paused=True))
    store.queue.take("aaaaaaaa", DEAD, ("finished",))
    store.lifecycle.set_status("aaaaaaaa", "finished", "completed")


def rows_by_name(store: Store) -> Rows:
    """All rows, without the numbers of experiments and the workspace's name, which each database gives."""
    found = everything(store)
    names = {row[0]: row[1] for row in found["experiments"]}
    found["experiments"] = sorted(row[1:] for row in found["experiments"])
    given = [column.name for column in runs.columns if column.name != "changed"].index("workspace")
    found["runs"] = [(row[0], names[row[1]], *row[2:given], *row[given + 1 :]) for row in found["runs"]]
    return found


def test_there_and_back_every_row_is_the_same(tmp_path: Path, url: str) -> None:
    (tmp_path / "back").mkdir()
    with open_store(tmp_path) as file, Store(url, workspace="ana@lab:/a") as server:
        fill(file, tmp_path / "runs")
        steps: list[tuple[int, int]] = []
        copied = copy_runs(file, server, on_progress=lambda done, total: steps.append((done, total)))
        assert copied["runs"] == 4
        assert copied["images"] == 2
        assert steps[-1] == (sum(copied.values()),) * 2
        assert rows_by_name(server) == rows_by_name(file)
        assert {run.workspace for run in server.runs()} == {"ana@lab:/a"}
        assert len(server.changes().runs) == 4
        with open_store(tmp_path / "back") as back:
            assert copy_runs(server, back) == copied
            assert rows_by_name(back) == rows_by_name(file)
            raw = "SELECT class_dice, class_iou FROM epochs ORDER BY run_id, split, epoch"
            with (
                back.database.read() as one,
                file.database.read() as other,
            ):  # to the letter, the order of the classes too
                assert one.exec_driver_sql(raw).all() == other.exec_driver_sql(raw).all()
            latest = back.changes().latest
            back.lifecycle.update_card("aaaaaaaa", note="new")
            assert [run.id for run in back.changes(latest).runs] == ["aaaaaaaa"]
            row = back.run("dddddddd")
            assert (row.workspace, row.priority, row.paused) == ("", 3, True)


def test_a_copy_goes_beside_what_others_have_and_shares_their_experiments(tmp_path: Path, url: str) -> None:
    with open_store(tmp_path) as file, Store(url, workspace="ana") as ana, Store(url, workspace="ben") as ben:
        add_run(ben, "zzzzzzzz", experiment="two")
        fill(file, tmp_path / "runs")
        copy_runs(file, ana)
        assert {(e.name, e.runs) for e in ana.experiments()} == {("test", 3), ("two", 2)}
        before = everything(ana)
        with pytest.raises(StoreError, match=r"has aaaaaaaa, bbbbbbbb, cccccccc and 1 more already; nothing"):
            copy_runs(file, ana)
        assert everything(ana) == before
        with open_store(make(tmp_path / "ana")) as back:
            copy_runs(ana, back)
            assert rows_by_name(back) == rows_by_name(file)


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_what_is_to_be_told_of_an_end_comes_along_once(tmp_path: Path) -> None:
    there = Store(f"sqlite:///{make(tmp_path / 'there') / 'experiments.db'}", workspace="ana")
    with open_store(tmp_path) as file, there as other:
        add_run(file)
        file.notices.wish("run", "aaaaaaaa", "./summarise.sh")
        other.notices.wish("queue", "", "sudo poweroff")
        copied = copy_runs(file, other)
        assert (copied["runs"], copied["notices"]) == (1, 1)
        wishes = [("run", "aaaaaaaa", "./summarise.sh"), ("queue", "", "sudo poweroff")]
        assert [(each.scope, each.subject, each.target) for each in other.notices.recent(5)] == wishes
        other.lifecycle.delete("aaaaaaaa")
        assert copy_runs(file, other)["notices"] == 0
        assert len(other.notices.recent(5)) == 2


def test_a_copy_that_ends_in_between_leaves_nothing(tmp_path: Path, url: str) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with open_store(tmp_path) as file, Store(url) as server:
        fill(file, tmp_path / "runs")
        with pytest.raises(KeyboardInterrupt):
            copy_runs(file, server, on_progress=stop)
        assert not any(everything(server)[table] for table in ("runs", "epochs", "experiments"))
        copy_runs(file, server)
        assert rows_by_name(server) == rows_by_name(file)


def test_many_rows_of_any_numbers(tmp_path: Path, url: str) -> None:
    """Numbers come back to the last bit."""
    rng = random.Random(1)
    journal = finished_journal()
    for epoch in range(4, 60):
        journal.epoch(epoch, rng.random(), rng.random() * 10 ** rng.randint(-300, 0))
    with open_store(tmp_path) as file, Store(url) as server:
        ingest(file, add_run(file), journal.events)
        copy_runs(file, server)
        assert everything(server)["epochs"] == everything(file)["epochs"]


# ---------------------------------------------------------------------- commands


@pytest.fixture
def ours(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, url: str) -> Workspace:
    """A workspace with runs in its file; from here on SEG_DATABASE_URL names a server."""
    with workspace.open_store() as store:
        fill(store, workspace.runs)
    monkeypatch.setenv(DATABASE_VARIABLE, url)
    return workspace


def test_the_command_moves_a_workspace_there_and_back(seg: Command, ours: Workspace) -> None:
    assert seg("runs --json").json == []
    assert not ours.identity_file.exists()  # to look gives the workspace no name on the server
    done = seg("db copy --to server")
    assert done.status == 0
    assert "has 4 runs, " in done.out
    assert [row["id"] for row in seg("runs --sort run --json").json] == [c * 8 for c in "abcd"]
    assert seg("queue --json").json["queued"][0]["id"] == "dddddddd"
    assert "already; nothing was copied" in seg("db copy --to server").err
    ours.database.unlink()
    assert seg("db copy --to file").status == 0
    with Store(ours.file_url) as file, ours.open_store() as server:
        assert rows_by_name(file) == rows_by_name(server)


@pytest.mark.parametrize("word", ["elsewhere", "servr"])
def test_a_wrong_direction_is_refused(seg: Command, ours: Workspace, word: str) -> None:
    done = seg(f"db copy --to {word}")
    assert (done.status, done.out) == (BAD_USE, "")
    assert "must be one of server | file" in done.err


def test_copying_needs_a_server(seg: Command, ours: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATABASE_VARIABLE)
    assert "SEG_DATABASE_URL is not set; it names the server" in seg("db copy --to server").err
    monkeypatch.setenv(DATABASE_VARIABLE, "sqlite:////tmp/other.db")
    assert "SEG_DATABASE_URL: must be the URL of a server" in seg("runs").err


def test_check_and_rebuild_touch_their_own_workspace_only(
    seg: Command, ours: Workspace, url: str, tmp_path: Path
) -> None:
    with Store(url, workspace="ben@lab:/b") as ben:
        ben.journals.import_run(make_run_dir(tmp_path / "theirs", "bbbb9999", finished_journal()))
        assert seg("db copy --to server").status == 0
        theirs = ben.checks.rows_of_run("bbbb9999")
    assert seg("db check").out == "4 runs compared: the database matches their folders\n"
    with Store(url) as store, store.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM epochs WHERE run_id = 'aaaaaaaa' AND epoch = 2")
        connection.exec_driver_sql("UPDATE runs SET best_dice = 0.9 WHERE id = 'bbbbbbbb'")
    said = seg("db check")
    assert said.status == 1
    assert "2 of 6 rows in epochs are missing or wrong" in said.out
    assert seg("db check --fix").status == 0
    with Store(ours.file_url) as file, ours.open_store() as server:
        assert everything(server)["epochs"][:6] == everything(file)["epochs"][:6]
        assert server.checks.rows_of_run("bbbb9999") == theirs
        server.lifecycle.delete("cccccccc")
    done = seg("db rebuild")
    assert done.status == 0
    assert "postgresql://tests@/" in done.out
    assert "rebuilt from 4 runs" in done.out
    (backup,) = ours.root.glob("experiments.db.bak-*")
    with Store(f"sqlite:///{backup}") as before, ours.open_store() as server, Store(ours.file_url) as file:
        assert sorted(run.id[0] for run in before.runs()) == ["a", "b", "d"]
        assert len(server.runs([server.mine])) == 4
        assert server.checks.rows_of_run("bbbb9999") == theirs
        for table in ("epochs", "events", "results", "images", "tags"):
            mine = [row for row in everything(server)[table] if row[0] != "bbbb9999"]
            assert mine == everything(file)[table]
    assert not list(ours.root.glob(".rebuild-*"))


def test_what_needs_the_folder_of_another_workspace_says_where_it_is(
    seg: Command, ours: Workspace, url: str, tmp_path: Path
) -> None:
    assert seg("db copy --to server").status == 0
    with Store(url, workspace="ben@lab:/b") as ben:
        run: RunDir = make_run_dir(tmp_path / "theirs", "bbbb9999", finished_journal(), name="theirs")
        ben.journals.import_run(run)
        ben.lifecycle.set_status("bbbb9999", "failed", "killed")
    assert "theirs" in seg("show theirs").out
    for line in ("delete theirs --yes", "requeue theirs", "resume theirs"):
        done = seg(line)
        assert done.status == BAD_USE
        assert "bbbb9999: its folder is in the workspace ben@lab:/b; do that there" in done.err
    assert seg("note theirs 'see me'").status == 0
    with Store(url) as store:
        assert store.run("bbbb9999").note == "see me"


def test_a_copied_folder_of_another_workspace_is_not_taken(
    seg: Command, ours: Workspace, url: str, tmp_path: Path
) -> None:
    theirs = make_run_dir(tmp_path / "theirs", "bbbb9999", finished_journal())
    with Store(url, workspace="ben@lab:/b") as ben:
        ben.journals.import_run(theirs)
    done = seg(f"db import {theirs.path}")
    assert (done.status, done.out) == (BAD_USE, "")
    assert "bbbb9999: already belongs to the workspace ben@lab:/b" in done.err
    assert not ours.run_dir("bbbb9999").path.exists()
