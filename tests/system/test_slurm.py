"""Runs as jobs of a real Slurm: a sweep is cancelled in part, preempted, loses a node and its agent."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.agent.agent import Agent
from engine.agent.presence import Presence
from engine.run.events import Started, Stopped
from engine.run.journal import read_all
from engine.store import RunRow, Store
from engine.workspace import Workspace
from tests.slurm import NODES, Cluster, running_cluster
from tests.system.conftest import Queue, seg, wait_for

EPOCHS = 30


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    with running_cluster() as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.folder / "slurm.conf"))
        yield cluster


@pytest.fixture
def no_agent_stays(workspace: Workspace) -> Iterator[None]:
    yield
    agent = Presence.of(workspace).living()
    if agent is not None:
        os.kill(agent.pid, signal.SIGKILL)


def job_of(row: RunRow) -> str:
    return str((row.claimed_by or {}).get("job", ""))


@pytest.mark.usefixtures("no_agent_stays")
def test_a_sweep_on_a_cluster_ends_in_the_true_state_with_every_epoch_once(
    slurm: Cluster, workspace: Workspace, store: Store, street: Path
) -> None:
    def wait(what: Callable[[], object]) -> object:
        return wait_for(what, workspace)

    done = seg(
        workspace,
        *("sweep", "quick", "seed=0..5", f"epochs={EPOCHS}", "data.size=32x32", "data.val_fraction=0.25"),
        *("model.width=4", "batch_size=2", "gallery.every=0", "checkpoint.seconds=0", "device=cpu"),
        *("executor=slurm", "slurm.partition=main", "slurm.cpus=1", "slurm.time=30"),
        *("--data", str(street), "--experiment", "cluster", "--yes"),
    )
    assert done.returncode == 0, done.stderr
    ids = [row.id for row in store.runs(["experiment=cluster"], sort="created")]
    assert len(ids) == 6
    wait(lambda: all(job_of(store.run(run_id)) for run_id in ids))
    arrays = {job_of(store.run(run_id)).partition("_")[0] for run_id in ids}
    assert len(arrays) == 1

    def at_work(besides: set[str] = frozenset(), node: str = "") -> RunRow | None:  # type: ignore[assignment]
        """A run whose worker has begun, and has much left to do."""
        for row in store.queue.active():
            fit = row.status == "running" and 1 <= row.epoch <= EPOCHS // 3 and row.id not in besides
            if fit and (not node or slurm.node_of(job_of(row)) == node):
                return row
        return None

    # The last of the line is taken out of it. Its agent is gone; the wish brings the next one.
    agent = Presence.of(workspace).living()
    assert agent is not None
    os.kill(agent.pid, signal.SIGKILL)
    cancelled = ids[-1]
    assert seg(workspace, "stop", cancelled).returncode == 0

    # Slurm needs the machine of one, and starts it again when there is room.
    taken = wait(at_work)
    assert isinstance(taken, RunRow)
    slurm.ask("scontrol", "requeue", job_of(taken))
    # One is told what every run is told before its time is over.
    told = wait(lambda: at_work({taken.id}))
    assert isinstance(told, RunRow)
    slurm.ask("scancel", "--batch", "--signal=USR2", job_of(told))
    # A node loses its power.
    struck = wait(lambda: at_work({taken.id, told.id}))
    assert isinstance(struck, RunRow)
    node = slurm.node_of(job_of(struck))
    assert node in NODES
    slurm.kill_node(node)
    slurm.revive_node(node)

    def settled() -> bool:
        for job in (job_of(taken), job_of(struck)):  # Slurm waits two minutes before it starts a job again
            slurm.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
        return all(store.run(run_id).ended for run_id in ids)

    wait(settled)
    rows = {run_id: store.run(run_id) for run_id in ids}
    assert (rows[cancelled].status, rows[cancelled].cause, rows[cancelled].attempt) == (
        "stopped",
        "stopped",
        0,
    )
    for run_id in ids[:-1]:
        row = rows[run_id]
        log = workspace.run_dir(run_id).log.read_text()
        assert (row.status, row.cause) == ("finished", "completed"), f"{row.message}\n{log}"
        assert [(epoch.epoch, epoch.split) for epoch in store.results.epochs(run_id)] == sorted(
            (epoch, split) for epoch in range(1, EPOCHS + 1) for split in ("train", "val")
        )
        starts = [e for e in read_all(workspace.run_dir(run_id).journal) if isinstance(e, Started)]
        assert [start.attempt for start in starts] == list(range(1, row.attempt + 1))
        assert all(start.job and start.threads == 1 for start in starts)
        # Nothing that was done is done again: a worker that was told to leave has saved.
        again = run_id in (taken.id, told.id, struck.id)
        assert row.attempt == (2 if again else 1), log
    causes = [e.cause for e in read_all(workspace.run_dir(told.id).journal) if isinstance(e, Stopped)]
    assert causes == ["preempted"]
    assert job_of(rows[told.id]).partition("_")[0] not in arrays  # queued again, it became a new job
    assert job_of(rows[struck.id]).partition("_")[0] in arrays


def test_what_slurm_refuses_fails_and_a_running_job_stops(
    slurm: Cluster, workspace: Workspace, queue: Queue, agent: Agent, store: Store
) -> None:
    job = {"executor": "slurm", "epochs": 5000}
    wrong = queue(slurm__partition="nowhere", **job)
    right = queue(slurm__extra="--comment=tests; echo a line of shell", **job)

    def step(done: Callable[[], object]) -> None:
        def both() -> object:
            agent.step()
            return done()

        wait_for(both, workspace)

    step(lambda: store.run(right.id).epoch >= 1)
    row = store.run(wrong.id)
    assert (row.status, row.cause) == ("failed", "exception")
    assert "sbatch: error" in row.message
    assert "partition" in row.message
    store.lifecycle.set_status(right.id, "stopping", expect=("running",))
    step(lambda: store.run(right.id).ended)
    row = store.run(right.id)
    assert (row.status, row.cause) == ("stopped", "stopped")
    assert "a line of shell" in right.log.read_text()
    step(lambda: agent.idle)


def test_a_job_on_two_nodes_is_one_run(
    slurm: Cluster, workspace: Workspace, queue: Queue, agent: Agent, store: Store
) -> None:
    run = queue(executor="slurm", slurm__nodes=2, epochs=1)

    def ended() -> bool:
        agent.step()
        return store.run(run.id).ended

    wait_for(ended, workspace)
    row = store.run(run.id)
    assert (row.status, row.cause) == ("finished", "completed"), run.log.read_text()
    starts = [event for event in read_all(run.journal) if isinstance(event, Started)]
    assert [start.ranks for start in starts] == [2]


def test_an_agent_without_slurm_leaves_its_runs_in_the_queue(
    agent: Agent, queue: Queue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    agent.cluster.say = said.append
    run = queue(executor="slurm")
    monkeypatch.setenv("PATH", "")
    agent.step()
    agent.step()
    assert store.run(run.id).status == "queued"
    assert len(said) == 1
    assert "squeue was not found" in said[0]


def test_a_dry_run_on_nodes_asks_for_them(workspace: Workspace, street: Path) -> None:
    done = seg(
        workspace,
        *("run", "quick", "executor=slurm", "slurm.nodes=2", "slurm.gpus=4", "devices=auto"),
        *("slurm.dry_run=true", "--data", str(street)),
    )
    assert done.returncode == 0, done.stderr
    options = {line for line in done.stdout.splitlines() if line.startswith("#SBATCH")}
    assert {"#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=1", "#SBATCH --gres=gpu:4"} <= options


def test_a_dry_run_prints_the_script_and_makes_nothing(workspace: Workspace, street: Path) -> None:
    done = seg(
        workspace,
        *("run", "quick", "executor=slurm", "slurm.partition=gpu", "slurm.gpus=2", "devices=auto"),
        *("slurm.account=lab", "slurm.time=1-12", "slurm.signal_seconds=90", "slurm.cpus=8"),
        *("slurm.extra=--constraint=a100; module load cuda", "slurm.dry_run=true", "--data", str(street)),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "#!/bin/sh"
    wanted = (
        "partition=gpu",
        "gres=gpu:2",
        "account=lab",
        "time=1-12",
        "signal=B:USR2@90",
        "cpus-per-task=8",
    )
    for option in (*wanted, "constraint=a100", "requeue"):
        assert f"#SBATCH --{option}" in lines
    assert lines.index("module load cuda") < len(lines) - 1
    assert lines[-1].startswith("exec ")
    assert lines[-1].endswith("--preemptible")
    assert not workspace.root.exists()
