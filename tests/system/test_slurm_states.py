"""What becomes of a run when its job ends and the journal does not say how; Slurm's answers are made up."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from engine.agent import cluster
from engine.agent.agent import Agent
from engine.agent.executors import slurm
from engine.agent.executors.slurm import SlurmError, SlurmJob
from engine.agent.ingest import catch_up
from engine.config.slurm import SlurmConfig
from engine.host.processes import ProcessIdentity, identify
from engine.run.directory import RunDir
from engine.run.events import Started, Stopped
from engine.run.journal import JournalWriter
from engine.store import Store, StoreError
from engine.store.schema import runs
from tests.system.conftest import Queue, seg


class MadeUpSlurm:
    """Answers as Slurm's commands do; `jobs` are those that squeue shows, `accounts` what sacct says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs: list[SlurmJob] = []
        self.scripts: list[str] = []
        self.cancelled: list[str] = []
        self.refusal: SlurmError | None = None
        self.silence: SlurmError | None = None
        self.asked = 0
        self.users: set[int] = set()
        self.accounts = ""
        monkeypatch.setattr(cluster, "ASK_SECONDS", 0.0)
        monkeypatch.setattr(slurm, "list_jobs", self.list_jobs)
        monkeypatch.setattr(slurm, "accounted_state", lambda job: self.accounts)
        monkeypatch.setattr(slurm, "submit", self.submit)
        monkeypatch.setattr(slurm, "cancel", self.cancelled.append)

    def list_jobs(self, users: set[int]) -> list[SlurmJob]:
        self.asked += 1
        self.users = users
        if self.silence is not None:
            raise self.silence
        return self.jobs

    def submit(self, script: object) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.scripts.append(str(script))
        return str(6 + len(self.scripts))

    def show(self, state: str, restarts: int = 0) -> None:
        """Let squeue show the job that was submitted last."""
        name = self.scripts[-1].rpartition("/")[2].removesuffix(".sh")
        self.jobs = [SlurmJob(str(6 + len(self.scripts)), name, state, restarts, "")]


