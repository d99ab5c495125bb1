"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# A shell starts background jobs, such as a test run under nohup, deaf to Ctrl-C, and their children with
# them; the tests that press it need children that hear.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data sets and reference numbers (`SEG_SHARED`, default `../shared`).

    They are licensed apart and not part of the project; what they check on real data, other tests
    check on synthetic data.
    """
    folder = Path(os.environ.get("SEG_SHARED", REPOSITORY.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not at {folder}; set SEG_SHARED to the folder that has it")
    return folder
