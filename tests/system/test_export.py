"""`seg-engine export` as people call it: a run that was trained, its file, its model card, and refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import engine
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
        (["--size", "33x32"], "--size 33x32 does not suit unet, whose input sides must divide by 16"),
        (["--size", "large"], "--size large: must be HEIGHTxWIDTH"),
        (["--format", "caffe"], "onnx | torchscript | pt2"),
        (["--out", str(workspace.runs)], "contains files that no export wrote"),
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


def test_an_exported_network_is_scored_without_torch_as_its_run_is(
    workspace: Workspace, store: Store, queue: Queue, street: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="comes with the extra export")
    run = queue(epochs=1, precision="fp32")
    assert work(run) == 0
    refresh(store, [run])
    done = seg(workspace, "export", run.id, "--out", str(workspace.root / "exported"))
    assert done.returncode == 0, done.stderr
    file = workspace.root / "exported" / "model.onnx"
    code = "import sys; sys.modules['torch'] = None; from engine.cli.main import main; main()"
    command = [sys.executable, "-c", code, "-w", str(workspace.root), "evaluate", str(file)]
    for words, problem in (
        ([], "--data DIR: is needed, as model.onnx does not say where"),
        (["--data", str(street), "--tta", "flip"], "--tta: has no effect on model.onnx, which is not a run"),
        (["--data", str(street), "epochs=3"], "epochs: is fixed by the export of model.onnx"),
    ):
        refused = subprocess.run([*command, *words], capture_output=True, text=True)
        assert refused.returncode == 2, words
        assert problem in refused.stderr
    words = ["--data", str(street), "data.split=random", "data.val_fraction=0.25"]
    words += ["data.split_rule=threshold", "--json"]
    scored = subprocess.run([*command, *words], capture_output=True, text=True)
    assert scored.returncode == 0, scored.stderr
    ours = json.loads(scored.stdout)

    bench = [*command[:-2], "bench", str(file), "--latency", "--seconds", "0.1", "--json"]
    timed = subprocess.run(bench, capture_output=True, text=True)
    assert timed.returncode == 0, timed.stderr
    rows = json.loads(timed.stdout)
    assert [(row["protocol"], row["runtime"], row["file"]) for row in rows] == [
        ("engine", "onnxruntime", str(file)),
        ("literature", "onnxruntime", str(file)),
    ]
    strange = subprocess.run([*bench, "--size", "16x16"], capture_output=True, text=True)
    assert strange.returncode == 2
    assert "alone; --size" in strange.stderr

    evaluated = seg(workspace, "evaluate", run.id, "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    (theirs,) = store.results.evaluations_of(run.id)
    assert ours["images"] == theirs.images == 2
    assert_class_maps_are_written([*command[:-2], "predict", str(file)], street, tmp_path / "maps")
    assert np.abs(np.array(ours["confusion"]) - np.array(theirs.confusion)).sum() <= 4  # near ties
    assert ours["dice"] == pytest.approx(theirs.dice, abs=1e-3)
    assert ours["latency_seconds"] > 0

    words = ["--quantize", "int8", "--calibrate", "3", "--out", str(workspace.root / "int8"), "--json"]
    small = seg(workspace, "export", run.id, *words)
    assert small.returncode == 0, small.stderr
    assert json.loads(small.stdout)["quantized"]
    assert engine.load(workspace.root / "int8" / "model.onnx").classes == engine.load(file).classes

    image = next((street / "leftImg8bit").rglob("*.png"))
    of_run, of_file = engine.load(run.id, workspace=workspace.root, device="cpu"), engine.load(file)
    assert of_run.classes == of_file.classes
    one, other = of_run.predict(image), of_file.predict(np.asarray(Image.open(image).convert("RGB")))
    assert one.ids.shape == (64, 64)
    assert (one.ids != other.ids).mean() < 1e-3
    assert one.scores is not None
    assert other.scores is not None
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
    with pytest.raises(ValueError, match=r"the image is float64 \[2, 2\]; it must be uint8"):
        of_run.predict(np.zeros((2, 2)))  # type: ignore[arg-type]


def assert_class_maps_are_written(command: list[str], street: Path, out: Path) -> None:
    """By `predict MODEL.onnx`, for what is an image; what is none is told, and costs only itself."""
    images = sorted((street / "leftImg8bit").rglob("*.png"))[:2]
    broken = out.with_suffix(".png")
    broken.write_bytes(images[0].read_bytes()[:200])
    words = [str(path) for path in (*images, broken)]
    nowhere = subprocess.run([*command, *words], capture_output=True, text=True)
    assert nowhere.returncode == 2
    assert "--out DIR: is needed" in nowhere.stderr
    done = subprocess.run([*command, *words, "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"left out: {broken}" in done.stderr
    assert done.stdout == f"2 of 3 images: {out}\n"
    ids = np.asarray(Image.open(out / "ids" / images[0].name))
    assert ids.shape == (64, 64)
    assert ids.max() < 19
    again = subprocess.run([*command, *words, "--out", str(out)], capture_output=True, text=True)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
