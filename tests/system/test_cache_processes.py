"""Several processes and one cache: built once, whoever waits, whoever is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.data.cache import open_cache
from engine.data.catalog import scan
from engine.data.prune import prune_caches
from tests.warm import OF_A_TEST

COUNT = 6
SIZE = (4, 8)

WORKER = (
    OF_A_TEST
    + """
import json, resource, sys
from pathlib import Path
from engine.data.cache import open_cache
from engine.data.catalog import DataError, scan

root, cache_dir, mode, size = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
catalog = scan(root, classes="cityscapes")
if mode == "limited":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
decoded = 0

def on_progress(done, total):
    global decoded
    decoded += 1
    if mode == "pausing" and done == total // 2:
        print("half", flush=True)
        sys.stdin.readline()

def on_wait(line):
    print(line, flush=True)

try:
    cache = open_cache(
        catalog.splits["train"], tuple(size), catalog.class_set, root, cache_dir, on_progress, on_wait
    )
    print("opened", cache.key, decoded, flush=True)
except DataError as error:
    print("refused", error, flush=True)
"""
)


class Worker:
    """A process of its own that opens the cache; with "pausing" it stops half-way until told to go on."""

    def __init__(
        self, root: Path, cache_dir: Path, mode: str = "plain", size: tuple[int, int] = SIZE
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(root), str(cache_dir), mode, json.dumps(size)],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of COUNT pairs of 16x8."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for i in range(COUNT):
        Image.new("RGB", (16, 8), (i, i, i)).save(root / "images" / f"s{i}.png")
        Image.fromarray(np.full((8, 16), 7, np.uint8)).save(root / "labels" / f"s{i}.png")
    return root


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def start(root: Path, cache_dir: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def started(*arguments: object) -> Worker:
        workers.append(Worker(root, cache_dir, *arguments))  # type: ignore[arg-type]
        return workers[-1]

    yield started
    for worker in workers:
        worker.process.kill()
        worker.process.communicate()


def opened_here(root: Path, cache_dir: Path) -> int:
    catalog = scan(root, classes="cityscapes")
    return len(open_cache(catalog.splits["train"], SIZE, catalog.class_set, root, cache_dir).names)


def test_a_write_that_fails_half_way_keeps_nothing(cache_dir: Path, start: Callable[..., Worker]) -> None:
    # 6 images of 50x50 do not fit the limit of 20,000 bytes a file, though the disk has room.
    line = start("limited", (50, 50)).line()
    assert line == f"refused {cache_dir}: the image cache cannot be written: File too large"
    assert [path.suffix for path in cache_dir.iterdir()] == [".lock"]


def test_two_processes_build_a_cache_once(cache_dir: Path, start: Callable[..., Worker]) -> None:
    builder = start("pausing")
    assert builder.line() == "half"
    waiter = start()
    line = waiter.line()
    assert line.startswith(f"waiting for process {builder.process.pid} on ")
    assert "to build the image cache" in line
    builder.go_on()
    first, second = builder.line().split(), waiter.line().split()
    assert first[0] == second[0] == "opened"
    assert first[1] == second[1]
    assert (first[2], second[2]) == (str(COUNT), "0")
    assert sorted(path.suffix for path in cache_dir.iterdir()) == ["", ".lock"]


def test_a_killed_builder_leaves_nothing_in_the_way(
    root: Path, cache_dir: Path, start: Callable[..., Worker]
) -> None:
    builder = start("pausing")
    assert builder.line() == "half"
    waiter = start()
    assert waiter.line().startswith("waiting for")
    builder.process.send_signal(signal.SIGKILL)
    assert waiter.line().split()[::2] == ["opened", str(COUNT)]
    assert sorted(path.suffix for path in cache_dir.iterdir()) == ["", ".lock"]
    assert opened_here(root, cache_dir) == COUNT


def test_an_interrupt_removes_the_half_built_cache(cache_dir: Path, start: Callable[..., Worker]) -> None:
    builder = start("pausing")
    assert builder.line() == "half"
    assert any(path.suffix == ".building" for path in cache_dir.iterdir())
    builder.process.send_signal(signal.SIGINT)
    assert builder.process.wait(timeout=30) == -signal.SIGINT
    assert [path.suffix for path in cache_dir.iterdir()] == [".lock"]


def test_pruning_spares_what_is_being_built_and_sweeps_what_was(
    cache_dir: Path, start: Callable[..., Worker]
) -> None:
    builder = start("pausing")
    assert builder.line() == "half"
    (building,) = cache_dir.glob("*.building")
    assert prune_caches(cache_dir, everything=True) == []
    assert building.is_dir()
    builder.process.kill()
    builder.process.wait()
    prune_caches(cache_dir)
    assert not building.exists()
