"""Two workspaces and one folder of data caches: built once, whoever of the two is killed at it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.data.synthetic import synthesize
from engine.run.events import Data
from engine.run.journal import read_all
from engine.workspace import CACHE_VARIABLE, Workspace
from tests.system.conftest import WAIT_SECONDS

TINY = (
    "data.size=128x128",
    "model.width=4",
    "epochs=1",
    "runtime.threads=1",
    "device=cpu",
    "gallery.every=0",
)

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough to take a while to decode."""
    root = tmp_path_factory.mktemp("scenes") / "data"
    synthesize(root, images=24, size=(256, 256), seed=5)
    return root


@pytest.fixture
def start(tmp_path: Path, scenes: Path) -> Iterator[Start]:
    """Starts a run in the workspace of a name, with the cache that all share."""
    started: list[subprocess.Popen[str]] = []

    def begin(name: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from engine.cli.main import main; main()"),
                *("--workspace", name, "run", "quick", *TINY, "--data", str(scenes), "--json"),
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, CACHE_VARIABLE: "shared"},  # relative to the folder it is called in
        )
        started.append(process)
        return process

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_a_builder_that_is_killed_leaves_the_work_to_the_other_workspace(
    start: Start, tmp_path: Path
) -> None:
    cache = tmp_path / "shared"
    first = start("one")
    deadline = time.monotonic() + WAIT_SECONDS
    while not list(cache.glob("*.building/images.npy")):
        assert first.poll() is None
        assert time.monotonic() < deadline
    first.send_signal(signal.SIGSTOP)
    assert list(cache.glob("*.building")), "stopped while it builds"
    second = start("two")
    assert second.stderr is not None
    assert f"waiting for process {first.pid} on " in second.stderr.readline()
    first.kill()
    out, err = second.communicate(timeout=WAIT_SECONDS)
    assert second.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["status"] == "finished"
    assert sorted(path.suffix for path in cache.iterdir()) == ["", ".json", ".lock"]  # one cache, built once
    assert not (tmp_path / "two" / "cache").exists()
    assert not (tmp_path / "one" / "runs").exists()

    again = start("one")
    out, err = again.communicate(timeout=WAIT_SECONDS)
    assert again.returncode == 0, err
    assert {where(tmp_path / name) for name in ("one", "two")} == {str(next(iter(keys(cache))))}


def keys(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def where(workspace: Path) -> str:
    """The cache that the one run of a workspace read."""
    (folder,) = Workspace(workspace).runs.iterdir()
    (data,) = [event for event in read_all(folder / "journal.jsonl") if isinstance(event, Data)]
    (path,) = data.cache
    return path


def test_the_cache_is_the_workspaces_own_unless_it_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert Workspace(tmp_path).cache == tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, "~/caches")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Workspace(tmp_path).cache == tmp_path / "home" / "caches"
