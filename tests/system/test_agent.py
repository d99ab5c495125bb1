"""The agent with real workers: it queues, stops, dies, comes back, and loses nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.agent.agent import Agent
from engine.agent.executors.local import StillHeld, is_held, start_worker
from engine.agent.loop import AgentOptions, run_agent
from engine.agent.presence import Presence
from engine.agent.workers import kill_worker
from engine.host.processes import available_cores, identify, is_alive
from engine.requests.lifecycle import stop
from engine.run.directory import RunDir
from engine.run.events import Started, Stopped
from engine.run.journal import JournalWriter, read_all
from engine.store import RunRow, Store, StoreError
from engine.workspace import Workspace
from tests.system.conftest import WAIT_SECONDS, Queue, seg, wait_for


@pytest.fixture
def agents(workspace: Workspace) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts agents as processes, and ends whatever is left of them and their workers."""
    started = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        with open(workspace.root / "agent.out", "ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-c", "from engine.cli.main import main; main()"),
                    *("--workspace", str(workspace.root), "agent", *options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
    for folder in workspace.runs.iterdir() if workspace.runs.is_dir() else ():
        worker = RunDir(folder).read_proc()
        if worker is not None:
            kill_worker(RunDir(folder))


def ended(store: Store, run: RunDir, workspace: Workspace) -> RunRow:
    wait_for(lambda: store.run(run.id).ended, workspace)
    return store.run(run.id)


def advanced(store: Store, run: RunDir, workspace: Workspace, epoch: int = 1) -> None:
    wait_for(lambda: store.run(run.id).epoch >= epoch, workspace)


def test_the_queue_runs_in_order_and_the_agent_leaves_when_it_is_empty(
    workspace: Workspace, store: Store, queue: Queue, agents: Callable[..., subprocess.Popen[bytes]]
) -> None:
    late = queue()
    dependent = queue(priority=9, after=late.id)
    urgent = queue(priority=1)
    held = queue(priority=10)
    store.queue.set_place(held.id, paused=True)
    agent = agents("--idle-exit", "0.5")
    assert agent.wait(timeout=WAIT_SECONDS) == 0
    rows = [store.run(run.id) for run in (urgent, late, dependent)]
    assert [(row.status, row.epoch) for row in rows] == [("finished", 3)] * 3
    for earlier, later in ((rows[0], rows[1]), (rows[1], rows[2])):
        assert later.started_at is not None
        assert earlier.ended_at is not None
        assert later.started_at >= earlier.ended_at  # one run at a time on the CPU
    assert store.run(held.id).status == "queued"
    assert Presence.of(workspace).living() is None


def test_runs_side_by_side_share_the_cores_unless_their_config_says_otherwise(
    workspace: Workspace, store: Store, queue: Queue, agents: Callable[..., subprocess.Popen[bytes]]
) -> None:
    shares, insists = queue(runtime__threads=0), queue(runtime__threads=available_cores())
    assert agents("--slots", "2", "--idle-exit", "0.5").wait(timeout=WAIT_SECONDS) == 0
    threads = [
        next(event for event in read_all(run.journal) if isinstance(event, Started)).threads
        for run in (shares, insists)
    ]
    assert threads == [max(1, available_cores() // 2), available_cores()]
    assert store.run(shares.id).status == "finished"


def test_a_stop_through_the_database_saves_and_a_requeued_run_finishes(
    workspace: Workspace, store: Store, queue: Queue, agents: Callable[..., subprocess.Popen[bytes]]
) -> None:
    run = queue(epochs=400)
    agents()
    advanced(store, run, workspace)
    assert store.lifecycle.set_status(run.id, "stopping", expect=("running",))
    row = ended(store, run, workspace)
    assert (row.status, row.cause) == ("stopped", "stopped")
    assert (run.checkpoints / "last.pt").exists()
    wait_for(lambda: not is_held(run), workspace)
    store.lifecycle.set_status(run.id, "queued")
    advanced(store, run, workspace, row.epoch + 1)
    assert store.run(run.id).attempt == 2
    epochs = [epoch.epoch for epoch in store.results.epochs(run.id, "val")]
    assert epochs == list(range(1, len(epochs) + 1))


def test_workers_outlive_their_agent_and_the_next_one_adopts_them(
    workspace: Workspace, store: Store, queue: Queue, agents: Callable[..., subprocess.Popen[bytes]]
) -> None:
    (workspace.root / "notify.toml").write_text("[notify]\ncommand = 'echo $SEG_RUN $SEG_STATUS >> told'\n")
    run = queue(epochs=60)
    first = agents()
    advanced(store, run, workspace)
    process = run.read_proc()
    first.kill()
    first.wait()
    assert process is not None
    assert is_alive(process)
    agents("--idle-exit", "0.5").wait(timeout=WAIT_SECONDS)
    row = store.run(run.id)
    assert (row.status, row.attempt, row.epoch) == ("finished", 1, 60)
    events = [event.seq for event in read_all(run.journal) if event.event != "progress"]
    assert [event.seq for event in store.results.events(run.id)] == events
    assert (workspace.root / "told").read_text() == f"{run.id} finished\n"


def test_a_worker_that_died_while_no_agent_lived_is_found_dead(
    workspace: Workspace, store: Store, queue: Queue, agents: Callable[..., subprocess.Popen[bytes]]
) -> None:
    run = queue(epochs=400)
    first = agents()
    advanced(store, run, workspace)
    first.kill()
    first.wait()
    process = run.read_proc()
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    agents()
    row = ended(store, run, workspace)
    assert (row.status, row.cause) == ("failed", "killed")


def test_a_killed_worker_is_told_with_its_signal_and_what_waited_for_it_fails(
    workspace: Workspace, store: Store, queue: Queue, agents: Callable[..., subprocess.Popen[bytes]]
) -> None:
    run = queue(epochs=400)
    child = queue(after=run.id)
    grandchild = queue(after=child.id)
    agents()
    advanced(store, run, workspace)
    process = run.read_proc()
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    row = ended(store, run, workspace)
    assert (row.status, row.cause) == ("failed", "killed")
    assert "signal 9" in row.message
    last = ended(store, grandchild, workspace)
    assert (last.status, last.cause) == ("failed", "dependency")
    assert last.message == f"it was waiting for {child.id}, which failed"


def test_a_preempted_run_is_queued_again_and_goes_on(
    workspace: Workspace, store: Store, queue: Queue, agents: Callable[..., subprocess.Popen[bytes]]
) -> None:
    run = queue(epochs=400)
    agents()
    advanced(store, run, workspace)
    process = run.read_proc()
    assert process is not None
    os.kill(process.pid, signal.SIGUSR2)
    wait_for(lambda: store.run(run.id).attempt == 2 and store.run(run.id).status == "running", workspace)
    causes = [event.payload["cause"] for event in store.results.events(run.id) if event.event == "stopped"]
    assert causes == ["preempted"]


def test_a_worker_that_does_not_stop_is_killed_after_the_grace_time(
    workspace: Workspace, store: Store, queue: Queue, agents: Callable[..., subprocess.Popen[bytes]]
) -> None:
    run = queue(epochs=400)
    agents("--grace", "0.5")
    advanced(store, run, workspace)
    process = run.read_proc()
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    store.lifecycle.set_status(run.id, "stopping")
    row = ended(store, run, workspace)
    assert (row.status, row.cause) == ("failed", "killed")
    assert row.message == "it did not stop within 0.5 s and was killed"
    assert not is_alive(process)


def test_a_second_agent_is_refused_by_name(
    workspace: Workspace, store: Store, agents: Callable[..., subprocess.Popen[bytes]]
) -> None:
    first = agents()
    wait_for(Presence.of(workspace).living, workspace)
    second = agents()
    assert second.wait(timeout=WAIT_SECONDS) == 2
    assert (
        f"an agent is at work here already (process {first.pid})"
        in (workspace.root / "agent.out").read_text()
    )
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=WAIT_SECONDS) == 0
    assert Presence.of(workspace).living() is None


# --- One step at a time, in this process ---------------------------------------------------------


def test_a_run_whose_agent_died_before_its_worker_was_started_goes_back_to_the_queue(
    store: Store, queue: Queue, agent: Agent
) -> None:
    run = queue()
    gone = identify()
    dead = type(gone)(gone.host, gone.pid, gone.start_time + 1, gone.boot_id)
    assert store.queue.claim_next(dead, "cpu", ("cpu",)) is not None
    agent.slots = {"cpu": 0}  # so that it starts nothing itself
    agent.step()
    assert store.run(run.id).status == "queued"


def test_a_run_that_lived_through_a_reboot_is_lost_with_its_host(
    store: Store, queue: Queue, agent: Agent
) -> None:
    run = queue()
    here = identify()
    before = type(here)(here.host, here.pid, here.start_time, "another boot")
    assert store.queue.claim_next(before, "cpu", ("cpu",)) is not None
    store.lifecycle.set_status(run.id, "running")
    run.write_proc(before, 1)
    agent.slots = {"cpu": 0}
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.cause) == ("lost", "lost_host")


def test_a_heartbeat_of_another_host_that_rests_is_lost_whatever_the_clocks_say(
    store: Store, queue: Queue, agent: Agent
) -> None:
    run = queue()
    here = identify()
    far = type(here)("another-host", here.pid, here.start_time, "its boot")
    assert store.queue.claim_next(far, "cuda:0", ("cpu",)) is not None
    store.lifecycle.set_status(run.id, "running")
    run.write_proc(far, 1)
    beat = time.time() + 7200  # its clock is two hours ahead
    for _ in range(3):
        beat += 1
        os.utime(run.proc_file, (beat, beat))
        agent.step()
        time.sleep(agent.lease * 1.5)  # longer than the lease in all, but it beats
    assert store.run(run.id).status == "running"
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.cause) == ("lost", "lost_host")
    assert row.message == "no heartbeat from another-host for 0.05 s"


