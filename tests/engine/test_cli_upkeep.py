"""The commands that look after data, database and machine: `data`, `db` and `doctor`."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.config.sections import DataConfig
from engine.data.dataset import open_dataset
from engine.data.synthetic import synthesize
from engine.exits import BAD_USE
from engine.workspace import Workspace
from tests.engine.conftest import Command, failed_journal, import_made_up_run
from tests.engine.made_up_runs import MadeUpJournal, finished_journal, make_run_dir

# --- data --------------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    synthesize(tmp_path / "scenes", images=5, size=(64, 96), seed=1)
    return tmp_path / "scenes"


def test_synthesized_data_passes_the_check_that_is_named_next(seg: Command, tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    made = seg(f"data synthesize '{folder}' --images 4 --size 64x96 --seed 2")
    assert made.status == 0
    assert "3 training and 1 validation images of 64x96" in made.out
    assert f"seg-engine run quick --data '{folder}'" in made.out
    checked = seg(f"data check '{folder}'")
    assert checked.status == 0
    assert "pairs   train 3, val 1" in checked.out
    assert "64x96 (4)" in checked.out
    assert "no faults" in checked.out
    assert seg(f"data synthesize '{folder}' --images 4").status == BAD_USE


def test_check_measures_the_share_of_each_class(seg: Command, scenes: Path) -> None:
    found = seg(f"data check {scenes} --json").json
    assert sum(found["class_shares"].values()) == pytest.approx(1)
    assert found["class_shares"]["road"] > 0.1
    assert 0 <= found["void_share"] < 0.5
    assert found["sizes"] == [{"height": 64, "width": 96, "pairs": 5}]
    assert found["splits"] == {"train": 4, "val": 1}


def test_check_lists_every_fault_and_ends_with_1(seg: Command, scenes: Path) -> None:
    labels = sorted(scenes.glob("gtFine/*/*/*.png"))
    labels[0].write_bytes(b"")
    labels[1].unlink()
    Image.fromarray(np.full((64, 96), 99, dtype=np.uint8)).save(labels[2])
    done = seg(f"data check {scenes}")
    assert done.status == 1
    assert "3 faults" in done.out
    assert all(label.name in done.out for label in (labels[0], labels[2]))
    assert "no faults" not in done.out
    faults = seg(f"data check {scenes} --json").json["faults"]
    assert {fault["kind"] for fault in faults} == {"unreadable", "missing_label", "label_value"}


def test_caches_are_listed_and_pruned(seg: Command, workspace: Workspace, scenes: Path) -> None:
    assert "no caches" in seg("data cache").err
    key = open_dataset(DataConfig(root=str(scenes), size=(32, 32)), workspace.cache).train.cache.key
    assert key in seg("data cache").out
    assert seg("data cache --json").json[0]["key"] == key
    assert "nothing to remove" in seg("data cache --prune --older-than 1").err
    assert key in seg(f"data cache --prune {key}").out
    assert seg("data cache --json").json == []


# --- db ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_runs")
def test_rebuild_makes_the_same_runs_again_and_keeps_the_old_file(seg: Command, workspace: Workspace) -> None:
    before = seg("runs --json").json
    assert seg("db path").out.strip() == str(workspace.database)
    workspace.database.write_bytes(b"no database at all" * 100)
    assert "`seg-engine db rebuild`" in seg("runs").err
    done = seg("db rebuild --json")
    assert done.status == 0
    assert done.json["imported"] == ["aaaa1111", "bbbb2222"]
    assert Path(done.json["backup"]).read_bytes().startswith(b"no database")
    assert seg("runs --json").json == before
    assert "up to date" in seg("db upgrade").out


@pytest.mark.usefixtures("two_runs")
def test_rebuild_tells_of_folders_that_cannot_be_read(seg: Command, workspace: Workspace) -> None:
    (workspace.runs / "aaaa1111" / "run.json").unlink()
    done = seg("db rebuild")
    assert done.status == 1
    assert "rebuilt from 1 runs" in done.out
    assert "left out: aaaa1111" in done.err


@pytest.mark.usefixtures("two_runs")
def test_a_rebuild_that_fills_the_disk_is_one_line_also_without_a_database(
    seg: Command, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(database: Path) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr("engine.store.rebuild._into_one_file", fill)
    workspace.database.unlink()
    done = seg("db rebuild")
    assert (done.status, len(done.err.splitlines())) == (BAD_USE, 1)
    assert "cannot be rebuilt: the disk is full; free some space and try again" in done.err
    assert not workspace.database.exists()


def test_rebuild_needs_run_folders(seg: Command) -> None:
    done = seg("db rebuild")
    assert done.status == BAD_USE
    assert "the database is rebuilt from its run folders" in done.err


def test_import_brings_a_run_home_and_twice_changes_nothing(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    away = make_run_dir(tmp_path / "usb", "aaaa1111", finished_journal(), name="from afar")
    assert "from afar  finished, epoch 3/60, copied to" in seg(f"db import {away.path}").out
    home = seg("show aaaa --json").json
    assert home["files"]["folder"] == str(workspace.runs / "aaaa1111")
    assert "already here" in seg(f"db import {away.path}").out
    assert seg("show aaaa --json").json["curve"] == home["curve"]
    assert [path.name for path in workspace.runs.iterdir()] == ["aaaa1111"]
    assert seg("db rebuild").status == 0
    assert len(seg("runs --json").json) == 1


def test_a_run_that_went_on_elsewhere_is_brought_up_to_date(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, 0.1, 0.2)
    away = make_run_dir(tmp_path / "usb", "aaaa1111", journal)
    seg(f"db import {away.path}")
    journal.epoch(2, 0.3, 0.4)
    journal.finish(2)
    journal.write(away.journal)
    assert "finished, epoch 2/60, updated" in seg(f"db import {away.path}").out
    assert [path.name for path in workspace.runs.iterdir()] == ["aaaa1111"]


def test_a_run_that_was_copied_while_it_was_written_is_made_whole_later(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    journal = finished_journal()
    away = make_run_dir(tmp_path / "usb", "aaaa1111", journal)
    whole = away.journal.read_bytes()
    cut = whole.index(b'"event":"epoch"') + 40  # within a line, which the worker's death leaves torn
    away.journal.write_bytes(whole[:cut])
    assert "running, epoch 0/60, copied to" in seg(f"db import {away.path}").out
    here = workspace.run_dir("aaaa1111")
    (here.outputs / "figure.png").write_bytes(b"made here")
    line = whole[:cut].rfind(b"\n") + 1  # the next attempt writes another line in its place
    away.journal.write_bytes(whole[:line] + whole[line:].replace(b'"loss":0.8', b'"loss":0.9', 1))
    assert "finished, epoch 3/60, updated" in seg(f"db import {away.path}").out
    assert (here.outputs / "figure.png").read_bytes() == b"made here"

    (away.checkpoints / "best.pt").write_bytes(b"weights")
    away.log.write_text("all that was printed")
    here.log.write_text("all that")
    assert "got 2 files that were missing or incomplete" in seg(f"db import {away.path}").out
    assert (here.checkpoints / "best.pt").read_bytes() == b"weights"
    assert here.log.read_text() == "all that was printed"
    (here.checkpoints / "best.pt").unlink()
    journal.begin(resumed_from_epoch=3)  # it goes on here: nothing old comes back
    with here.journal.open("a") as lines:
        lines.write(journal.events[-3].model_dump_json() + "\n")
    assert "running, epoch 3/60, already here" in seg(f"db import {away.path}").out
    assert not (here.checkpoints / "best.pt").exists()


def test_two_histories_of_one_id_are_not_mixed(seg: Command, workspace: Workspace, tmp_path: Path) -> None:
    import_made_up_run(workspace, "aaaa1111", finished_journal())
    other = make_run_dir(tmp_path / "usb", "aaaa1111", failed_journal())
    before = (workspace.runs / "aaaa1111" / "journal.jsonl").read_bytes()
    done = seg(f"db import {other.path}")
    assert done.status == BAD_USE
    assert "its journal differs from that of" in done.err
    assert (workspace.runs / "aaaa1111" / "journal.jsonl").read_bytes() == before


def test_of_several_folders_only_those_that_are_fit_are_taken(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    good = make_run_dir(tmp_path / "usb", "aaaa1111", finished_journal())
    renamed = make_run_dir(tmp_path / "usb", "bbbb2222", finished_journal())
    shutil.move(renamed.path, tmp_path / "usb" / "copy")
    alone = seg(f"db import {tmp_path / 'usb' / 'copy'}")
    assert (alone.status, alone.out) == (BAD_USE, "")
    assert "belongs to run bbbb2222; rename the folder to that id" in alone.err
    assert not workspace.database.exists()
    done = seg(f"db import {tmp_path / 'usb' / 'copy'} {good.path}")
    assert done.status == 1
    assert "copy: belongs to run bbbb2222; rename the folder to that id" in done.err
    assert [run["id"] for run in seg("runs --json").json] == ["aaaa1111"]
    assert [path.name for path in workspace.runs.iterdir()] == ["aaaa1111"]


# --- doctor ------------------------------------------------------------------------------------


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces what the doctor asks of another Python, as importing torch takes seconds."""

    def replace(script: str) -> None:
        monkeypatch.setattr("engine.cli.doctor.PROBE", script)

    return replace


