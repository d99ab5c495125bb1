"""The null CUDA, built once for all tests on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.null_cuda.build import build


@pytest.fixture(scope="session")
def null_cuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its libraries."""
    return build(tmp_path_factory.mktemp("null_cuda"))
