"""`seg-engine clean`: what it says, what it frees, and what it never does."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.data.prune import CacheInfo
from engine.requests.cleaning import Users, free
from engine.run.directory import RunDir
from engine.run.events import Stopped
from engine.store import Store
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import MadeUpJournal, finished_journal, make_run_dir


def fill(run: RunDir, *checkpoints: str) -> None:
    for name in checkpoints:
        (run.checkpoints / name).write_bytes(b"x" * 1000)
    (run.gallery / "epoch_0001").mkdir()
    (run.gallery / "epoch_0001/0.png").write_bytes(b"x" * 200)
    run.log.write_bytes(b"x" * 30)


@pytest.fixture
def runs(workspace: Workspace) -> dict[str, RunDir]:
    """A finished run, and one for each reason to keep last.pt."""
    stopped = MadeUpJournal()
    stopped.begin()
    stopped.add(Stopped(cause="stopped", epoch=0))
    found = {
        "plain": import_made_up_run(workspace, "aaaa1111", finished_journal(), name="plain"),
        "kept": import_made_up_run(workspace, "bbbb2222", finished_journal(), name="kept", protected=True),
        "source": import_made_up_run(workspace, "cccc3333", finished_journal(), name="source"),
        "only": import_made_up_run(workspace, "dddd4444", finished_journal(), name="only"),
        "stopped": import_made_up_run(workspace, "eeee5555", stopped, name="stopped"),
    }
    for name, run in found.items():
        fill(run, *(["last.pt"] if name == "only" else ["last.pt", "best.pt"]))
    weights = {"init.weights": "../cccc3333/checkpoints/last.pt", "init.mode": "same"}
    user = make_run_dir(workspace.runs, "ffff6666", finished_journal(), name="user")
    known = with_values(RunConfig(), {"init.weights": weights["init.weights"]})
    user.config_file.write_text(known.model_dump_json())
    with workspace.open_store() as store:
        store.journals.import_run(user)
    return found


def test_without_a_kind_it_says_what_takes_the_disk(seg: Command, runs: dict[str, RunDir]) -> None:
    told = seg("clean")
    assert told.status == 0
    assert "can be freed" in told.out
    record = {each["run"]: each for each in seg("clean --json").json["runs"]}
    assert record["aaaa1111"]["bytes"] | {"other": 0} == {
        "last": 1000, "best": 1000, "galleries": 200, "logs": 30, "other": 0,
    }  # fmt: skip
    assert "plain" in told.out


def test_last_is_freed_only_where_nobody_needs_it(
    seg: Command, runs: dict[str, RunDir], workspace: Workspace
) -> None:
    dry = seg("clean last")
    assert "last of aaaa1111" in dry.out
    for why in (
        "is protected",
        "is needed by ffff6666",
        "has no other checkpoint",
        "is stopped and can be resumed",
    ):
        assert f"kept of 1 run, last: {why}" in dry.out
    assert "would free 1000 B; this cannot be undone; add --yes to free it" in dry.out
    assert all((run.checkpoints / "last.pt").exists() for run in runs.values())
    done = seg("clean last --yes")
    assert "freed 1000 B" in done.out
    assert [name for name, run in runs.items() if not (run.checkpoints / "last.pt").exists()] == ["plain"]
    assert (runs["plain"].checkpoints / "best.pt").exists()
    later = seg("evaluate aaaa1111 --checkpoint last")
    assert "aaaa1111: `seg-engine clean` removed it on 20" in later.err
    assert "it has best.pt" in later.err
    resumed = seg("resume aaaa1111")
    assert resumed.status != 0
    assert "is finished" in resumed.err
    assert "last.pt" not in "\n".join(
        line for line in seg("db check").out.splitlines() if line.startswith("aaaa")
    )
    assert seg("clean last").out.count("nothing to free") == 1


def test_galleries_and_logs_of_one_run(seg: Command, runs: dict[str, RunDir]) -> None:
    assert "freed 230 B" in seg("clean galleries logs --run plain --yes").out
    assert list(runs["plain"].gallery.iterdir()) == []
    assert not runs["plain"].log.exists()
    assert (runs["source"].gallery / "epoch_0001/0.png").exists()
    assert seg("show plain").status == 0
    for command in ("picture plain", "logs plain"):
        assert "`seg-engine clean` removed" in seg(command).err


def test_who_came_meanwhile_keeps_its_source_and_configs_are_read_once(
    runs: dict[str, RunDir], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace.open_store() as store:
        users = Users(store)
        late = make_run_dir(workspace.runs, "gggg7777", finished_journal(), name="late")
        weights = {"init.weights": "../aaaa1111/checkpoints/last.pt"}
        late.config_file.write_text(with_values(RunConfig(), weights).model_dump_json())
        store.journals.import_run(late)
        monkeypatch.setattr(Store, "runs", lambda *args: pytest.fail("all configs were read again"))
        assert free(workspace, store, "aaaa1111", "last", users) == "is needed by gggg7777"
        assert free(workspace, store, "aaaa1111", "logs", users) == ""
    assert (runs["plain"].checkpoints / "last.pt").exists()
    assert not runs["plain"].log.exists()


def test_of_one_run_nothing_is_said_of_the_caches_which_are_of_none(
    seg: Command, runs: dict[str, RunDir], workspace: Workspace
) -> None:
    told = seg("clean --run plain").out
    assert [line.split()[0] for line in told.splitlines()[1:4]] == ["last", "galleries", "logs"]
    assert "caches" not in told
    assert "everything else of 1 run, never" in told
    assert "caches" not in seg("clean --run plain --json").json
    assert seg("clean --json").json["caches"] == []


def test_caches_that_there_is_no_line_for_are_counted(
    seg: Command, runs: dict[str, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [CacheInfo(f"{i:016x}", Path("/c"), 10, 1, (8, 8), "/data", 0.0, 0.0) for i in range(13)]
    monkeypatch.setattr("engine.cli.clean.caches", lambda workspace: found)
    told = seg("clean caches").out
    assert told.count("  cache ") == 10
    assert "and 3 more caches; --json lists all" in told


def test_a_run_that_is_deleted_meanwhile_does_not_keep_the_others(
    seg: Command, runs: dict[str, RunDir], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def freed(workspace: Workspace, store: Store, run_id: str, kind: str, users: Users) -> str:
        if run_id == "aaaa1111":
            store.lifecycle.delete(run_id)  # by another terminal, since what there is was read
        return free(workspace, store, run_id, kind, users)

    monkeypatch.setattr("engine.cli.clean.free", freed)
    done = seg("clean logs --yes")
    assert done.status == 0
    assert "aaaa1111: logs kept: the run was deleted meanwhile" in done.err
    assert not runs["source"].log.exists()


def test_wrong_words_free_nothing(seg: Command, runs: dict[str, RunDir]) -> None:
    assert "did you mean last?" in seg("clean lasts --yes").err
    assert "name some of caches, last, galleries, logs" in seg("clean --yes").err
    assert "caches: belong to no run" in seg("clean caches --run plain").err
    assert all((run.checkpoints / "last.pt").exists() for run in runs.values())