@pytest.mark.parametrize("ends", [False, True])
def test_a_lost_run_whose_heart_beats_again_goes_on(
    store: Store, queue: Queue, agent: Agent, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr("engine.agent.agent.LOST_SECONDS", 0.0)
    run = queue()
    far = replace(identify(), host="another-host", boot_id="its boot")
    assert store.queue.claim_next(far, "cuda:0", ("cpu",)) is not None
    run.write_proc(far, 1)
    os.utime(run.proc_file, (1000, 1000))
    store.lifecycle.set_status(run.id, "lost", "lost_host", "no heartbeat")
    agent.lease = 3600.0
    for _ in range(2):
        agent.step()
    assert store.run(run.id).status == "lost"
    os.utime(run.proc_file, (1002, 1002))
    with JournalWriter(run.journal) as journal:
        if ends:
            journal.write(Stopped(cause="stopped", epoch=1))
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.cause, row.message) == (
        ("stopped", "stopped", "") if ends else ("running", "", "")
    )


def test_a_run_whose_folder_is_gone_fails_and_says_so(
    workspace: Workspace, store: Store, queue: Queue, agent: Agent
) -> None:
    run = queue()
    run.path.rename(workspace.runs / ".elsewhere")
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.message) == ("failed", f"its folder {run.path} is gone")


