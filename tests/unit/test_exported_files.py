"""Commands that take a file of `export` in place of a run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.cli.arguments import InQueue, InWindows, OfNetwork
from engine.cli.choosing import Benchmark
from engine.cli.exported import predict_file
from engine.cli.latency import latency
from engine.cli.scoring import Prediction
from engine.cli.stream import predict_stream
from engine.config.keys import ConfigError
from engine.config.windows import WindowGrid
from engine.exported.network import ExportedError, ExportedModel
from engine.video.reading import Video
from engine.workspace import Workspace
from tests.videos import make_video


def any_size(size: tuple[int, int]) -> ExportedModel:
    """A file for images of any size, which finds the class 1 everywhere."""
    session = SimpleNamespace(
        get_outputs=lambda: [SimpleNamespace(name="class_ids")],
        get_inputs=lambda: [SimpleNamespace(type="tensor(uint8)", shape=["batch", "height", "width", 3])],
        run=lambda names, given: [np.ones(given["images"].shape[:3], np.uint8)],
    )
    about = {"size": list(size), "multiple_of": 1}
    return ExportedModel(Path("net.onnx"), ("road", "sky"), ("#000000",) * 2, size, about, session)


def test_a_file_is_measured_at_sizes_of_its_own_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ExportedModel, "open", lambda *about: any_size((520, 520)))
    wanted = Benchmark(
        target="net.onnx",
        latency=True,
        size=["30x50"],
        protocol="engine",
        seconds=0.1,
        as_json=True,
        new=OfNetwork(),
        queued=InQueue(),
    )
    assert latency(Workspace(tmp_path), wanted) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["height"], row["width"], row["runtime"]) == (30, 50, "onnxruntime")


def test_no_prediction_of_before_stays_where_an_image_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ExportedModel, "open", lambda *about: any_size((8, 8)))
    photos, out = tmp_path / "photos", tmp_path / "maps"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(photos / name)
    words: dict[str, Any] = {"windows": InWindows(), "new": OfNetwork(), "queued": InQueue(), "out": out}
    assert predict_file(Prediction(run="net.onnx", images=[str(photos)], **words)) == 0
    (photos / "a.png").write_bytes(b"damaged")
    assert predict_file(Prediction(run="net.onnx", images=[str(photos)], overwrite=True, **words)) == 1
    left = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    assert left == {"ids/b.png", "color/b.png", "overlay/b.png"}


def test_what_onnxruntime_cannot_do_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(names: None, given: dict[str, np.ndarray]) -> None:
        raise RuntimeError("Failed to allocate memory for requested buffer\nand more")

    model = any_size((8, 8))
    model.session.run = fail
    problem = "net.onnx: cannot be run on 1x30x50x3: Failed to allocate memory for requested buffer"
    with pytest.raises(ExportedError, match=rf"^{re.escape(problem)}$"):
        model.at((30, 50), WindowGrid()).class_map(Image.new("RGB", (50, 30)), (30, 50), "nearest")
    monkeypatch.setattr(ExportedModel, "open", lambda *about: model)
    words: dict[str, Any] = {"target": "net.onnx", "latency": True, "size": ["30x50"], "as_json": True}
    assert latency(Workspace(tmp_path), Benchmark(**words, new=OfNetwork(), queued=InQueue())) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["protocol"], row["problem"]) for row in rows] == [
        ("engine", problem),
        ("literature", problem),
    ]


def test_a_tag_to_turn_a_video_is_said_to_be_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turned = replace(Video.open(make_video(tmp_path / "in.mp4", range(0, 200, 40))), turned=90)
    monkeypatch.setattr(Video, "open", lambda path: turned)
    monkeypatch.setattr(ExportedModel, "open", lambda *about: any_size((8, 8)))
    words: dict[str, Any] = {"windows": InWindows(), "new": OfNetwork(), "queued": InQueue()}
    words |= {"images": [str(tmp_path / "in.mp4")], "out": tmp_path / "out.mp4"}
    assert predict_file(Prediction(run="net.onnx", **words)) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "note:" in told
    assert "its tag to turn it by 90 degrees is ignored" in told


def test_what_means_nothing_for_a_file_is_refused_for_a_stream_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("engine.cli.stream.refuse_terminals", lambda: None)
    words: dict[str, Any] = {"windows": InWindows(), "new": OfNetwork(), "queued": InQueue()}
    words |= {"from_stdin": "raw", "size": "8x8"}
    with pytest.raises(ConfigError, match=r"^--checkpoint: has no effect on net\.onnx, which is not a run$"):
        predict_stream(Workspace(tmp_path), Prediction(run="net.onnx", checkpoint="last", **words))
    with pytest.raises(ConfigError, match=r"^--set device: has no effect on net\.onnx; data\.size can be"):
        predict_stream(Workspace(tmp_path), Prediction(run="net.onnx", set_key=["device=cpu"], **words))
