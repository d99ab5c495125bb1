"""Files that name processes are hints, whoever wrote them: only a run's own worker is ever signalled."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.agent.agent import Agent
from engine.agent.executors.local import start_worker
from engine.agent.ingest import settle
from engine.agent.workers import ask_to_stop, find_worker, kill_leftovers, kill_worker, mistrust
from engine.host.processes import LARGEST_PID, identify, send_signal
from engine.requests import deleting, refusals
from engine.run.directory import RUN_VARIABLE, RunDir
from engine.store import Store
from engine.workspace import Workspace
from tests.system.conftest import WAIT_SECONDS, Queue, seg, wait_for

me = identify()


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every signal that would be sent; none is."""
    sent: list[object] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr(os, "killpg", lambda group, number: sent.append((-group, number)))
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *words: sent.append(words))
    return sent


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody's process, the first of a group and session of its own as a worker is."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


def forge(run: RunDir, **values: object) -> None:
    run.proc_file.write_text(json.dumps({**me.as_json(), "attempt": 1, "oom_kills": {}, **values}))


FORGED: list[dict[str, object]] = [
    {"pid": 1, "start_time": identify(1).start_time},
    {"pid": 1},
    {"pid": 0},
    {"pid": -1},
    {"pid": -me.pid},
    {"pid": True},
    {"pid": 1.0},
    {"pid": "1"},
    {"pid": None},
    {"pid": [1]},
    {"pid": 10**30},
    {"pid": LARGEST_PID + 1},
    {"pid": os.getppid(), "start_time": identify(os.getppid()).start_time},
    {"start_time": "x"},
    {"start_time": -1},
    {"boot_id": 7},
    {"host": ""},
    {"pid_namespace": "x"},
    {"attempt": "x", "oom_kills": {"../dev/zero": 0, "proc/vmstat": "x", "/dev/zero": -1}},
    {"attempt": 10**30},
]


@pytest.mark.parametrize("values", FORGED, ids=", ".join)  # the same in every process
@pytest.mark.parametrize("held", [False, True], ids=["", "held"])
def test_a_forged_file_signals_nobody_and_the_run_ends(
    signalled: list[object],
    store: Store,
    queue: Queue,
    agent: Agent,
    values: dict[str, object],
    held: bool,
) -> None:
    run = queue()
    agent.slots, agent.grace = {"cpu": 0}, 0.0
    said: list[str] = []
    agent.say = agent.troubles.say = said.append
    assert store.queue.claim_next(agent.me, "cpu", ("cpu",)) is not None
    store.lifecycle.set_status(run.id, "stopping")
    forge(run, **values)
    holder = None
    if held:  # by somebody who is no worker, as when a child of one was renamed
        with open(run.log, "ab") as log:
            holder = subprocess.Popen(["flock", run.log, "sleep", "600"], stdout=log, start_new_session=True)
        wait_for(lambda: not lock_is_free(run), agent.workspace)
    try:
        for _ in range(4):
            agent.step()
    finally:
        if holder is not None:
            subprocess.run(["kill", "-KILL", "--", f"-{holder.pid}"], check=True)
            holder.wait()
            wait_for(lambda: lock_is_free(run), agent.workspace)  # what it started dies a moment later
    for _ in range(2):
        agent.step()
    assert signalled == []
    assert store.run(run.id).ended, said
    assert run.id not in agent.watched
    assert not any("Traceback" in line or "\n" in line for line in said)


def test_a_run_that_a_forged_file_says_to_live_does_not_keep_its_device(
    signalled: list[object], store: Store, queue: Queue, agent: Agent
) -> None:
    run = queue()
    agent.slots = {"cpu": 0}
    assert store.queue.claim_next(agent.me, "cpu", ("cpu",)) is not None
    store.lifecycle.set_status(run.id, "running")
    forge(run, pid=1, start_time=identify(1).start_time)
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.cause) == ("failed", "killed")
    assert row.message.startswith(f"{run.proc_file}: names process 1")
    assert row.message.endswith("which is not a worker of this run")
    assert signalled == []