def test_a_run_that_a_terminal_looks_after_is_left_to_it_and_takes_up_its_device(
    store: Store, queue: Queue, agent: Agent
) -> None:
    foreground, waiting = queue(), queue()
    with subprocess.Popen(["sleep", "60"]) as terminal:
        assert store.queue.take(foreground.id, identify(terminal.pid), ("queued",))
        agent.step()
        assert store.run(foreground.id).status == "starting"
        assert store.run(waiting.id).status == "queued"
        assert agent.watched == {}
        terminal.kill()


def test_a_journal_that_outlives_a_locked_database_is_ingested_when_it_is_back(
    workspace: Workspace, store: Store, queue: Queue
) -> None:
    run = queue()
    with Store(workspace.database_url, timeout=0.05) as impatient:
        agent = Agent(impatient, workspace, {"cpu": 1}, lambda line: None)
        agent.step()
        worker = agent.watched[run.id].worker
        assert worker is not None
        locker = sqlite3.connect(workspace.database, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        wait_for(lambda: run.read_exit() is not None, workspace)
        with pytest.raises(StoreError, match="another program has locked the database"):
            agent.step()
        locker.close()
        worker.wait()
        agent.step()
        assert agent.idle
    row = store.run(run.id)
    assert (row.status, row.epoch) == ("finished", 3)
    events = [event.seq for event in read_all(run.journal) if event.event != "progress"]
    assert [event.seq for event in store.results.events(run.id)] == events


def test_an_agent_whose_log_takes_nothing_more_goes_on(
    workspace: Workspace, store: Store, queue: Queue
) -> None:
    runs = [queue(), queue()]
    for run in runs:
        shutil.rmtree(run.path)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run_agent(workspace, AgentOptions(idle_exit=0.0), say)
    assert {store.run(run.id).status for run in runs} == {"failed"}
    assert said[-1] == "nothing to do; exiting"


def test_a_run_that_was_stopped_since_it_made_room_is_not_queued_again(
    workspace: Workspace, store: Store, queue: Queue, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queue()
    store.queue.take(run.id, agent.me, ("queued",))
    store.lifecycle.set_status(run.id, "stopped", "preempted")

    def stop_meanwhile(orphans: object) -> None:
        assert stop(workspace, store, [store.run(run.id)]) == ["stopped"]

    monkeypatch.setattr(agent.cluster, "step", stop_meanwhile)
    agent.step()
    assert (store.run(run.id).status, store.run(run.id).cause) == ("stopped", "stopped")


def test_two_workers_never_share_a_run(
    workspace: Workspace, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queue(epochs=100_000)
    monkeypatch.setenv("SEG_DATABASE_URL", "postgresql://ana:secret@example.org/runs")
    worker = start_worker(run, workspace.cache)
    try:
        environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
        assert b"PYTHONUNBUFFERED=1" in environment
        assert b"secret" not in environment
        with pytest.raises(StillHeld, match="an earlier worker is still running"):
            start_worker(run, workspace.cache)
    finally:
        kill_worker(run, worker)
        worker.wait()
    assert not is_held(run)


# --- From the command line -----------------------------------------------------------------------


@pytest.mark.cold
def test_queueing_starts_an_agent_that_outlives_the_command(
    workspace: Workspace, store: Store, street: Path
) -> None:
    tiny = ("data.size=32x32", "model.width=4", "batch_size=2", "epochs=2", "runtime.threads=1", "device=cpu")
    done = seg(workspace, "run", "quick", *tiny, "--data", str(street), "--queue", "--json")
    assert done.returncode == 0, done.stderr
    run_id = json.loads(done.stdout)["run"]
    try:
        watched = seg(workspace, "watch", run_id, "--json")
        assert watched.returncode == 0, watched.stderr
        assert json.loads(watched.stdout.splitlines()[-1])["status"] == "finished"
        assert "finished" in seg(workspace, "logs", run_id, "-n", "1").stdout
    finally:
        agent = Presence.of(workspace).living()
        assert agent is not None
        os.kill(agent.pid, signal.SIGTERM)
    wait_for(lambda: Presence.of(workspace).living() is None, workspace)
