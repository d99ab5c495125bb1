"""`seg-engine export` as people call it: a run that was trained, its file, its model card, and refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

import engine
from engine.agent.ingest import refresh
from engine.errors import EngineError
from engine.loading import LoadedNetwork
from engine.report.commands import command_line
from engine.store import MetricRow, Store
from engine.video.reading import Video
from engine.workspace import Workspace
from tests.system.conftest import Queue, seg, work
from tests.videos import make_video


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
    how = ["data.size=64x64", "--window", "32x32", "--boundary", "--critical", "person"]
    words += how
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

    evaluated = seg(workspace, "evaluate", run.id, "--json", *how)
    assert evaluated.returncode == 0, evaluated.stderr
    (theirs,) = store.results.evaluations_of(run.id)
    assert ours["images"] == theirs.images == 2
    assert_class_maps_are_written([*command[:-2], "predict", str(file)], street, tmp_path / "maps")
    assert_a_video_is_colored([*command[:-2], "predict", str(file)], tmp_path, engine.load(file))
    assert np.abs(np.array(ours["confusion"]) - np.array(theirs.confusion)).sum() <= 4  # near ties
    assert ours["dice"] == pytest.approx(theirs.dice, abs=1e-3)
    assert (ours["window_size"], ours["window_stride"]) == ("32x32", "21x21")
    assert_same_metrics(ours["metrics"], store.results.metrics(theirs.run_id))
    repeated = command_line(store.run(theirs.run_id), {run.id: store.run(run.id)})
    assert "data.size=64x64" in repeated
    assert "--window 32x32 --boundary --critical person" in repeated
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
    assert_windows_are_the_same(run.id, workspace.root, file, image)


def assert_a_video_is_colored(command: list[str], folder: Path, network: LoadedNetwork) -> None:
    """By `predict MODEL.onnx VIDEO`, frame by frame, in windows too."""
    clip = make_video(folder / "clip.mp4", range(0, 200, 40))
    out = folder / "colors.mp4"
    words = [str(clip), "--out", str(out), "--view", "classes"]
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 frames, ")
    colors = np.array([ImageColor.getrgb(color) for color in network.colors])
    for frame, shown in zip(Video.open(clip).read(), Video.open(out).read(), strict=True):
        right = colors[network.class_map(frame.pixels)]
        assert np.abs(shown.pixels.mean((0, 1)) - right.mean((0, 1))).max() < 6  # lossy
    windows = ["--set", "data.size=32x64", "--window", "32x32", "--overwrite"]
    again = subprocess.run([*command, *words, *windows], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr


def assert_same_metrics(found: list[dict[str, Any]], stored: list[MetricRow]) -> None:
    """Beside the confusions: of boundaries, and of the instances of the class that was named."""
    ours = {one["name"]: one for one in found}
    theirs = {row.metric: row.value for row in stored if row.class_name == ""}
    assert theirs.keys() == ours.keys()
    assert {"boundary_iou", "boundary_f_3px", "trimap_iou_3px"} <= theirs.keys()
    assert any(one["classes"].keys() == {"person"} for one in found)
    for name, value in theirs.items():
        assert ours[name]["value"] == pytest.approx(value, abs=0.02), name


def assert_windows_are_the_same(run: str, workspace: Path, file: Path, image: Path) -> None:
    """For programs: of the run with torch, and of its file without."""
    ways = {"size": (64, 64), "window": (32, 32), "stride": (16, 20)}
    one = engine.load(run, workspace=workspace, device="cpu", **ways)
    other = engine.load(file, **ways)
    assert one.size == other.size == (64, 64)
    scores, same = one.predict(image).scores, other.predict(image).scores
    assert scores is not None
    assert same is not None
    np.testing.assert_allclose(scores, same, atol=1e-5)
    whole = engine.load(file).predict(image).scores
    assert whole is not None
    assert np.abs(scores - whole).max() > 1e-4
    for source, window, problem in (
        (run, (30, 32), "window: 30x32 does not suit unet, whose input sides must divide by 16"),
        (run, (64, 32), "window: 64x32 is larger than the images, 32x32"),
        (run, "32x32", "window: '32x32' is no"),
        (file, (16, 16), "sees 32x32 at once, not 16x16; use windows of that size"),
    ):
        with pytest.raises(EngineError, match=problem):
            engine.load(source, workspace=workspace, device="cpu", window=window)  # type: ignore[arg-type]


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
