"""Two who act on one run at once: the agent one step at a time, and others in between."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

import pytest

from engine.agent.agent import Agent, Watched
from engine.agent.executors import slurm
from engine.agent.executors.local import is_held, start_worker
from engine.agent.foreground import StopSwitch, _Followed, follow_run
from engine.agent.ingest import refresh, settle
from engine.agent.presence import Presence
from engine.agent.workers import kill_worker
from engine.host.processes import ProcessIdentity, identify
from engine.requests import lifecycle
from engine.run.directory import RunDir
from engine.run.journal import read_all
from engine.store import Store
from engine.workspace import Workspace
from tests.system.conftest import WAIT_SECONDS, Queue, seg, wait_for, work

me = identify()
DEAD = ProcessIdentity(me.host, me.pid, me.start_time + 1, me.boot_id)


def test_a_run_that_ended_and_was_deleted_between_two_steps_does_not_hold_up_the_rest(
    store: Store, queue: Queue, agent: Agent
) -> None:
    gone, next_one = queue(), queue()
    agent.slots = {"cpu": 0}
    assert store.queue.claim_next(agent.me, "cpu", ("cpu",)) is not None
    agent.watched[gone.id] = Watched(gone, "cpu", worker=None)
    store.lifecycle.set_status(gone.id, "finished", "completed")
    store.lifecycle.delete(gone.id)
    agent.step()
    assert agent.watched == {}
    assert store.run(next_one.id).status == "queued"


def test_a_second_attempt_that_was_claimed_and_never_started_goes_back_to_the_queue(
    store: Store, queue: Queue, agent: Agent
) -> None:
    run = queue()
    assert store.queue.claim_next(me, "cpu", ("cpu",)) is not None
    run.write_proc(DEAD, 1)
    with run.journal.open("w") as journal:
        journal.write(
            '{"seq":0,"t":1.0,"attempt":1,"event":"failed","cause":"exception","message":"the first one"}\n'
        )
    run.write_exit(1, "failed", "exception", "the first one")
    refresh(store, [run])
    assert store.run(run.id).message == "the first one"
    store.lifecycle.set_status(run.id, "queued")
    assert (
        store.queue.claim_next(DEAD, "cpu", ("cpu",)) is not None
    )  # by an agent that dies before it starts it
    agent.slots = {"cpu": 0}
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.cause) == ("queued", "")


def test_a_stop_of_a_run_that_was_claimed_and_never_started_is_a_stop(
    store: Store, queue: Queue, agent: Agent
) -> None:
    run = queue()
    run.write_proc(DEAD, 0)
    assert store.queue.claim_next(DEAD, "cpu", ("cpu",)) is not None
    assert store.lifecycle.set_status(run.id, "stopping", expect=("starting",))
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.cause) == ("stopped", "stopped")


def test_a_reader_who_found_a_worker_dead_leaves_the_next_one_alone(store: Store, queue: Queue) -> None:
    run = queue()
    assert store.queue.claim_next(DEAD, "cpu", ("cpu",)) is not None
    seen = store.run(run.id)
    # Between its look and its word somebody else has taken the run.
    assert store.queue.adopt(run.id, me, "cpu", seen.claimed_by)
    settle(store, run, claimed_by=seen.claimed_by)
    assert store.run(run.id).status == "starting"


def test_a_worker_that_stopped_without_a_word_as_told_by_its_exit_status(store: Store, queue: Queue) -> None:
    run = queue()
    assert store.queue.claim_next(me, "cpu", ("cpu",)) is not None
    run.write_proc(DEAD, 1)
    store.lifecycle.set_status(run.id, "stopping", expect=("starting",))
    settle(store, run, exit_status=3)
    assert (store.run(run.id).status, store.run(run.id).cause) == ("stopped", "stopped")


def test_a_run_that_is_at_work_while_the_database_takes_it_for_queued_is_adopted(
    workspace: Workspace, store: Store, queue: Queue, agent: Agent
) -> None:
    run = queue(epochs=100_000)
    worker = start_worker(run, workspace.cache)
    try:
        wait_for(lambda: run.read_proc() is not None, workspace)
        agent.step()
        assert agent.watched[run.id].worker is None
        wait_for(lambda: read_all(run.journal), workspace)
        agent.step()
        assert store.run(run.id).status == "running"
        store.lifecycle.set_status(run.id, "stopping")
        agent.step()
        assert worker.wait(timeout=WAIT_SECONDS) == 3
        wait_for(lambda: not is_held(run), workspace)
        agent.step()
        assert store.run(run.id).status == "stopped"
    finally:
        kill_worker(run, worker)


def test_a_stop_of_a_run_that_nobody_looks_after_starts_no_agent(
    workspace: Workspace, store: Store, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[Workspace] = []
    monkeypatch.setattr(lifecycle, "ensure_agent", wanted.append)
    run, waiting = queue(epochs=100_000), queue()
    assert store.queue.take(run.id, DEAD, ("queued",))
    worker = start_worker(run, workspace.cache)
    try:
        wait_for(lambda: any(event.event == "epoch" for event in read_all(run.journal)), workspace)
        assert lifecycle.stop(workspace, store, [store.run(run.id)]) == ["stopping"]
        assert worker.wait(timeout=WAIT_SECONDS) == 3
        assert wanted == [], "it would start what is queued"
        lifecycle.stop(workspace, store, [store.run(run.id)])
        assert wanted == [workspace], "who asks again wants it to be seen to"
        refresh(store, [run])
        assert (store.run(run.id).status, store.run(run.id).cause) == ("stopped", "stopped")
        assert store.run(waiting.id).status == "queued"
    finally:
        kill_worker(run, worker)


def test_a_preempted_run_from_elsewhere_is_not_started_here(
    store: Store, queue: Queue, agent: Agent, workspace: Workspace
) -> None:
    run = queue()
    with run.journal.open("w") as journal:
        journal.write('{"seq":0,"t":1.0,"attempt":1,"event":"stopped","cause":"preempted","epoch":0}\n')
    store.lifecycle.delete(run.id)
    store.journals.import_run(run, queued=False)
    agent.step()
    assert store.run(run.id).status == "stopped"


def test_a_preempted_run_that_is_stopped_before_it_is_queued_again_stays_stopped(
    workspace: Workspace, store: Store, queue: Queue, agent: Agent
) -> None:
    run = queue()
    assert store.queue.claim_next(agent.me, "cpu", ("cpu",)) is not None
    store.lifecycle.set_status(run.id, "stopped", "preempted")
    assert lifecycle.stop(workspace, store, [store.run(run.id)]) == ["stopped"]
    agent.step()
    assert (store.run(run.id).status, store.run(run.id).cause) == ("stopped", "stopped")


# --- Preempted in a terminal -----------------------------------------------------------------------


def test_a_run_that_is_preempted_in_a_terminal_is_queued_again_and_watched_on(
    workspace: Workspace, store: Store, queue: Queue
) -> None:
    run = queue(epochs=100_000)
    store.lifecycle.set_status(run.id, "stopped", "stopped")
    seen = workspace.root / "seen.jsonl"
    terminal, watcher = command(workspace, "resume", run.id), None
    try:
        wait_for(lambda: store.run(run.id).epoch >= 1, workspace)
        with open(seen, "w") as file:
            watcher = command(workspace, "watch", run.id, "--json", stdout=file)
        wait_for(lambda: '"event":"started"' in seen.read_text(), workspace)
        process = run.read_proc()
        assert process is not None
        os.kill(process.pid, signal.SIGUSR2)
        out, err = terminal.communicate(timeout=WAIT_SECONDS)
        assert terminal.returncode == 3, err
        assert "preempted after" in out
        assert out.splitlines()[-1].split() == [run.id, "a", "test", "queued"]
        assert "an agent was started" in err
        assert f"next: seg-engine -w {workspace.root} watch {run.id}" in err
        wait_for(lambda: store.run(run.id).attempt == 2, workspace)
        assert seg(workspace, "stop", run.id).returncode == 0
        assert watcher.wait(timeout=WAIT_SECONDS) == 3
        events = [json.loads(line) for line in seen.read_text().splitlines()]
        assert [event["attempt"] for event in events if event["event"] == "started"] == [1, 2]
        assert (events[-1]["status"], events[-1]["cause"]) == ("stopped", "stopped")
    finally:
        for process_here in (terminal, watcher):
            if process_here is not None:
                process_here.kill()
                process_here.communicate()
        leave(workspace)


def command(
    workspace: Workspace, *arguments: str, stdout: int | IO[str] = subprocess.PIPE
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-c", "from engine.cli.main import main; main()"),
            *("--workspace", str(workspace.root), *arguments),
        ],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def leave(workspace: Workspace) -> None:
    agent = Presence.of(workspace).living()
    if agent is not None:
        os.kill(agent.pid, signal.SIGTERM)
        wait_for(lambda: Presence.of(workspace).living() is None, workspace)


def test_a_run_whose_worker_lives_is_not_resumed_a_second_time(
    workspace: Workspace, store: Store, queue: Queue
) -> None:
    run: RunDir = queue()
    assert work(run) == 0
    run.write_proc(identify(), 1)
    refresh(store, [run])
    store.lifecycle.set_status(run.id, "lost", "lost_host")
    done = seg(workspace, "resume", run.id)
    assert done.returncode == 2
    assert "its worker still lives" in done.stderr
    assert store.run(run.id).status == "lost"


def test_a_terminal_outlives_a_database_that_is_locked_until_after_the_end(
    workspace: Workspace, store: Store, queue: Queue
) -> None:
    run = queue()
    assert store.queue.take(run.id, me, ("queued",))
    locker = sqlite3.connect(workspace.database, isolation_level=None, check_same_thread=False)
    locker.execute("BEGIN IMMEDIATE")
    said: list[str] = []

    def let_go_when_it_is_over() -> None:
        try:
            wait_for(lambda: len(said) == 2, workspace)
        finally:
            locker.close()

    other = threading.Thread(target=let_go_when_it_is_over)
    other.start()
    shown: list[str] = []
    with Store(workspace.database_url, timeout=0.05) as impatient:
        row = follow_run(
            impatient,
            workspace,
            run.id,
            lambda events: shown.extend(event.event for event in events),
            StopSwitch(),
            said.append,
        )
    other.join()
    assert (row.status, row.epoch) == ("finished", 3)
    assert len(said) == 2
    assert said[0].endswith("; the run and its journal continue")
    assert said[1].endswith(
        "; its worker has ended, which waits to be recorded; Ctrl-C leaves that to the next command"
    )
    assert all("another program has locked the database" in line for line in said)
    assert shown == [event.event for event in read_all(run.journal)]


def test_ctrl_c_stops_a_run_while_the_database_is_locked(
    workspace: Workspace, store: Store, queue: Queue
) -> None:
    run = queue(epochs=100_000)
    assert store.queue.take(run.id, me, ("queued",))
    switch = StopSwitch()
    locker = sqlite3.connect(workspace.database, isolation_level=None, check_same_thread=False)
    locker.execute("BEGIN IMMEDIATE")

    def stop_then_let_go() -> None:
        wait_for(lambda: any(event.event == "epoch" for event in read_all(run.journal)), workspace)
        switch.press()
        wait_for(lambda: run.read_exit() is not None, workspace)
        locker.close()

    other = threading.Thread(target=stop_then_let_go)
    other.start()
    with Store(workspace.database_url, timeout=0.05) as impatient:
        row = follow_run(impatient, workspace, run.id, lambda events: None, switch, lambda line: None)
    other.join()
    assert (row.status, row.cause) == ("stopped", "stopped")


@pytest.mark.parametrize(("asked", "status"), [(False, "running"), (True, "stopping")])
def test_a_run_in_a_terminal_that_another_host_calls_lost_goes_on(
    store: Store, queue: Queue, monkeypatch: pytest.MonkeyPatch, asked: bool, status: str
) -> None:
    monkeypatch.setattr("engine.agent.foreground.LEAVING_SECONDS", -1.0)
    run = queue()
    assert store.queue.take(run.id, me, ("queued",))
    with subprocess.Popen(["sleep", "60"]) as worker:
        followed = _Followed(store, run, worker, lambda events: None)
        followed.asked = followed.told = asked
        store.lifecycle.set_status(run.id, "lost", "lost_host", "no heartbeat")
        for _ in range(2):
            followed.step()
        assert worker.poll() is None
        worker.kill()
    assert (followed.killed_because, store.run(run.id).status) == ("", status)


def test_a_terminal_tells_of_a_damaged_journal_and_stays_to_the_end(
    workspace: Workspace, store: Store, queue: Queue
) -> None:
    run = queue()
    run.journal.write_text(
        'no event\n{"seq":0,"t":1.0,"attempt":1,"event":"warning","message":"so that a worker can go on"}\n'
    )
    assert store.queue.take(run.id, me, ("queued",))
    said: list[str] = []
    row = follow_run(store, workspace, run.id, lambda events: None, StopSwitch(), said.append)
    assert (row.status, row.cause) == ("finished", "completed")  # the worker's own word, in exit.json
    assert "the line at byte 0 is no event" in row.message
    assert len(said) == 1
    assert run.read_exit() is not None


# --- The trouble of one run is its own ------------------------------------------------------------


def not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process belongs to another user, as far as the kernel lets us signal it."""

    def refuse(*words: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)


