"""Workspaces made by earlier versions go on working: the runs in them stand for people's months of work."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tarfile
from pathlib import Path

import pytest

from engine.workspace import Workspace
from tests.system.conftest import seg

GOLDEN = Path(__file__).parent.parent / "golden"
RUNS = {
    *("trained", "official", "chain pretrain", "chain", "scored", "scored-flip"),
    *("detected", "shaken", "trained-predict", "stopped"),
}


@pytest.fixture(params=["v0.1"])
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """A writable copy of a workspace that an earlier version made."""
    with tarfile.open(GOLDEN / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    for config in tmp_path.glob("runs/*/config.json"):
        config.write_text(config.read_text().replace('"/golden/', f'"{tmp_path}/'))
    with contextlib.closing(sqlite3.connect(tmp_path / "experiments.db")) as database, database:
        database.execute("UPDATE runs SET config = replace(config, '\"/golden/', ?)", (f'"{tmp_path}/',))
    return Workspace(tmp_path)


def ok(golden: Workspace, *arguments: str) -> str:
    done = seg(golden, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listed(golden: Workspace) -> dict[str, dict[str, object]]:
    """What `runs --json` says of each run by name, without its agent, which a rebuilt database forgets."""
    runs = json.loads(ok(golden, "runs", "--json"))
    return {run["name"]: {key: run[key] for key in run if key != "claimed_by"} for run in runs}


def test_every_run_is_listed_shown_and_compared(golden: Workspace) -> None:
    runs = listed(golden)
    assert set(runs) == RUNS
    for name in RUNS:
        assert name in ok(golden, "show", name)
    compared = ok(golden, "compare", "trained", "official", "chain", "--format", "csv")
    assert "0.4441" in compared


def test_a_rebuilt_database_says_the_same(golden: Workspace) -> None:
    before = listed(golden)
    ok(golden, "db", "check")
    golden.database.unlink()
    ok(golden, "db", "rebuild")
    assert listed(golden) == before


def test_a_stopped_run_goes_on_where_it_was(golden: Workspace) -> None:
    run = next(golden.runs.glob(str(listed(golden)["stopped"]["id"])))
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "epochs": 8}))
    done = seg(golden, "resume", "stopped")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "  8/8" in done.stdout
    assert "  5/8" not in done.stdout  # epochs before the stop are not trained again


@pytest.mark.parametrize("source", ["trained", "official", "chain"])
def test_a_trained_network_is_scored_as_before(golden: Workspace, source: str) -> None:
    ok(golden, "evaluate", source, "--at", "input", "--name", "again", "device=cpu", "precision=fp32")
    runs = listed(golden)
    # The training's own score at the input size, but for bfloat16 where the CPU multiplies it.
    assert runs["again"]["last_dice"] == pytest.approx(runs[source]["best_dice"], abs=0.03)


@pytest.mark.parametrize(
    "arguments",
    [
        ("ood", "trained", "--ood-data", "strange"),
        ("robustness", "trained"),
        ("rerun", "official", "epochs=1"),
        ("run", "quick", "init.from=trained", "data.size=32x64", "model.width=2", "--data", "data"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_new_work_stands_on_old_runs(
    golden: Workspace, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(golden.root)
    ok(golden, *arguments, "device=cpu")
