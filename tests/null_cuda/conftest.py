"""The null CUDA, built once for all tests on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import warm
from tests.conftest import REPOSITORY
from tests.null_cuda.build import build, environment


@pytest.fixture(scope="session")
def null_cuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its libraries."""
    return build(tmp_path_factory.mktemp("null_cuda"))


@pytest.fixture(scope="session")
def _standing_by(null_cuda: Path) -> Iterator[warm.StandBy]:
    # Loaded before the fork, used after it: each process asks the library itself how many devices there are.
    stand_by = warm.StandBy({**environment(null_cuda), "PYTHONPATH": str(REPOSITORY)})
    yield stand_by
    stand_by.end()


@pytest.fixture
def warm_null_cuda(null_cuda: Path, _standing_by: warm.StandBy) -> Iterator[dict[str, str]]:
    """The variables of the null CUDA, with which programs start warm in this test; with others cold."""
    with _standing_by.in_charge():
        yield {**environment(null_cuda, devices=2), "PYTHONPATH": str(REPOSITORY)}