def test_a_worker_of_another_user_is_told_with_its_owner_and_the_rest_goes_on(
    workspace: Workspace, store: Store, queue: Queue, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, stuck, waiting = queue(epochs=100_000), queue(epochs=100_000), queue()
    worker = start_worker(theirs, workspace.cache)
    said: list[str] = []
    agent.say = agent.troubles.say = said.append
    agent.slots, agent.grace = {"cpu": 3}, 0.0
    try:
        wait_for(lambda: theirs.read_proc() is not None, workspace)
        agent.step()
        own = agent.watched[stuck.id].worker
        assert own is not None
        assert agent.watched[theirs.id].worker is None
        store.lifecycle.set_status(theirs.id, "stopping")
        os.kill(own.pid, signal.SIGSTOP)
        store.lifecycle.set_status(stuck.id, "stopping")
        not_ours(monkeypatch)
        wait_for(lambda: agent.step() or store.run(stuck.id).ended, workspace)
        assert own.poll() == -signal.SIGKILL  # the grace time was over
        wait_for(lambda: agent.step() or store.run(waiting.id).ended, workspace)
        assert store.run(waiting.id).status == "finished"
        assert worker.poll() is None
        assert store.run(theirs.id).status == "stopping"
        told = [line for line in said if line.startswith("trouble: ")]
        assert told == [
            f"trouble: {theirs.id} of {getpass.getuser()}: its process {worker.pid} belongs to "
            f"{getpass.getuser()}; {getpass.getuser()} can end it with `kill {worker.pid}`"
        ]
    finally:
        monkeypatch.undo()
        kill_worker(theirs, worker)


def break_journal(run: RunDir) -> None:
    run.journal.unlink(missing_ok=True)
    run.journal.mkdir()


def break_folder(run: RunDir) -> None:
    shutil.rmtree(run.path)
    run.path.write_text("no folder")


def break_config(run: RunDir) -> None:
    run.config_file.write_text("[" * 100_000)


def break_journal_line(run: RunDir) -> None:
    run.journal.write_text('{"seq":0,"event":"no such"}\n' * 3)


@pytest.mark.parametrize("damage", [break_journal, break_folder, break_config, break_journal_line])
@pytest.mark.parametrize("when", ["active", "queued", "preempted", "job"])
def test_a_broken_folder_stops_neither_the_agent_nor_its_queue(
    store: Store,
    queue: Queue,
    agent: Agent,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[RunDir], None],
    when: str,
) -> None:
    broken, other = queue(executor="slurm" if when == "job" else "local"), queue()
    monkeypatch.setattr(slurm, "list_jobs", lambda users: [])
    monkeypatch.setattr(slurm, "submit", lambda script: "7")
    if when in ("active", "preempted"):
        assert store.queue.claim_next(DEAD, "cpu", ("cpu",)) is not None
        store.lifecycle.set_status(
            broken.id, *(["running"] if when == "active" else ["stopped", "preempted"])
        )
    damage(broken)
    begun: list[str] = []

    def begin(run: RunDir, *words: object) -> subprocess.Popen[bytes]:
        if not run.path.is_dir():
            raise NotADirectoryError(20, "Not a directory", str(run.log))
        begun.append(run.id)
        return subprocess.Popen(["sleep", "0"])

    monkeypatch.setattr("engine.agent.agent.start_worker", begin)
    said: list[str] = []
    agent.say = agent.troubles.say = said.append
    for _ in range(3):
        agent.step()
        for watched in agent.watched.values():
            if watched.worker is not None:
                watched.worker.wait()
    assert other.id in begun, said
    assert len(said) == len(set(said)), "each trouble is told once"
    assert not any("\n" in line for line in said)
