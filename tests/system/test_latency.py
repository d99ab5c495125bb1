"""`seg-engine bench --latency` from the command to the database and back by a rebuild."""

from __future__ import annotations

import json
from pathlib import Path

from engine.run.directory import RunDir
from tests.system.test_evaluate import FAST, SOURCE, made_by, query, source  # noqa: F401
from tests.system.test_run_command import Command, command, done  # noqa: F401

LATENCIES = "SELECT * FROM latency_scores ORDER BY run, number"
SETTINGS = (
    "SELECT source, number, protocol, runtime, precision, compiled, height, width, passes >= 5, "
    "median_seconds <= p95_seconds AND p95_seconds <= p99_seconds, frames_per_second > 0, "
    "device, threads, problem FROM latency_scores ORDER BY number"
)


def test_what_is_measured_of_a_run_is_kept_shown_and_made_again_by_a_rebuild(
    source: RunDir,  # noqa: F811
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    words = ["--latency", "--size", "32x48", "--size", "64x64", "--precision", "fp32", "--seconds", "0.1"]
    status, out, err = done(command("bench", SOURCE, "runtime.threads=1", *words, "--json"))
    assert status == 0, err
    run = made_by(out, tmp_path)
    wanted = [
        (SOURCE, number, protocol, "torch", "fp32", 0, *size, 1, 1, 1, "cpu", 1, "")
        for number, (size, protocol) in enumerate(
            (size, protocol) for size in ((32, 48), (64, 64)) for protocol in ("engine", "literature")
        )
    ]
    assert query(tmp_path, SETTINGS) == wanted
    first = query(tmp_path, LATENCIES)
    shown = json.loads(done(command("show", SOURCE, "--json"))[1])
    assert [row["protocol"] for row in shown["latencies"]] == ["engine", "literature"] * 2
    speed = shown["latencies"][0]["frames_per_second"]
    listed = json.loads(done(command("runs", "task=latency", "--json"))[1])
    assert [(one["id"], one["frames_per_second"]) for one in listed] == [(run.id, speed)]

    status, out, err = done(command("figure", "speed", "--out", str(tmp_path / "speed.png")))
    assert (status, (tmp_path / "speed.png").exists()) == (0, True), err
    assert done(command("db", "rebuild"))[0] == 0
    assert query(tmp_path, LATENCIES) == first


def test_a_recipe_is_measured_without_a_run_and_wrong_words_are_one_line(
    tmp_path: Path,
    command: Command,  # noqa: F811
) -> None:
    small = ("quick", "model.width=2", *FAST[:1], "device=cpu")
    for words, problem in (
        (["--latency", "--size", "30x32"], "--size 30x32 does not suit unet"),
        (["--latency", "--size", "big"], "--size big: must be HEIGHTxWIDTH"),
        (["--latency", "--precision", "fp16"], "--precision fp16: needs CUDA"),
        (["--latency", "--precision", "fp8"], "--precision: 'fp8' is not allowed"),
        (["--latency", "precision=fp32"], "precision: use --precision"),
        (["--latency", "--queue"], "--queue: has no effect, as quick is not a run"),
        (["--latency", "--exported", "none.onnx"], "none.onnx: there is no such file"),
        (["--size", "32x32"], "--size: works with --latency only"),
    ):
        status, _, err = done(command("bench", *small, *words))
        assert status == 2, words
        assert problem in err
        assert "Traceback" not in err
    words = ["--latency", "--protocol", "literature", "--precision", "fp32", "--size", "32x32"]
    status, out, err = done(command("bench", *small, *words, "--seconds", "0.1", "--json"))
    assert status == 0, err
    (row,) = json.loads(out)
    assert (row["protocol"], row["height"], row["compiled"]) == ("literature", 32, False)
    assert not (tmp_path / "experiments.db").exists()
