"""`db import --from`: what other programs recorded, beside own runs and to the last digit."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.exits import BAD_USE, INTERRUPTED
from engine.run.directory import RunDir
from engine.run.events import Stopped
from engine.run.scalars import scalars
from engine.store import EpochRow
from engine.workspace import Workspace
from tests.engine.conftest import Command, import_made_up_run
from tests.engine.made_up_runs import MadeUpJournal, evaluation_config, evaluation_journal, make_run_dir


@pytest.fixture
def curve(workspace: Workspace) -> list[EpochRow]:
    """A run of two epochs, named `made up`, with digits that 32 bits do not have."""
    journal = MadeUpJournal()
    journal.begin()
    for epoch in (1, 2):
        journal.epoch(epoch, 0.1234567890123456 * epoch, 0.0987654321098765 * epoch)
    journal.finish(2)
    config = with_values(RunConfig(), {"seed": 7, "epochs": 3, "batch_size": 5})
    import_made_up_run(workspace, "abcdefgh", journal, config=config, name="made up")
    with workspace.open_store() as store:
        return store.results.epochs("abcdefgh")


@pytest.mark.parametrize("whole", [True, False])
def test_exported_runs_that_come_back_are_folded_over_their_seeds(
    seg: Command, workspace: Workspace, whole: bool
) -> None:
    for seed in (1, 2):
        journal = MadeUpJournal()
        journal.begin()
        journal.epoch(1, 0.5, 0.25 * seed)
        journal.finish(1)
        config = with_values(RunConfig(), {"seed": seed, "epochs": 3})
        import_made_up_run(workspace, f"abcdefg{seed}", journal, config=config, name=f"made up {seed}")
        folder = workspace.root / f"out{seed}"
        assert seg(f"export 'made up {seed}' --format csv --out {folder}").status == 0
        if not whole:  # as of a program that knows a few of the keys by chance
            runs = folder / "runs.csv"
            runs.write_text(runs.read_text().replace("runtime.threads", "threads"))
        assert seg(f"db import {folder} --from csv").status == 0
    done = seg(f"compare {' '.join(imported(workspace))} --fold-seeds")
    assert done.status == 0, done.err
    assert ("0.3750 ± 0.1768" in done.out) == whole


def imported(workspace: Workspace) -> list[str]:
    with workspace.open_store() as store:
        return [row.id for row in store.runs(["task=imported"])]


@pytest.mark.parametrize("program", ["csv", "tensorboard", "mlflow"])
def test_what_was_exported_comes_back_to_the_last_digit(
    seg: Command, workspace: Workspace, curve: list[EpochRow], program: str
) -> None:
    if program != "csv":
        pytest.importorskip(program)
    folder = workspace.root / "out"
    assert seg(f"export 'made up' --format {program} --out {folder}").status == 0
    done = seg(f"db import {folder} --from {program}")
    assert done.status == 0, done.err
    (run_id,) = imported(workspace)
    with workspace.open_store() as store:
        rows = store.results.epochs(run_id)
        row = store.run(run_id)
    assert [dict(scalars(each)) for each in rows] == [dict(scalars(each)) for each in curve]
    if program == "csv":
        assert [asdict(each) for each in rows] == [asdict(each) for each in curve]
    else:
        assert {each.seconds for each in rows} == {None}  # which these formats do not have
    assert (row.status, row.best_epoch, row.best_dice) == ("finished", 2, curve[-1].dice)
    if program != "tensorboard":
        assert (row.seed, row.epochs, row.config["batch_size"]) == (7, 3, 5)
        assert "left out" not in done.out
    assert row.experiment == ("imported" if program == "tensorboard" else "test")

    again = seg(f"db import {folder} --from {program}")
    assert "already here" in again.out
    assert imported(workspace) == [run_id]
    assert seg("db rebuild").status == 0
    assert imported(workspace) == [run_id]
    with workspace.open_store() as store:
        assert store.results.epochs(run_id) == rows
    compared = seg(f"compare {run_id} abcdefgh").out
    assert "made up" in compared
    if program == "csv":
        # What it does not tell, such as sections of other tasks, is no difference.
        assert set(seg(f"compare {run_id} abcdefgh --format json").json["config"]) == {
            *("task", "imported.program", "imported.source", "imported.unknown"),
        }
    assert seg(f"show {run_id}").status == 0
    for command in (f"resume {run_id}", f"rerun {run_id}", f"evaluate {run_id}"):
        refused = seg(command)
        assert refused.status != 0, command
        assert len(refused.err.splitlines()) == 1, refused.err


def test_evaluations_of_the_tables_come_along_without_what_the_tables_do_not_have(
    seg: Command, workspace: Workspace, curve: list[EpochRow]
) -> None:
    with workspace.open_store() as store:
        for run_id, dices, begins in (
            ("eval0001", {"a": 0.1234567890123456}, 3000.0),
            ("eval0002", {"a": 0.2}, 9000.0),
        ):
            journal = evaluation_journal("abcdefgh", dices, begins=begins)
            run = make_run_dir(workspace.runs, run_id, journal, evaluation_config("abcdefgh"))
            store.journals.import_run(run)
        first, second = store.results.evaluations_of("abcdefgh")
    out, later = (workspace.root / name for name in ("out", "later"))
    seg(f"export abcdefgh --format csv --out {later}")
    seg("delete eval0002 --yes")
    seg(f"export abcdefgh --format csv --out {out}")

    both = seg(f"db import {later} --from csv")
    assert "evaluations, without classes: 1; older evaluations of the same split" in both.out
    one = seg(f"db import {out} --from csv --experiment one")
    assert "older" not in one.out
    with workspace.open_store() as store:
        for evaluation, experiment in ((second, "test"), (first, "one")):
            (run_id,) = (row.id for row in store.runs(["task=imported"], experiment=experiment))
            (found,) = store.results.evaluations(run_id)
            same = {"run_id": run_id, "seq": found.seq}
            lacking = {"class_dice": {}, "class_iou": {}, "confusion": [], "source": ""}
            assert found == replace(evaluation, **lacking, **same)  # type: ignore[arg-type]
    assert "0.1235" in seg(f"show {run_id}").out
    metrics = [metric["title"] for metric in seg(f"compare abcdefgh {run_id} --format json").json["metrics"]]
    assert any("val at original" in title for title in metrics), metrics
    assert seg(f"db import {out} --from csv").out.strip().endswith("already here")
    assert "have no confusion matrix" in seg(f"figure confusion {run_id}").err
    assert seg("report one").status == 0


def test_a_run_that_was_imported_without_its_evaluations_is_no_changed_one(
    seg: Command, workspace: Workspace, curve: list[EpochRow]
) -> None:
    journal = evaluation_journal("abcdefgh", {"a": 0.5}, begins=3000.0)
    run = make_run_dir(workspace.runs, "eval0001", journal, evaluation_config("abcdefgh"))
    with workspace.open_store() as store:
        store.journals.import_run(run)
    folder = workspace.root / "out"
    seg(f"export abcdefgh --format csv --out {folder}")
    tables = (folder / "evaluations.csv").read_text()
    (folder / "evaluations.csv").unlink()
    assert seg(f"db import {folder} --from csv").status == 0  # as versions did that took no evaluations
    (run_id,) = imported(workspace)
    (folder / "evaluations.csv").write_text(tables)
    again = seg(f"db import {folder} --from csv")
    assert (again.status, again.err) == (0, "")
    told = f"already here, without its evaluations; `seg-engine delete {run_id}` and import again to take 1"
    assert told in again.out
    seg(f"delete {run_id} --yes")
    assert "evaluations, without classes: 1" in seg(f"db import {folder} --from csv").out
    (folder / "evaluations.csv").write_text(tables.replace("0.5", "0.25"))
    changed = seg(f"db import {folder} --from csv")
    assert (changed.status, "has changed since it was imported" in changed.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "epochs.csv",
            "run,name,epoch,split,t,dice\nx,x,two,val,1,0.5\n",
            "line 2: epoch and t must be",
        ),
        ("class_scores.csv", "run,dice\nx,0.5\n", "has no column class, epoch, split"),
        (
            "evaluations.csv",
            "run,split,at\nx,val,side\n",
            "an evaluation cannot be read: at: ",
        ),
        ("epochs.csv", "epoch,dice/val\n1,0.5\n", ""),
    ],
)
def test_tables_that_are_not_as_they_were_exported_are_one_line(
    seg: Command, workspace: Workspace, tmp_path: Path, name: str, text: str, says: str
) -> None:
    folder = write(tmp_path / "t", "epochs.csv", "run,name,epoch,split,t,dice\nx,x,1,val,1,0.5\n")
    write(folder, name, text)
    done = seg(f"db import {folder} --from csv")
    assert says in done.err
    assert len(done.err.splitlines()) == (1 if says else 0), done.err
    assert done.status == (BAD_USE if says else 0)


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_a_foreign_table_needs_to_know_which_number_is_the_dice(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    folder = write(tmp_path / "old", "night.csv", "epoch,F1,train_loss,gpu\n1,0.25,2.5,3\n2,0.5,1.5,3\n")
    asked = seg(f"db import {folder} --from csv")  # the loss alone is a score
    assert asked.status == 0
    assert "left out: F1, gpu" in asked.out
    seg(f"delete {imported(workspace)[0]} --yes")
    done = seg(f"db import {folder} --from csv --dice F1 --metric seconds/train=gpu --experiment old")
    assert done.status == 0, done.err
    (run_id,) = imported(workspace)
    record = seg(f"show {run_id} --json").json
    assert (record["best_dice"], record["last_loss"], record["experiment"]) == (0.5, 1.5, "old")
    assert "not known: checkpoints, images, device, config, how it ended" in record["note"]
    table = seg("runs --csv --columns id,model.name,optimizer.lr,dice").out
    assert f"{run_id},,,0.5" in table.replace("-", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "step,dice/val,lr/train,loss/train\n1,0.5,,\n2,,-0.1,1.5\n",
            "train at step 2 cannot be taken: lr: ",
        ),
        (
            "step,dice/val,class_dice/val/road\n1,0.5,1.5\n",
            "val at step 1 cannot be taken: class_dice.road: ",
        ),
        ("step,dice/val\nnan,0.5\ninf,0.25\n1,0.75\n", ""),
    ],
)
def test_numbers_that_no_epoch_can_have_are_one_line(
    seg: Command, workspace: Workspace, tmp_path: Path, text: str, says: str
) -> None:
    done = seg(f"db import {write(tmp_path / 'old', 'a.csv', text)} --from csv")
    assert done.status == (BAD_USE if says else 0), done.err
    assert says in done.err
    assert len(done.err.splitlines()) == (1 if says else 0), done.err
    if not says:
        assert [row["dice"] for row in seg(f"show {imported(workspace)[0]} --json").json["curve"]] == [0.75]


def test_what_cannot_be_taken_is_one_line(seg: Command, workspace: Workspace, tmp_path: Path) -> None:
    folder = write(tmp_path / "old", "a.csv", "step,F1\n1,0.5\n")
    unknown = seg(f"db import {folder} --from csv")
    assert unknown.status == BAD_USE
    assert "no metric is known as a score; say which one is with --dice NAME" in unknown.err
    assert "it has: F1" in unknown.err
    assert (
        "has no metric dice for dice/val; it has: F1" in seg(f"db import {folder} --from csv --dice dice").err
    )
    percent = write(tmp_path / "percent", "a.csv", "epoch,dice/val\n1,63.2\n")
    assert (
        "dice/val is 63.2 at step 1; a score must be from 0 to 1"
        in seg(f"db import {percent} --from csv").err
    )
    other = write(tmp_path / "other", "a.csv", "x,y\n1,2\n")
    assert "has no column called epoch or step" in seg(f"db import {other} --from csv").err
    assert "has no records of tensorboard" in seg(f"db import {folder} --from tensorboard").err
    assert (
        "--metric nonsense: must be WHAT=NAME" in seg(f"db import {folder} --from csv --metric nonsense").err
    )
    assert "other programs; add --from" in seg(f"db import {folder} --dice F1").err
    assert imported(workspace) == []
    assert "task: imported is for records" in seg(f"run quick task=imported --data {tmp_path}").err


def test_a_table_that_cannot_be_taken_costs_no_other(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    folder = write(tmp_path / "old", "notes.csv", "who,what\nme,nothing\n")
    table = "epoch,dice/val\n1,0.5\n"
    write(folder, "before.csv", table)
    write(folder, os.fsdecode(b"caf\xe9.csv"), table)
    write(folder, "parts.csv", "epoch,dice/val\n0.25,0.5\n0.75,0.6\n")
    write(folder, "two\nlines.csv", table)
    write(folder, " .csv", table)
    (folder / "folder.csv").mkdir()
    done = seg(f"db import {folder} --from csv")
    assert done.status == 1
    told = sorted(line.rpartition("/")[2] for line in done.err.splitlines())
    assert told == [
        "caf\\xe9.csv: its name is not valid UTF-8, which databases need",
        "notes.csv: has no column called epoch or step",
        "parts.csv: epoch 0.25 is no whole number; one of the columns epoch and step must have them alone",
    ]
    with workspace.open_store() as store:
        names = {row.name: row.id for row in store.runs()}
    (unnamed,) = names.keys() - {"before", "two␊lines"}
    assert len(names) == 3
    assert unnamed == names[unnamed]
    assert (
        "experiment: 'a\\nb' has a line break"
        in seg(f"db import {folder} --from csv --experiment 'a\nb'").err
    )


def test_an_epoch_in_parts_stands_beside_steps(seg: Command, workspace: Workspace, tmp_path: Path) -> None:
    folder = write(tmp_path / "old", "a.csv", "epoch,dice/val,step\n0.25,0.5,100\n0.75,0.6,300\n")
    assert seg(f"db import {folder} --from csv").status == 0
    curve = seg(f"show {imported(workspace)[0]} --json").json["curve"]
    assert [(row["epoch"], row["dice"]) for row in curve] == [(100, 0.5), (300, 0.6)]


def test_another_copy_of_a_table_is_no_changed_one(
    seg: Command, workspace: Workspace, tmp_path: Path
) -> None:
    folder = write(tmp_path / "old", "a.csv", "epoch,dice/val\n1,0.5\n2,0.25\n")
    assert seg(f"db import {folder} --from csv").status == 0
    os.utime(folder / "a.csv", (1e9, 1e9))
    again = seg(f"db import {folder} --from csv")
    assert (again.status, again.out.strip().endswith("already here")) == (0, True), again.err
    write(folder, "a.csv", "epoch,dice/val\n1,0.5\n2,0.25\n3,0.75\n")
    assert "has changed since it was imported" in seg(f"db import {folder} --from csv").err


def test_an_import_that_was_interrupted_is_made_good_by_the_next(
    seg: Command, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "old", "a.csv", "epoch,dice/val\n1,0.5\n")
    create = RunDir.create

    def interrupted(run: RunDir, *words: Any) -> None:
        create(run, *words)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "create", interrupted)
        assert seg(f"db import {folder} --from csv").status == INTERRUPTED
    assert imported(workspace) == []
    again = seg(f"db import {folder} --from csv")
    assert again.status == 0, again.err
    assert seg(f"show {imported(workspace)[0]} --json").json["best_dice"] == 0.5


def test_a_stopped_run_comes_back_from_mlflow_as_stopped(seg: Command, workspace: Workspace) -> None:
    pytest.importorskip("mlflow")
    journal = MadeUpJournal()
    journal.begin()
    journal.epoch(1, 0.5, 0.5)
    journal.add(Stopped(cause="stopped", epoch=1))
    import_made_up_run(workspace, "abcdefgh", journal)
    folder = workspace.root / "out"
    assert seg(f"export abcdefgh --format mlflow --out {folder}").status == 0
    assert seg(f"db import {folder} --from mlflow").status == 0
    with workspace.open_store() as store:
        assert [store.run(run_id).status for run_id in imported(workspace)] == ["stopped"]


def test_what_mlflow_cannot_read_is_a_line_and_no_traceback(
    seg: Command, workspace: Workspace, curve: list[EpochRow]
) -> None:
    pytest.importorskip("mlflow")
    nothing = seg(f"db import {workspace.runs} --from mlflow")
    assert nothing.err == f"error: {workspace.runs}: has no records of mlflow\n"
    folder = workspace.root / "out"
    seg(f"export 'made up' --format mlflow --out {folder}")
    (folder / "123456").mkdir()
    half = seg(f"db import {folder} --from mlflow")
    assert len(imported(workspace)) == 1
    assert half.err.startswith("left out: Malformed experiment '123456'")
    assert len(half.err.splitlines()) == 1
