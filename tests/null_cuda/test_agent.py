"""An agent on a machine of two GPUs that others use, named by UUID and as a slice (MIG)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.agent.workers import kill_worker
from engine.config.keys import with_values
from engine.config.recipes import get_recipe
from engine.data.synthetic import synthesize
from engine.host.access import user_name
from engine.host.processes import environment_of
from engine.run.directory import RunCard, RunDir, new_run_id
from engine.store import Store
from engine.workspace import Workspace
from tests.system.conftest import seg

SLICE, GPU = "MIG-00000001-0000-0000-0000-000000000000", "GPU-00000000-0000-0000-0000-000000000000"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "workspace").mkdir()
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with workspace.open_store() as opened:
        yield opened


def queue(workspace: Workspace, store: Store) -> RunDir:
    """A run that goes on until it is killed."""
    run = workspace.run_dir(new_run_id())
    card = RunCard(run.id, "a test", "tests", time.time())
    data = workspace.root / "data"
    if not data.exists():
        synthesize(data, images=4, size=(64, 64))
    values = {"data.root": str(data), "data.size": "32x32", "epochs": 100_000, "gallery.every": 0}
    config = with_values(get_recipe("quick"), values)
    run.create(card, config)
    store.lifecycle.create(card, config)
    return run


def until(what: Callable[[], object], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def replace(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def test_a_gpu_where_somebody_is_gets_no_run_until_they_leave(
    workspace: Workspace, store: Store, warm_null_cuda: dict[str, str], tmp_path: Path
) -> None:
    others, log = tmp_path / "others", tmp_path / "agent.log"
    (workspace.root / "agent.toml").write_text("[agent]\nwait_for_idle = true\n")
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    others.write_text(f"1:{stranger.pid}:{61 << 30}")
    # The first device of the agent is a slice of the second GPU, which the stranger has.
    variables = {**os.environ, **warm_null_cuda}
    variables |= {"NULL_CUDA_OTHERS": f"@{others}", "CUDA_VISIBLE_DEVICES": f"{SLICE},{GPU}"}
    first = queue(workspace, store)
    second = queue(workspace, store)
    with open(log, "wb") as output:
        command = [sys.executable, "-m", "engine.agent", str(workspace.root)]
        agent = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
    try:
        until(lambda: store.run(first.id).status != "queued", log)
        assert (store.run(first.id).claimed_by or {})["slot"] == "cuda:1"
        until(lambda: first.read_proc() is not None, log)
        worker = first.read_proc()
        assert worker is not None
        assert environment_of(worker.pid, "CUDA_VISIBLE_DEVICES") == GPU
        os.kill(worker.pid, signal.SIGSTOP)  # its end would leave its GPU to the next run

        until(store.agents.living, log)
        who = f"{user_name()} ({Path(sys.executable).name}, pid {stranger.pid})"
        assert f"cuda:0: 61 of 79.2 GiB held by {who}" in seg(workspace, "queue").stdout
        assert store.run(second.id).status == "queued"

        stranger.communicate(b"\n")
        replace(others, "")
        until(lambda: store.run(second.id).status != "queued", log)
        kill_worker(first)
        until(lambda: second.read_proc() is not None, log)
        worker = second.read_proc()
        assert worker is not None
        assert environment_of(worker.pid, "CUDA_VISIBLE_DEVICES") in (SLICE, GPU)
        until(lambda: not store.agents.living(), log)
    finally:
        agent.kill()
        agent.wait()
        stranger.kill()
        stranger.wait()
        for run in (first, second):
            kill_worker(run)
