"""A worker's end is its own: no child of it, no stuck disk and no file of the user's stands in its way."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from engine.agent.presence import Presence
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.data.synthetic import synthesize
from engine.host.processes import living_pids, parent_of, python_command
from engine.run.directory import RunDir
from engine.run.events import Failed, Stopped
from engine.run.journal import read_all
from engine.workspace import Workspace
from tests.system.conftest import WAIT_SECONDS, start_worker, wait_for, wait_for_event
from tests.system.test_worker import MakeRun


@pytest.fixture
def loading(new_run: MakeRun, tiny: RunConfig, tmp_path: Path) -> tuple[RunDir, Path]:
    """A long run that decodes its files in a loader all the time, and its data."""
    data = tmp_path / "data"
    synthesize(data, images=10, size=(64, 64), seed=3)
    values = {"data.root": str(data), "data.cache": False, "data.workers": 1, "epochs": 100_000}
    return new_run(with_values(tiny, {**values, "gallery.every": 0, "checkpoint.seconds": 30})), data


def children(pid: int) -> list[int]:
    return [child for child in living_pids() if parent_of(child) == pid]


def test_a_file_that_goes_away_ends_the_run_with_its_name(loading: tuple[RunDir, Path]) -> None:
    run, data = loading
    worker = start_worker(run)
    wait_for_event(run, worker, lambda event: event.event == "epoch")
    started = children(worker.pid)
    for path in sorted(data.glob("leftImg8bit/*/*/*.png")):
        path.unlink()
    assert worker.wait(timeout=WAIT_SECONDS) == 1
    failed = read_all(run.journal)[-1]
    assert isinstance(failed, Failed)
    assert failed.message.startswith(f"{data}/leftImg8bit/")
    assert failed.message.endswith("_leftImg8bit.png: there is no such file")
    assert "in sample" in failed.traceback
    assert not set(started) & set(living_pids())


def test_a_stop_while_loaders_are_stuck_saves_and_leaves_none(loading: tuple[RunDir, Path]) -> None:
    run, _ = loading
    worker = start_worker(run)
    wait_for_event(run, worker, lambda event: event.event == "epoch")
    stuck: set[int] = set()
    try:
        while len(stuck) < 1 or set(children(worker.pid)) - stuck:  # each epoch has loaders of its own
            for pid in set(children(worker.pid)) - stuck:
                os.kill(pid, signal.SIGSTOP)
                stuck.add(pid)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=WAIT_SECONDS) == 3, run.log.read_text()
    finally:
        worker.kill()
    last = read_all(run.journal)[-1]
    assert isinstance(last, Stopped)
    assert (run.checkpoints / "last.pt").exists()
    assert not stuck & set(living_pids())


HOSTILE = ("engine", "queue", "random", "torch", "json", "numpy", "sitecustomize", "usercustomize", "pickle")


@pytest.mark.cold
def test_files_of_the_users_own_are_not_taken_for_modules(tmp_path: Path) -> None:
    """Their names are those of modules that the program imports; the workspace is where it is started."""
    workspace = Workspace(tmp_path / "mine")
    workspace.root.mkdir()
    for name in HOSTILE:
        code = f"raise SystemExit('{name}.py of the workspace was run')\n"
        (workspace.root / f"{name}.py").write_text(code)
    environment = {name: value for name, value in os.environ.items() if name != "SEG_WORKSPACE"}

    def seg(*words: str) -> str:
        done = subprocess.run(
            python_command("engine.cli", *words),
            cwd=workspace.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "of the workspace was run" not in done.stdout + done.stderr
        return done.stdout

    seg("data", "synthesize", "data", "--images", "10", "--size", "320x480")  # in several processes
    tiny = ["data.size=32x32", "model.width=2", "batch_size=2", "epochs=1", "runtime.threads=1", "device=cpu"]
    tiny += ["data.cache=false", "data.workers=1", "devices=2", "gallery.every=0"]
    try:
        seg("run", "quick", *tiny, "--data", "data", "--name", "mine", "--queue")
        seg("watch", "mine")
    finally:
        agent = Presence.of(workspace).living()
        if agent is not None:
            os.kill(agent.pid, signal.SIGTERM)
            wait_for(lambda: Presence.of(workspace).living() is None, workspace)
    assert "of the workspace was run" not in Presence.of(workspace).log.read_text()


def test_python_is_started_in_one_place_alone() -> None:
    root = Path(__file__).parents[2]
    lines = [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in (*root.glob("engine/**/*.py"), *root.glob("seg_tui/**/*.py"))
        for line in path.read_text().splitlines()
        if "sys.executable" in line and path.name != "processes.py"
    ]
    assert [line for line in lines if "Finding(" not in line] == []  # the doctor says which Python this is
