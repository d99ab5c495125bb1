"""The questions for a GPU are ready before one is at hand: each is asked here of the null CUDA."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import run_module

NEEDS_SOMETHING = {"peers", "camvid"}
"""Not asked here: they need other libraries, whose times would mean nothing, and real data."""


@pytest.mark.timeout(900)
def test_every_question_is_answered_on_the_null_cuda(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = run_module("benchmarks.gpu", "--rehearse", "--minutes", "14", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    answers = {entry["name"]: entry for entry in json.loads(out.read_text())["answers"]}
    assert {name for name, entry in answers.items() if "skipped" in entry} == NEEDS_SOMETHING
    assert answers["step of quick, eager"]["answer"]["host_waits"] == {}
    assert answers["resumes"]["answer"]["equal_tensors"] > 0
    assert "batch_size=" in answers["memory"]["answer"]["advice"]

    page = run_module("benchmarks.gpu.table", str(out))
    assert page.returncode == 0, page.stderr
    assert all(name.removeprefix("step of ") in page.stdout for name in answers)


def test_what_there_is_no_time_for_is_named(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = run_module("benchmarks.gpu", "--rehearse", "--minutes", "0", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "not asked: ceilings, step of quick, eager, trains" in done.stdout
    assert all("skipped" in entry for entry in json.loads(out.read_text())["answers"])
