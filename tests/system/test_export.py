"""`seg-engine export` as people call it: a run that was trained, its file, its model card, and refusals."""

from __future__ import annotations

import json

from engine.agent.ingest import refresh
from engine.store import Store
from engine.workspace import Workspace
from tests.system.conftest import Queue, seg, work


def test_a_trained_run_is_exported_with_a_model_card(
    workspace: Workspace, store: Store, queue: Queue
) -> None:
    run = queue(epochs=1)
    early = seg(workspace, "export", run.id)
    assert early.returncode == 2
    assert "has no such checkpoint; it has none yet" in early.stderr
    assert work(run) == 0
    refresh(store, [run])
    for words, problem in (
        (["--size", "33x32"], "unet needs sides that are multiples of 16"),
        (["--size", "large"], "--size large: must be HEIGHTxWIDTH"),
        (["--format", "caffe"], "onnx | torchscript | pt2"),
        (["--out", str(workspace.runs)], "has files that are of no export"),
        (["--out", str(workspace.database)], "is a file; it must be a folder"),
    ):
        refused = seg(workspace, "export", run.id, *words)
        assert refused.returncode == 2, words
        assert problem in refused.stderr

    folder = workspace.root / "exported"
    for _ in range(2):  # an export replaces an earlier one
        words = ["--format", "torchscript", "--out", str(folder), "--json"]
        done = seg(workspace, "export", run.id, *words)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["about"]["run"] == run.id
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.pt"]
    card = (folder / "README.md").read_text()
    assert f"Run {run.id}, recipe quick, seed 0, epoch 1 of 1" in card
    assert "Trained from scratch" in card
    assert "| road |" in card