class LateAnswers:
    """Slurm's answers come when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open: list[tuple[Callable[[], Any], Future[Any]]] = []
        monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.0)
        monkeypatch.setattr(cluster, "in_background", self.ask)

    def ask(self, question: Callable[[], Any]) -> Future[Any]:
        answer: Future[Any] = Future()
        self._open.append((question, answer))
        return answer

    def come(self) -> None:
        """Let the one question that waits be answered."""
        ((question, answer),) = self._open
        self._open.clear()
        answer.set_result(question())


@pytest.fixture
def cluster_of(monkeypatch: pytest.MonkeyPatch) -> MadeUpSlurm:
    return MadeUpSlurm(monkeypatch)


def come_up(run: RunDir) -> JournalWriter:
    """What a worker leaves that has come up."""
    writer = JournalWriter(run.journal)
    run.write_proc(identify(), writer.attempt)
    writer.write(
        Started(
            host="n1",
            pid=1,
            device="cpu",
            device_name="",
            precision="fp32",
            threads=1,
            versions={},
            import_seconds=0,
        )
    )
    return writer


@pytest.mark.parametrize(
    ("shown", "accounts", "end", "told"),
    [
        ("TIMEOUT", "", ("failed", "timeout"), "job 7 ended as TIMEOUT"),
        ("OUT_OF_MEMORY", "", ("failed", "out_of_memory"), "job 7 ended as OUT_OF_MEMORY"),
        ("FAILED", "", ("failed", "killed"), "its worker reported nothing"),
        ("CANCELLED", "", ("stopped", "stopped"), ""),
        ("NODE_FAIL", "", ("starting", ""), ""),
        ("", "NODE_FAIL", ("starting", ""), ""),
        ("", "TIMEOUT", ("failed", "timeout"), "job 7 ended as TIMEOUT"),
        ("", "", ("failed", "killed"), "job 7 is gone"),
    ],
)
def test_the_end_is_squeues_word_or_else_the_accountings(
    cluster_of: MadeUpSlurm,
    agent: Agent,
    queue: Queue,
    store: Store,
    shown: str,
    accounts: str,
    end: tuple[str, str],
    told: str,
) -> None:
    run = queue(executor="slurm")
    agent.step()
    cluster_of.show("RUNNING")
    come_up(run).close()
    agent.step()
    assert store.run(run.id).status == "running"
    cluster_of.accounts = accounts
    if shown:
        cluster_of.show(shown)
    else:
        cluster_of.jobs = []
    agent.step()
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.cause) == end
    assert told in row.message
    # A dead node says nothing against the run: it has become a new job.
    assert len(cluster_of.scripts) == (2 if end[0] == "starting" else 1)


def test_without_any_word_of_slurm_exit_json_tells(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store
) -> None:
    run = queue(executor="slurm")
    agent.step()
    cluster_of.show("RUNNING")
    come_up(run).close()
    agent.step()
    run.write_exit(1, "failed", "out_of_memory", "no room")
    cluster_of.jobs = []
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.cause, row.message) == ("failed", "out_of_memory", "no room")


def made_room(cluster_of: MadeUpSlurm, agent: Agent, queue: Queue) -> RunDir:
    """A run whose journal says that it was preempted while its job ran."""
    run = queue(executor="slurm")
    agent.step()
    cluster_of.show("RUNNING")
    with come_up(run) as writer:
        writer.write(Stopped(cause="preempted", epoch=0))
    return run


@pytest.mark.parametrize(("shown", "status"), [("FAILED", "starting"), ("CANCELLED", "stopped")])
def test_who_made_room_goes_on_unless_the_job_was_cancelled(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store, shown: str, status: str
) -> None:
    run = made_room(cluster_of, agent, queue)
    cluster_of.show(shown)
    agent.step()
    agent.step()
    row = store.run(run.id)
    assert row.status == status
    assert len(cluster_of.scripts) == (2 if status == "starting" else 1)


@pytest.mark.parametrize(("alive", "scripts"), [(True, 1), (False, 2)])
def test_who_made_room_while_no_agent_was_there_goes_on(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store, alive: bool, scripts: int
) -> None:
    run = made_room(cluster_of, agent, queue)
    agent.cluster.watched.clear()  # as a new agent
    catch_up(store, run)  # somebody has listed the runs meanwhile
    assert (store.run(run.id).status, store.run(run.id).cause) == ("stopped", "preempted")
    if alive:
        cluster_of.show("PENDING", restarts=1)
    else:
        cluster_of.jobs = []
    agent.step()
    agent.step()
    assert store.run(run.id).status == "starting"
    assert len(cluster_of.scripts) == scripts
    assert run.id in agent.cluster.watched


def test_who_made_room_and_was_cancelled_while_no_agent_was_there_stays_stopped(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store
) -> None:
    run = made_room(cluster_of, agent, queue)
    agent.cluster.watched.clear()  # as a new agent
    catch_up(store, run)
    cluster_of.jobs, cluster_of.accounts = [], "CANCELLED by 1000"
    agent.step()
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.cause, row.message) == ("stopped", "stopped", "job 7 was cancelled")
    assert len(cluster_of.scripts) == 1


@pytest.mark.parametrize("by", ["stop", "scancel"])
def test_who_made_room_and_is_taken_out_of_slurms_queue_stays_stopped(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store, by: str
) -> None:
    run = made_room(cluster_of, agent, queue)
    run.write_exit(1, "stopped", "preempted")
    cluster_of.show("PENDING", restarts=1)
    agent.step()
    assert store.run(run.id).status == "starting"
    if by == "stop":
        store.lifecycle.set_status(run.id, "stopping", expect=("starting",))
        agent.step()
        assert cluster_of.cancelled == ["7"]
    cluster_of.show("CANCELLED", restarts=1)
    for _ in range(3):
        agent.step()
    assert (store.run(run.id).status, store.run(run.id).cause) == ("stopped", "stopped")
    assert len(cluster_of.scripts) == 1


def test_a_job_that_slurm_starts_again_is_waited_for(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store
) -> None:
    run = queue(executor="slurm")
    agent.step()
    cluster_of.show("RUNNING")
    come_up(run).close()
    agent.step()
    cluster_of.show("PENDING", restarts=1)
    agent.step()
    assert store.run(run.id).status == "starting"
    cluster_of.show("RUNNING", restarts=1)
    come_up(run).close()
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.attempt) == ("running", 2)
    assert len(cluster_of.scripts) == 1


def test_a_job_is_shown_and_not_submitted_twice_though_the_database_forgets_it(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store
) -> None:
    run = queue(executor="slurm")
    agent.step()
    cluster_of.show("PENDING")
    shown = seg(agent.workspace, "show", run.id)
    assert "Slurm job 7, no process yet" in shown.stdout
    later = Agent(store, agent.workspace, {"cpu": 1}, lambda line: None)
    store.lifecycle.set_status(run.id, "queued", expect=("starting",))  # as after a rebuild
    agent.cluster.watched.clear()
    later.step()
    assert store.run(run.id).status == "starting"
    assert len(cluster_of.scripts) == 1
    store.lifecycle.set_status(run.id, "stopping", expect=("starting",))
    later.step()
    assert cluster_of.cancelled == ["7"]


def test_a_run_that_is_queued_again_while_its_old_job_leaves_gets_a_new_one(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store
) -> None:
    run = queue(executor="slurm")
    agent.step()
    cluster_of.show("RUNNING")
    with come_up(run) as writer:
        writer.write(Stopped(cause="stopped", epoch=0))
    agent.step()
    assert store.run(run.id).status == "stopped"
    store.lifecycle.set_status(run.id, "queued")
    cluster_of.show("COMPLETING")
    agent.step()
    assert len(cluster_of.scripts) == 1, "two jobs would be in one folder"
    cluster_of.show("FAILED")
    agent.step()
    agent.step()
    assert (store.run(run.id).status, len(cluster_of.scripts)) == ("starting", 2)
    come_up(run).close()
    cluster_of.show("RUNNING")
    agent.step()
    assert (store.run(run.id).status, store.run(run.id).attempt) == ("running", 2)


def test_what_ended_while_no_agent_was_there_is_not_queued_again(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store
) -> None:
    run = queue(executor="slurm")
    agent.step()
    cluster_of.show("PENDING")
    store.lifecycle.set_status(run.id, "queued", expect=("starting",))  # as after a rebuild
    agent.cluster.watched.clear()  # as a new agent
    agent.step()
    claim = store.run(run.id).claimed_by
    assert claim is not None
    assert claim["job"] == "7"
    agent.cluster.watched.clear()
    cluster_of.jobs = []
    unnoted = {key: value for key, value in claim.items() if key != "job"}
    with store.database.write() as connection:  # its agent was killed between sbatch and its note
        connection.execute(runs.update().where(runs.c.id == run.id).values(claimed_by=unnoted))
    with come_up(run) as writer:
        writer.write(Stopped(cause="stopped", epoch=3))
    agent.step()
    agent.step()
    assert store.run(run.id).status == "stopped"
    assert len(cluster_of.scripts) == 1


def test_while_slurm_has_no_room_runs_stay_queued(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store
) -> None:
    run = queue(executor="slurm")
    cluster_of.refusal = SlurmError("sbatch: error: QOSMaxSubmitJobPerUserLimit")
    agent.step()
    assert store.run(run.id).status == "queued"
    cluster_of.refusal = SlurmError("sbatch: error: invalid account", passing=False)
    agent.cluster._not_before = 0.0
    agent.step()
    row = store.run(run.id)
    assert (row.status, row.message) == ("failed", "sbatch: error: invalid account")


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_stop_that_slurm_does_not_take_is_tried_again(
    cluster_of: MadeUpSlurm,
    agent: Agent,
    queue: Queue,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
) -> None:
    said: list[str] = []
    agent.cluster.say, agent.cluster.grace = said.append, 0.0
    interrupted: list[str] = []
    monkeypatch.setattr(slurm, "interrupt", interrupted.append)
    run = queue(executor="slurm")
    agent.step()
    cluster_of.show(state)
    store.lifecycle.set_status(run.id, "stopping", expect=("starting",))
    refusal = SlurmError("scancel: error: Socket timed out on send/recv operation")

    def refuse(job: str) -> None:
        raise refusal

    with monkeypatch.context() as busy:
        busy.setattr(slurm, "cancel", refuse)
        for _ in range(4):
            agent.step()
    assert said.count(f"{run.id}: {refusal}") == 1
    assert cluster_of.cancelled == []
    agent.step()
    agent.step()
    assert cluster_of.cancelled == ["7"], "once, and when Slurm answers"
    assert interrupted == (["7"] if state == "RUNNING" else [])
    assert store.run(run.id).status == "stopping"


def test_while_slurm_does_not_answer_journals_are_read_and_it_is_asked_no_more_often(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queue(executor="slurm")
    agent.step()
    cluster_of.show("RUNNING")
    cluster_of.silence = SlurmError("squeue: error: Unable to contact slurm controller")
    come_up(run).close()
    agent.step()
    assert store.run(run.id).status == "running"
    monkeypatch.setattr(cluster, "ASK_SECONDS", 3600.0)
    before = cluster_of.asked
    with JournalWriter(run.journal, attempt=1) as journal:
        journal.write(Stopped(cause="stopped", epoch=0))
    for _ in range(3):
        agent.step()
    assert store.run(run.id).status == "stopped"
    assert cluster_of.asked == before
    assert run.id in agent.cluster.watched, "until Slurm says that its job has ended"


def test_more_runs_than_may_be_submitted_go_as_far_as_there_is_room_in_their_order(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 5

    def submit(script: Path) -> str:
        nonlocal room
        (words,) = [line for line in script.read_text().splitlines() if line.startswith("set -- ")]
        if len(words.split()) - 2 > room:
            raise SlurmError("sbatch: error: QOSMaxSubmitJobPerUserLimit", too_many=True)
        room -= len(words.split()) - 2
        return cluster_of.submit(script)

    monkeypatch.setattr(slurm, "submit", submit)
    ids = [queue(executor="slurm", slurm__cpus=1 + number % 2).id for number in range(12)]
    agent.step()
    first = [run_id for run_id in ids if store.run(run_id).status == "starting"]
    assert first == ids[0:10:2], "those of one array; there is no room for the other"
    assert [row.id for row in store.queue.waiting()] == [run_id for run_id in ids if run_id not in first]
    scripts = agent.workspace.root / "slurm"
    assert len(list(scripts.iterdir())) == len(cluster_of.scripts)
    room, agent.cluster._not_before = 7, 0.0
    agent.step()
    assert store.queue.waiting() == []


def test_an_array_that_is_longer_than_the_cluster_takes_goes_as_several(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(script: Path) -> str:
        if "--array=0-4" in script.read_text():
            raise SlurmError("sbatch: error: Invalid job array specification", passing=False, too_many=True)
        return cluster_of.submit(script)

    monkeypatch.setattr(slurm, "submit", submit)
    ids = [queue(executor="slurm").id for _ in range(5)]
    agent.step()
    assert [store.run(run_id).status for run_id in ids] == ["starting"] * 5
    jobs = [(store.run(run_id).claimed_by or {})["job"] for run_id in ids]
    assert jobs == ["7_0", "7_1", "8_0", "8_1", "8_2"]


def test_a_job_that_could_not_be_noted_is_looked_for_before_another_is_submitted(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ASK_SECONDS", 3600.0)
    run = queue(executor="slurm")

    def refuse(*_: object) -> None:
        raise StoreError("another program has locked the database")

    with monkeypatch.context() as busy:
        busy.setattr(store.queue, "note_job", refuse)
        with pytest.raises(StoreError, match="locked"):
            agent.step()
    cluster_of.show("RUNNING")
    agent.step()
    assert len(cluster_of.scripts) == 1, "two workers would be in one folder"
    monkeypatch.setattr(cluster, "ASK_SECONDS", 0.0)
    agent.step()
    assert (store.run(run.id).claimed_by or {})["job"] == "7"
    assert len(cluster_of.scripts) == 1


def test_while_slurm_takes_its_time_the_agent_goes_on_and_hears_the_late_answer(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queue(executor="slurm")
    agent.step()
    cluster_of.show("RUNNING")
    come_up(run).close()
    late = LateAnswers(monkeypatch)
    agent.step()
    assert store.run(run.id).status == "running", "its journal is read"
    cluster_of.jobs = []
    late.come()  # squeue
    agent.step()
    with JournalWriter(run.journal, attempt=1) as journal:
        journal.write(Stopped(cause="stopped", epoch=0))
    agent.step()
    assert store.run(run.id).status == "stopped", "while sacct is asked for what squeue does not know"
    assert run.id in agent.cluster.watched
    late.come()  # sacct
    agent.step()
    assert run.id not in agent.cluster.watched


def test_while_sbatch_takes_its_time_the_agent_goes_on_and_its_job_is_noted(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queue(executor="slurm")
    late = LateAnswers(monkeypatch)
    agent.step()
    late.come()  # squeue
    for _ in range(3):
        agent.step()
    assert cluster_of.scripts == []
    assert store.run(run.id).status == "starting"
    assert not agent.idle, "it would leave"
    late.come()  # sbatch
    agent.step()
    assert (store.run(run.id).claimed_by or {})["job"] == "7"
    cluster_of.show("PENDING")
    agent.step()
    late.come()  # squeue
    agent.step()
    assert len(cluster_of.scripts) == 1


def test_while_scancel_takes_its_time_journals_are_read_and_it_is_asked_once(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted: list[str] = []
    monkeypatch.setattr(slurm, "interrupt", interrupted.append)
    run = queue(executor="slurm")
    agent.step()
    cluster_of.show("RUNNING")
    with come_up(run) as journal:
        store.lifecycle.set_status(run.id, "stopping", expect=("starting",))
        late = LateAnswers(monkeypatch)
        agent.step()
        late.come()  # squeue
        agent.step()
        assert interrupted == []
        journal.write(Stopped(cause="stopped", epoch=0))
        agent.step()
        assert store.run(run.id).status == "stopped"
        late.come()  # scancel
        agent.step()
    assert interrupted == ["7"]


def left_by_another_agent(agent: Agent, store: Store, run: RunDir) -> tuple[ProcessIdentity, Path]:
    """Let an agent that is gone have taken a run and written its script."""
    gone = dataclasses.replace(agent.me, start_time=agent.me.start_time + 1)
    assert store.queue.claim_next(gone, cluster.SLOT, cluster.DEVICES, executor="slurm") is not None
    name = slurm.new_name([run])
    script = agent.workspace.root / "slurm" / f"{name}.sh"
    script.parent.mkdir()
    script.write_text(slurm.job_script(name, [run], SlurmConfig(), agent.workspace.cache))
    return gone, script


def test_a_job_that_the_agent_of_another_user_has_submitted_is_looked_after(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queue(executor="slurm")
    gone, script = left_by_another_agent(agent, store, run)
    store.queue.note_job(run.id, gone, "9")
    monkeypatch.setattr(cluster, "owner_of_path", lambda path: 4711 if path == script else None)
    cluster_of.jobs = [SlurmJob("9", script.stem, "RUNNING", 0, "")]
    agent.step()
    agent.step()
    assert cluster_of.users == {4711}, "without that it would count as gone"
    assert store.run(run.id).status == "starting"
    assert run.id in agent.cluster.watched


def test_what_a_killed_agent_was_submitting_is_not_submitted_again(
    cluster_of: MadeUpSlurm, agent: Agent, queue: Queue, store: Store
) -> None:
    run = queue(executor="slurm")
    gone, script = left_by_another_agent(agent, store, run)
    name = script.stem
    command = [sys.executable, "-c", "print(flush=True); input()", str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sbatch:
        assert sbatch.stdout is not None
        assert sbatch.stdout.readline()
        for _ in range(3):
            agent.step()
        assert store.run(run.id).status == "starting"
    cluster_of.jobs = [SlurmJob("9", name, "PENDING", 0, "")]
    agent.step()
    agent.step()
    assert cluster_of.scripts == []
    assert (store.run(run.id).claimed_by or {})["job"] == "9"
    # Had it failed, the run would be submitted now.
    store.lifecycle.set_status(run.id, "queued", expect=("starting",))
    agent.cluster.watched.clear()
    cluster_of.jobs = []
    assert store.queue.claim_next(gone, cluster.SLOT, cluster.DEVICES, executor="slurm") is not None
    for _ in range(3):
        agent.step()
    assert len(cluster_of.scripts) == 1