def as_probe(**found: object) -> str:
    fit = {
        "sqlite": "3.51.3",
        "seconds": 2.0,
        "torch": "2.10",
        "torchvision": "0.25",
        "cuda": "13.0",
        "devices": [{"name": "Some GPU", "capability": "9.0", "free": 70 << 30, "total": 80 << 30}],
    }
    return f"import json; print(json.dumps({fit | found!r}))"


def test_doctor_looks_at_everything_without_importing_torch(
    seg: Command, probe: Callable[[str], None], workspace: Workspace
) -> None:
    probe(as_probe())
    findings = {finding["name"]: finding for finding in seg("doctor --json").json}
    assert {"python", "sqlite", "torch", "cuda:0", "cores", "processor", "memory", "disk", "database"} <= set(
        findings
    )
    assert findings["cuda:0"]["found"] == "Some GPU, 70.0 GiB of 80.0 GiB free, compute capability 9.0"
    assert findings["sqlite"]["state"] == "ok"
    assert findings["database"]["found"].startswith("none yet")
    assert not workspace.database.exists()


def test_doctor_warns_of_an_old_sqlite_and_a_full_gpu_and_is_still_content(
    seg: Command, probe: Callable[[str], None]
) -> None:
    full = {"name": "Some GPU", "capability": "9.0", "free": 1 << 20, "total": 80 << 30}
    probe(as_probe(sqlite="3.40.1", devices=[full]))
    done = seg("doctor")
    assert done.status == 0
    assert "warn  sqlite        3.40.1 has the WAL-reset bug" in done.out
    assert "warn  cuda:0" in done.out


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (as_probe(problem="ImportError: no libcudart"), "ImportError: no libcudart"),
        ("import os; os._exit(3)", "the import ended the process: exit status 3"),
        ("raise SystemExit('illegal instruction')", "illegal instruction"),
    ],
)
def test_doctor_fails_when_torch_does(
    seg: Command, probe: Callable[[str], None], script: str, says: str
) -> None:
    probe(script)
    done = seg("doctor")
    assert done.status == 1
    assert any(line.startswith("fail  torch") and says in line for line in done.out.splitlines())


def test_doctor_finds_a_damaged_database(
    seg: Command, probe: Callable[[str], None], workspace: Workspace
) -> None:
    probe(as_probe())
    workspace.database.write_bytes(b"no database at all" * 100)
    done = seg("doctor --json")
    assert done.status == 1
    database = next(finding for finding in done.json if finding["name"] == "database")
    assert database["state"] == "fail"
    assert "seg-engine db rebuild" in database["found"]


def test_doctor_says_when_the_workspace_cannot_be_written(
    seg: Command, probe: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe(as_probe())
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    done = seg("doctor --json")
    assert done.status == 1
    assert next(f for f in done.json if f["name"] == "workspace")["state"] == "fail"
