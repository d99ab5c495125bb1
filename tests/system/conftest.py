"""Real data sets and real workers, small enough to be started by the dozen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.agent.agent import Agent
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.data.synthetic import synthesize
from engine.run.directory import RunCard, RunDir, new_run_id
from engine.run.events import AnyEvent
from engine.run.journal import read_events
from engine.store import Store
from engine.workspace import Workspace

WAIT_SECONDS = 120


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten synthetic street scenes of 64x64: eight for training, two for validation."""
    root = tmp_path_factory.mktemp("street")
    synthesize(root / "data", images=10, size=(64, 64), seed=3)
    return root / "data"


@pytest.fixture
def tiny(street: Path) -> RunConfig:
    """A run of a second or two once torch is imported: 32x32, four channels, three epochs of three steps."""
    return with_values(
        get_recipe("quick"),
        {
            "data.root": str(street),
            "data.size": "32x32",
            "data.val_fraction": "0.25",
            "model.width": 4,
            "batch_size": 2,
            "epochs": 3,
            "gallery.every": 2,
            "gallery.images": 2,
            "checkpoint.seconds": 0,
            "runtime.threads": 1,
        },
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def new_run(workspace: Workspace) -> Callable[[RunConfig], RunDir]:
    """Makes a run directory, without a database."""

    def make(config: RunConfig) -> RunDir:
        run = workspace.run_dir(new_run_id())
        run.create(RunCard(run.id, "a test", "tests", time.time()), config)
        return run

    return make


def start_worker(run: RunDir) -> subprocess.Popen[bytes]:
    with open(run.log, "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "engine.worker", str(run.path)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )


def work(run: RunDir) -> int:
    """Run a worker to its end; returns its exit status."""
    return start_worker(run).wait(timeout=WAIT_SECONDS)


def wait_for_event(
    run: RunDir,
    worker: subprocess.Popen[bytes],
    wanted: Callable[[AnyEvent], bool],
    offset: int = 0,
    seconds: float = WAIT_SECONDS,
) -> AnyEvent:
    """Follow the journal until an event comes; fails when the worker ends first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended = worker.poll() is not None
        events, offset = read_events(run.journal, offset)
        for event in events:
            if wanted(event):
                return event
        if ended and not events:
            pytest.fail(f"the worker ended before the event came:\n{run.log.read_text()}")
        time.sleep(0.005)
    pytest.fail("the event did not come")


Queue = Callable[..., RunDir]


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    workspace.root.mkdir()
    with workspace.open_store() as opened:
        yield opened


@pytest.fixture
def queue(workspace: Workspace, store: Store, tiny: RunConfig) -> Queue:
    """Queues a tiny run; keywords `priority` and `after` place it, others change its config."""

    def add(priority: int = 0, after: str = "", **values: object) -> RunDir:
        run = workspace.run_dir(new_run_id())
        card = RunCard(run.id, "a test", "tests", time.time(), priority=priority, after=after)
        config = with_values(tiny, {"device": "cpu", **{k.replace("__", "."): v for k, v in values.items()}})
        run.create(card, config)
        store.lifecycle.create(card, config)
        return run

    return add


@pytest.fixture
def agent(workspace: Workspace, store: Store) -> Agent:
    return Agent(store, workspace, {"cpu": 1}, lambda line: None, lease=0.05)


def wait_for(what: Callable[[], object], workspace: Workspace) -> Any:
    """The first true value of `what`; fails with the agent's words when there is none in time."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        value = what()
        if value:
            return value
        time.sleep(0.03)
    said = workspace.root / "agent.out"
    pytest.fail(f"it did not come about; the agent said:\n{said.read_text() if said.exists() else 'nothing'}")


def seg(
    workspace: Workspace,
    *arguments: str,
    preexec_fn: Callable[[], None] | None = None,
    timeout: float = WAIT_SECONDS,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-c", "from engine.cli.main import main; main()"),
            *("--workspace", str(workspace.root), *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        preexec_fn=preexec_fn,
    )
