"""Records of runs in other programs' formats, read by these programs: every digit is the database's."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from engine.run.scalars import scalars
from engine.store import EpochRow, Store
from engine.workspace import Workspace
from tests.engine.conftest import import_made_up_run
from tests.engine.made_up_runs import MadeUpJournal
from tests.system.conftest import seg
from tests.tui.made_up_gallery import write_epoch


@pytest.fixture
def curve(workspace: Workspace, store: Store) -> list[EpochRow]:
    """The curve of a run of two epochs, named `made up`, with digits that 32 bits do not have."""
    journal = MadeUpJournal()
    journal.begin()
    for epoch in (1, 2):
        journal.epoch(epoch, 0.1234567890123456 * epoch, 0.0987654321098765 * epoch)
    journal.finish(2)
    run = import_made_up_run(workspace, "abcdefgh", journal, name="made up")
    write_epoch(run.gallery, 2, (0.5, 0.5, 0.5))
    return store.results.epochs(store.resolve("made up"))


def exported(workspace: Workspace, form: str) -> Path:
    folder = workspace.root / f"out-{form}"
    done = seg(workspace, "export", "made up", "--format", form, "--out", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_tables(workspace: Workspace, curve: list[EpochRow]) -> None:
    with open(exported(workspace, "csv") / "epochs.csv") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["dice"]) for line in lines] == [row.dice for row in curve]
    runs = json.loads((exported(workspace, "json") / "runs.json").read_text())
    assert runs[0]["name"] == "made up"
    assert "optimizer.lr" in runs[0]
    polars = pytest.importorskip("polars", reason="comes with the extra frames")
    folder = exported(workspace, "parquet")
    assert polars.read_parquet(folder / "epochs.parquet")["dice"].to_list() == [row.dice for row in curve]
    assert polars.read_parquet(folder / "class_scores.parquet").height == sum(
        len(row.class_dice) for row in curve
    )


def test_tensorboard_reads_every_digit(workspace: Workspace, curve: list[EpochRow]) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.util.tensor_util import make_ndarray

    (folder,) = exported(workspace, "tensorboard").iterdir()
    read = accumulators.EventAccumulator(str(folder), size_guidance={"tensors": 0})
    read.Reload()
    for row in curve:
        for name, value in scalars(row):
            steps = {event.step: make_ndarray(event.tensor_proto).item() for event in read.Tensors(name)}
            assert steps[row.epoch] == value, name
    (picture,) = read.Tensors("predictions")
    assert Image.open(io.BytesIO(make_ndarray(picture.tensor_proto)[2])).size[0] > 10


def test_mlflow_reads_every_digit(
    workspace: Workspace, curve: list[EpochRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="comes with the extra mlflow")
    folder = exported(workspace, "mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = tracking.MlflowClient(tracking_uri=folder.as_uri())
    experiments = [each for each in client.search_experiments() if each.name != "Default"]
    (run,) = client.search_runs([experiments[0].experiment_id])
    assert run.info.run_name == "made up"
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer.lr"]
    for row in curve:
        for name, value in scalars(row):
            found = {each.step: each.value for each in client.get_metric_history(run.info.run_id, name)}
            assert found[row.epoch] == value, name
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["predictions.png"]


def test_wandb_writes_an_offline_run(workspace: Workspace, curve: list[EpochRow]) -> None:
    pytest.importorskip("wandb", reason="comes with the extra wandb")
    (folder,) = (exported(workspace, "wandb-offline") / "wandb").glob("offline-run-*")
    (file,) = folder.glob("run-*.wandb")
    written = file.read_bytes()
    assert b"class_dice/val/" in written
    assert repr(curve[-1].dice).encode() in written
    (picture,) = (folder / "files" / "media" / "images").glob("predictions_2_*.png")
    assert Image.open(picture).size[0] > 10


def test_refusals_are_one_line(workspace: Workspace, curve: list[EpochRow]) -> None:
    (workspace.root / "full").mkdir()
    (workspace.root / "full" / "thesis.txt").write_text("mine")
    for words, problem in (
        (["--format", "csv", "--out", str(workspace.root / "full")], "name a new or an empty folder"),
        (["--format", "csv", "--size", "64x64"], "--size: is for networks"),
        (["made up", "--format", "onnx"], "exports one network; 2 were given"),
        (["nobody", "--format", "csv"], "nobody: no run has that id or name"),
    ):
        refused = seg(workspace, "export", "made up", *words)
        assert refused.returncode == 2, words
        assert problem in refused.stderr
        assert len(refused.stderr.splitlines()) == 1, refused.stderr
