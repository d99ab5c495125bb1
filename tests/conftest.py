"""Fixtures that every room's tests share."""

from __future__ import annotations

import gc
import os
import reprlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import warm
from tests.postgres import Server, running_server
from tests.shortcuts import take_shortcuts

NewDatabase = Callable[[Path], str]

# A shell starts background jobs, such as a test run under nohup, deaf to Ctrl-C, and their children with
# them; the tests that press it need children that hear.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent

# Two of these processes on two cores need no more threads. Where threads of a worker share a core, those
# that wait for the others are not to spin on it: that took three quarters of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("LANG", "C.UTF-8")

ALL_COLD = bool(os.environ.get(warm.COLD_VARIABLE) or os.environ.get("LD_PRELOAD"))
"""What is preloaded, such as the null CUDA, need not outlive a fork."""
_standing_by = warm.install()
take_shortcuts()


def run_module(name: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a module that only a checkout has: a Python may have been told not to look where it starts."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}
    command = [sys.executable, "-m", name, *words]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cold: the start of the processes is a point of the test")


def pytest_make_parametrize_id(val: object) -> str | None:
    """A short id for a long value, which would be a line of thousands of characters in every log."""
    return reprlib.repr(val) if isinstance(val, str | bytes) and len(val) > 60 else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The rooms with the long files first, so that none is left for one worker when the other is done."""
    rooms = ("system", "null_cuda", "tui")
    first = {REPOSITORY / "tests" / room: place for place, room in enumerate(rooms)}
    items.sort(key=lambda item: first.get(item.path.parent, len(rooms)))


def pytest_collection_finish() -> None:
    """What torch, Textual and the tests are made of stays to the end: no garbage is to be sought in it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_runtest_setup(item: pytest.Item) -> None:
    warm.Warm.starter = None if item.get_closest_marker("cold") or ALL_COLD else _standing_by.start


def pytest_unconfigure() -> None:
    _standing_by.end()


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
