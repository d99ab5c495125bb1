"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.postgres import Server, running_server

NewDatabase = Callable[[Path], str]

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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server that holds nothing and nobody else knows of."""
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest) -> Iterator[NewDatabase]:
    """Gives the URL of the database that belongs to a folder, on each of the two kinds: always the same for
    one folder, a new one for another."""
    yield from _databases(request, empty=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_empty_database(request: pytest.FixtureRequest) -> Iterator[NewDatabase]:
    """The same, of databases that nobody has opened yet."""
    yield from _databases(request, empty=True)


def _databases(request: pytest.FixtureRequest, empty: bool) -> Iterator[NewDatabase]:
    if request.param == "sqlite":
        yield lambda folder: f"sqlite:///{folder / 'experiments.db'}"
        return
    server: Server = request.getfixturevalue("postgres")
    urls: dict[Path, str] = {}

    def new(folder: Path) -> str:
        if folder not in urls:
            urls[folder] = server.new_url(empty)
        return urls[folder]

    yield new
    for url in urls.values():
        server.drop(url)