def test_who_is_refused_for_a_forged_file_is_told_the_way_out(
    workspace: Workspace, store: Store, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "LEAVING_SECONDS", 0.0)
    run = queue()
    store.lifecycle.set_status(run.id, "stopped", "stopped")
    forge(run, pid=1, start_time=identify(1).start_time)
    with pytest.raises(refusals.Refused) as refused:
        deleting.delete(workspace, store, store.run(run.id))
    (line,) = refused.value.problems
    assert "which is not a worker of this run; remove that file if no worker is left" in line
    run.proc_file.unlink()
    deleting.delete(workspace, store, store.run(run.id))
    assert not run.path.exists()


def lock_is_free(run: RunDir) -> bool:
    return subprocess.run(["flock", "-n", run.log, "true"], check=False).returncode == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"pid": 1' + b"0" * 5000 + b"}", b"null", b"{}"],
    ids=["empty", "a list", "no UTF-8", "deep", "digits", "null", "no keys"],
)
def test_what_is_no_record_of_a_process_is_told_in_a_line(
    tmp_path: Path, signalled: list[object], content: bytes
) -> None:
    run = RunDir(tmp_path / "abcd1234")
    run.path.mkdir()
    run.proc_file.write_bytes(content)
    run.exit_file.write_bytes(content)
    assert run.read_proc() is None
    assert run.read_exit() is None
    assert run.read_proc_attempt() == 0
    assert not run.met_oom_killer()
    assert mistrust(run).startswith(f"{run.proc_file}: ")
    assert "\n" not in mistrust(run)
    assert ask_to_stop(run) is None
    kill_worker(run)
    kill_leftovers(run)
    assert signalled == []


def test_a_pipe_in_place_of_the_record_is_not_waited_for(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "abcd1234")
    run.path.mkdir()
    os.mkfifo(run.proc_file)
    assert run.read_proc() is None
    assert "is not a regular file" in mistrust(run)


@pytest.mark.parametrize(
    "pid",
    [1, 0, -1, -os.getpgrp(), os.getpid(), LARGEST_PID + 1, 10**30],
    ids=["first", "zero", "all", "own group", "oneself", "too large", "huge"],  # the same in every process
)
def test_no_signal_goes_to_the_first_process_a_group_or_oneself(signalled: list[object], pid: int) -> None:
    assert not send_signal(pid, signal.SIGKILL, lambda held: True)
    assert signalled == []


def test_a_stranger_that_a_file_names_goes_on_and_the_worker_stops_all_the_same(
    workspace: Workspace, store: Store, queue: Queue, agent: Agent, stranger: subprocess.Popen[bytes]
) -> None:
    run = queue(epochs=100_000)
    worker = start_worker(run, workspace.cache)
    said: list[str] = []
    agent.say = agent.troubles.say = said.append
    try:
        wait_for(run.read_proc, workspace)
        forge(run, **identify(stranger.pid).as_json())
        agent.step()
        assert agent.watched[run.id].worker is None
        assert "is not a worker of this run" in "\n".join(said)
        store.lifecycle.set_status(run.id, "stopping")
        agent.step()
        assert worker.wait(timeout=WAIT_SECONDS) in (3, -signal.SIGTERM)
        wait_for(lambda: agent.step() or store.run(run.id).ended, workspace)
        assert store.run(run.id).status == "stopped"
        assert stranger.poll() is None
    finally:
        kill_worker(run, worker)


def test_a_dead_workers_number_means_no_group_and_its_children_are_known_by_the_folder(
    store: Store, queue: Queue, workspace: Workspace, stranger: subprocess.Popen[bytes]
) -> None:
    run = queue()
    assert store.queue.claim_next(me, "cpu", ("cpu",)) is not None
    gone = identify(stranger.pid)
    forge(run, **gone.as_json() | {"start_time": gone.start_time + 1})  # its pid means the stranger by now
    copy = workspace.root / "copy" / run.id
    shutil.copytree(run.path, copy)
    sleep = ["sleep", "600"]
    with (
        subprocess.Popen(sleep, env={**os.environ, RUN_VARIABLE: str(run.path)}) as child,
        subprocess.Popen(sleep, env={**os.environ, RUN_VARIABLE: str(copy)}) as of_a_copy,
    ):
        settle(store, run)
        assert child.wait(timeout=WAIT_SECONDS) == -signal.SIGKILL
        assert of_a_copy.poll() is None
        of_a_copy.kill()
    assert stranger.poll() is None
    assert store.run(run.id).ended


