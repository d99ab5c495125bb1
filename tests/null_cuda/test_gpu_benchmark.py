"""The questions for a GPU are ready before one is at hand: each is asked here of the null CUDA."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as program
from tests.conftest import run_module

NEEDS_SOMETHING = {"peers", "camvid"}
"""Not asked here: they need other libraries, whose times would mean nothing, and real data."""


@pytest.mark.timeout(900)
def test_every_question_is_answered_on_the_null_cuda(
    null_cuda: Path,
    warm_null_cuda: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "gpu.json"
    monkeypatch.setenv("PYTHONPATH", warm_null_cuda["PYTHONPATH"])
    monkeypatch.setattr(program, "build", lambda folder: null_cuda)
    status = program.main(["--rehearse", "--minutes", "14", "--out", str(out)])
    assert status == 0, capsys.readouterr().out
    answers = {entry["name"]: entry for entry in json.loads(out.read_text())["answers"]}
    assert {name for name, entry in answers.items() if "skipped" in entry} == NEEDS_SOMETHING
    assert answers["step of quick, eager"]["answer"]["host_waits"] == {}
    assert answers["resumes"]["answer"]["equal_tensors"] > 0
    assert "batch_size=" in answers["memory"]["answer"]["advice"]

    page = run_module("benchmarks.gpu.table", str(out))
    assert page.returncode == 0, page.stderr
    assert all(name.removeprefix("step of ") in page.stdout for name in answers)


def test_what_there_is_no_time_for_is_named(
    null_cuda: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(program, "build", lambda folder: null_cuda)
    assert program.main(["--rehearse", "--minutes", "0", "--out", str(out)]) == 0
    assert "not asked: ceilings, step of quick, eager, trains" in capsys.readouterr().out
    assert all("skipped" in entry for entry in json.loads(out.read_text())["answers"])
