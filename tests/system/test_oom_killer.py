"""A worker that the kernel kills for want of memory, really: in a memory cgroup of its own, as root."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from engine.agent.agent import Agent
from engine.run.journal import read_all
from engine.store import Store
from engine.workspace import Workspace
from tests.system.conftest import Queue, wait_for

MEMORY = Path("/sys/fs/cgroup/memory")
LIMIT = 600 << 20


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A cgroup of 600 MB without swap; v2 where it is, else v1."""
    name = f"seg-test-{os.getpid()}"
    v2 = Path("/sys/fs/cgroup") / name
    candidates = (
        (MEMORY / name, {"memory.limit_in_bytes": LIMIT}),
        (v2, {"memory.max": LIMIT, "memory.swap.max": 0}),
    )
    for folder, limits in candidates:
        with suppress(OSError):
            folder.mkdir()
            try:
                for file, value in limits.items():
                    (folder / file).write_text(str(value))
            except OSError:
                folder.rmdir()
                raise
            yield folder
            folder.rmdir()
            return
    pytest.skip("no right to make a memory cgroup")


@pytest.mark.cold  # its own memory alone counts in the cgroup
def test_a_worker_that_the_kernel_killed_for_memory_is_out_of_memory(
    workspace: Workspace, store: Store, queue: Queue, agent: Agent, small_cgroup: Path
) -> None:
    run = queue(data__size="256x256", model__width=96, batch_size=8, epochs=50)
    agent.step()
    worker = agent.watched[run.id].worker
    assert worker is not None
    (small_cgroup / "cgroup.procs").write_text(str(worker.pid))
    assert worker.wait(timeout=120) == -signal.SIGKILL, run.log.read_text()
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.cause) == ("failed", "out_of_memory")
    assert row.message == (
        "the kernel killed the worker: out of memory; batch_size=4 needs less; "
        "or runtime.micro_batch=4 validation.batch_size=4, which keeps 8 images a step"
    )
    assert all(event.event != "finished" for event in read_all(run.journal))


def test_a_worker_that_somebody_killed_is_killed(
    workspace: Workspace, store: Store, queue: Queue, agent: Agent
) -> None:
    run = queue(epochs=100_000)
    agent.step()
    worker = agent.watched[run.id].worker
    assert worker is not None
    wait_for(lambda: read_all(run.journal), workspace)
    worker.kill()
    worker.wait()
    agent.step()
    assert store.run(run.id).cause == "killed"


def test_a_counter_that_rose_tells_of_the_killer_without_a_parent(
    workspace: Workspace, store: Store, queue: Queue, agent: Agent
) -> None:
    run = queue(batch_size=1)
    agent.step()
    worker = agent.watched[run.id].worker
    assert worker is not None
    wait_for(lambda: run.read_proc() is not None, workspace)
    agent.watched[run.id].worker = None  # as an agent that adopted it knows it
    worker.kill()
    worker.wait()
    record = json.loads(run.proc_file.read_bytes())
    assert record["oom_kills"], "this kernel counts"
    record["oom_kills"] = {file: count - 1 for file, count in record["oom_kills"].items()}
    run.proc_file.write_text(json.dumps(record))
    agent.step()
    row = store.run(run.id)
    assert (row.cause, row.message) == (
        "out_of_memory",
        "the kernel killed the worker: out of memory; a smaller data.size or model.width needs less",
    )