def test_a_copied_folder_and_a_link_do_not_reach_the_worker_of_the_original(
    workspace: Workspace, queue: Queue, tmp_path: Path
) -> None:
    run = queue(epochs=100_000)
    worker = start_worker(run, workspace.cache)
    try:
        wait_for(lambda: run.read_proc() is not None, workspace)
        copy, link = RunDir(tmp_path / "copy" / run.id), RunDir(workspace.runs / "bbbb2222")
        shutil.copytree(run.path, copy.path)
        link.path.symlink_to(run.path)
        for other in (copy, link):
            assert find_worker(other) is None
            assert "is not a worker of this run" in mistrust(other)
            kill_worker(other)
            kill_leftovers(other)
        assert worker.poll() is None
        assert find_worker(run) == worker.pid
        assert mistrust(run) == ""
    finally:
        kill_worker(run, worker)
    assert worker.wait(timeout=WAIT_SECONDS) == -signal.SIGKILL


IN_A_NAMESPACE = """
import json, subprocess, sys
from engine.agent.workers import ask_to_stop, kill_leftovers, kill_worker, mistrust
from engine.host.processes import identify
from engine.run.directory import RunDir
from pathlib import Path

run = RunDir(Path(sys.argv[1]))
first, stranger = identify(1), subprocess.Popen(["sleep", "600"], start_new_session=True)
others = [(process.pid, process.start_time) for process in (first, identify(stranger.pid))]
for pid, start in (*others, (1, 0), (0, 0), (-1, 0)):
    forged = {**first.as_json(), "pid": pid, "start_time": start, "attempt": 1}
    run.proc_file.write_text(json.dumps(forged))
    assert ask_to_stop(run) is None
    kill_worker(run)
    kill_leftovers(run)
    print(mistrust(run))
assert stranger.poll() is None
print("all live")
"""


def test_pid_1_of_a_namespace_of_its_own_lives(tmp_path: Path) -> None:
    """For real: were the code wrong, the kernel would end everything in the namespace, and nothing else."""
    into = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*into, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no pid namespaces here")
    run = RunDir(tmp_path / "abcd1234")
    run.path.mkdir()
    inner = 'sleep 600 & "$0" -c "$1" "$2"; echo "left with $?"; kill %1'
    done = subprocess.run(
        [*into, "sh", "-c", inner, sys.executable, textwrap.dedent(IN_A_NAMESPACE), str(run.path)],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.stdout.splitlines()[-2:] == ["all live", "left with 0"], done.stderr
    assert "names process 1" in done.stdout


def test_a_process_of_another_pid_namespace_is_not_judged_by_its_number() -> None:
    from engine.host.processes import ProcessIdentity, is_alive

    elsewhere = ProcessIdentity(me.host, me.pid, me.start_time, me.boot_id, pid_namespace=7)
    assert is_alive(elsewhere) is None
    assert is_alive(ProcessIdentity.from_json(me.as_json())) is True
    known_before = {name: value for name, value in me.as_json().items() if name != "pid_namespace"}
    assert is_alive(ProcessIdentity.from_json(known_before)) is True


def test_commands_say_what_they_can_of_a_run_with_a_forged_file(
    workspace: Workspace, store: Store, queue: Queue
) -> None:
    run = queue()
    store.lifecycle.set_status(run.id, "stopped", "stopped")
    forge(run, pid="x", oom_kills={"/dev/zero": -1})
    for words in (["show", run.id], ["resume", run.id, "--help"], ["delete", run.id, "--yes"]):
        done = seg(workspace, *words)
        assert (done.returncode, done.stderr) == (0, "")
