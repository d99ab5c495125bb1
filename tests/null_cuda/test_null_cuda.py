"""Starts the tests of `inside/` on the null CUDA, each file in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.null_cuda.build import environment

INSIDE = Path(__file__).parent / "inside"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("file", sorted(path.name for path in INSIDE.glob("check_*.py")))
def test_on_the_null_cuda(file: str, null_cuda: Path) -> None:
    variables = {**os.environ, **environment(null_cuda, devices=2)}
    variables.pop("PYTEST_XDIST_WORKER", None)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        str(INSIDE / file),
    ]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
